"""Numbers in two bytes (IEEE 754 binary16), for compiled loops: Numba knows no float16, so they are read as int16."""

from typing import Any

import numpy as np

from stepahead.contract.compiled import compiled

__all__ = ["narrow", "widen"]

EXPONENTS = np.float32(2.0**112)
"""What a float16's exponent is short of a float32's, as a factor: it also makes normal numbers of subnormal ones."""
LARGEST = np.float32(65504.0)
LEAST_NORMAL = np.float32(2.0**-14)
HALF = np.float32(0.5)
HALF_BITS = 0x3F000000


@compiled
def widen(half: Any) -> Any:
    """The float32 of the same value.

    Args:
        half: int16, the bits of a finite float16.

    Example:
        >>> float(widen(np.float16(-0.75).view(np.int16)))
        -0.75
    """
    bits = np.uint32(np.uint16(half))
    size = np.uint32((bits & 0x7FFF) << 13).view(np.float32) * EXPONENTS
    return np.uint32(np.float32(size).view(np.uint32) | ((bits & 0x8000) << 16)).view(np.float32)


@compiled
def narrow(x: Any) -> Any:
    """The bits of the nearest float16, int16; ties go to the even one, and beyond ±65504 it is ±65504.

    Args:
        x: float32, not NaN.

    Example:
        >>> [float(np.int16(narrow(np.float32(x))).view(np.float16)) for x in (0.1, -1e9)]
        [0.0999755859375, -65504.0]
    """
    bits = np.float32(x).view(np.uint32)
    size = min(np.uint32(bits & 0x7FFFFFFF).view(np.float32), LARGEST)
    if size < LEAST_NORMAL:  # beside 1/2 the last place of a float32 is that of a subnormal float16
        half = np.float32(size + HALF).view(np.uint32) - HALF_BITS
    else:
        whole = np.float32(size).view(np.uint32)
        half = (whole + 0xFFF + ((whole >> 13) & 1) - (112 << 23)) >> 13
    return np.int16(np.uint16(half | ((bits >> 16) & 0x8000)))
