"""Numbers in two bytes are NumPy's, both ways."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from stepahead.contract.half import narrow, widen


def test_every_finite_half_is_widened_as_by_numpy() -> None:
    halves = np.arange(2**16, dtype=np.uint16).view(np.float16)
    for half in halves[np.isfinite(halves)][::7]:
        assert widen(half.view(np.int16)) == np.float32(half)


@given(st.floats(width=32, allow_nan=False))
def test_every_float_is_narrowed_as_by_numpy_and_kept_finite(x: float) -> None:
    got = np.int16(narrow(np.float32(x))).view(np.float16)
    assert got == np.clip(np.float32(x), -65504, 65504).astype(np.float16)


@given(st.integers(0, 30), st.integers(0, 1023), st.sampled_from([-1, 1]))
def test_a_tie_goes_to_the_even_neighbour(exponent: int, mantissa: int, sign: int) -> None:
    low = np.uint16(exponent << 10 | mantissa).view(np.float16)
    between = sign * (np.float32(low) + np.float32(np.nextafter(low, np.float16(np.inf)))) / np.float32(2)
    if np.isfinite(between) and abs(between) < 65504:
        assert np.int16(narrow(np.float32(between))).view(np.float16) == np.float16(between)
