"""Forecasts made by hand, for what writes them."""

import math
from collections.abc import Sequence

import numpy as np

from stepahead.contract.records import Forecasts

KEYS = ["plant/pump", 'quo"te/ü\n', "/lead+#"]
MS = 1_760_000_000_000


def forecasts(values: Sequence[Sequence[float]], errors: Sequence[float], levels: int = 1, keys: int = 3) -> Forecasts:
    """Row i is of series i modulo `keys`; every second is an anomaly."""
    n = len(values)
    value = np.array(values, dtype=np.float64)
    return Forecasts(
        reading=np.arange(n),
        series=(np.arange(n) % keys).astype(np.int32),
        issued_at_ns=(MS + np.arange(n)) * 10**6 + 999,
        valid_at_ns=(MS + 1000 + np.arange(n)) * 10**6,
        value=value,
        mean=value[:, 0] + 0.125,
        lower=value[:, :1] - np.arange(1, levels + 1),
        upper=value[:, :1] + np.arange(1, levels + 1),
        observed=value[:, 0] + 0.5,
        error=np.array(errors, np.float64),
        anomaly=np.arange(n) % 2 == 1,
        score=np.full(n, math.nan),
        status=(np.arange(n) % 3).astype(np.int8),
        model=np.arange(n) + 12,
        id=np.array([2**64 - 1 - i for i in range(n)], dtype=np.uint64),
    )
