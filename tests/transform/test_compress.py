import math
from typing import Literal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stepahead.transform.compress import Compress

Kind = Literal["none", "log1p", "asinh"]
kinds = st.sampled_from(["none", "log1p", "asinh"])
LARGEST = np.finfo(np.float64).max


@given(kind=kinds, x=st.floats(-1e308, 1e308))
def test_there_and_back(kind: Kind, x: float) -> None:
    compress = Compress(kind)
    image = compress.apply(np.array([x]))
    assert np.isfinite(image).all()
    assert compress.invert(image)[0] == pytest.approx(x, rel=2e-13, abs=0.0)


@given(x=st.floats(-1e300, 1e300))
def test_images_are_those_of_the_formulas(x: float) -> None:
    log = Compress("log1p").apply(np.array([x]))[0]
    assert log == pytest.approx(math.copysign(math.log1p(abs(x)), x), rel=1e-15)
    assert Compress("asinh").apply(np.array([x]))[0] == pytest.approx(math.asinh(x), rel=1e-15)
    assert Compress("none").apply(np.array([x]))[0] == x


@given(kind=kinds, image=st.floats(allow_nan=False, allow_infinity=False))
def test_the_inverse_never_overflows(kind: Kind, image: float) -> None:
    assert np.isfinite(Compress(kind).invert(np.array([image]))).all()


@pytest.mark.parametrize("kind", ["log1p", "asinh"])
def test_order_and_sign_are_kept(kind: Kind) -> None:
    x = np.array([-LARGEST, -1e9, -1.0, -1e-12, 0.0, 1e-12, 1.0, 1e9, LARGEST])
    image = Compress(kind).apply(x)
    assert np.all(np.diff(image) > 0)
    assert np.array_equal(image, -image[::-1])
    assert Compress(kind).invert(image[[0, -1]]).tolist() == pytest.approx([-1e308, 1e308], rel=2e-13)
