import numpy as np
import pandas as pd
from hypothesis import given
from hypothesis import strategies as st

from stepahead.transform.levels import SPANS, Levels


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=60))
def test_levels_are_pandas_own_exponential_means(values: list[float]) -> None:
    levels = Levels(capacity=1)
    slot = np.array([0], np.int32)
    got = np.array([levels.update(slot, np.array([value]))[0] for value in values])
    series = pd.Series(values)
    for column, span in enumerate(SPANS):
        expected = series - series.ewm(span=span, adjust=False).mean()
        np.testing.assert_allclose(got[:, column], expected, atol=1e-6)


def test_series_do_not_mix_and_extremes_stay_finite() -> None:
    rng = np.random.default_rng(0)
    values = rng.normal(size=(50, 3)) * [1.0, 1e-9, 1e300]
    together, alone = Levels(capacity=3), [Levels(capacity=1) for _ in range(3)]
    for row in values:
        distance = together.update(np.arange(3, dtype=np.int32), row)
        assert np.isfinite(distance).all()
        for column, levels in enumerate(alone):
            np.testing.assert_array_equal(
                levels.update(np.array([0], np.int32), row[column : column + 1])[0], distance[column]
            )
