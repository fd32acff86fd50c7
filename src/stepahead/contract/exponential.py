"""The exponential function for compiled loops over numbers in single precision."""

from typing import Any

import numpy as np

from stepahead.contract.compiled import compiled_freely

__all__ = ["exp"]

LEAST, MOST = np.float32(-87.0), np.float32(88.0)
LOG2_E = np.float32(1.44269504088896341)
LN2_HIGH, LN2_LOW = np.float32(0.693359375), np.float32(-2.12194440e-4)
P0, P1, P2 = np.float32(1.9875691500e-4), np.float32(1.3981999507e-3), np.float32(8.3334519073e-3)
P3, P4, P5 = np.float32(4.1665795894e-2), np.float32(1.6666665459e-1), np.float32(5.0000001201e-1)
ONE = np.float32(1.0)


@compiled_freely
def exp(x: Any) -> Any:
    """E to the power of a float32, to 2e-7 of it; powers beyond -87 and 88 are taken as those.

    Inlined where it is called, and several at once where the compiler has vectors for it; the C library's takes ten
    nanoseconds each.

    Source: `expf` of the Cephes library (Moshier), a polynomial of degree 6 on ±ln 2 / 2.

    Example:
        >>> round(float(exp(np.float32(-1.0))), 6)
        0.367879
    """
    x = min(max(x, LEAST), MOST)
    n = np.rint(x * LOG2_E)
    r = x - n * LN2_HIGH - n * LN2_LOW
    y = P5 + r * (P4 + r * (P3 + r * (P2 + r * (P1 + r * P0))))
    y = ONE + r + r * r * y
    return np.float32(y) * np.uint32((np.int32(n) + 127) << 23).view(np.float32)
