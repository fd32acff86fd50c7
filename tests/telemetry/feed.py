"""Forecasts as the engine gives them: what each reading is scored against was published one row before."""

import numpy as np

from stepahead.contract.records import Forecasts, Status


def forecasts(seed: int, rows: int, series: int, flags: float = 0.02) -> Forecasts:
    """Forecasts of readings that come in any order of series; the first ten of each are warming."""
    generator = np.random.default_rng(seed)
    slots = generator.integers(0, series, rows).astype(np.int32)
    observed = generator.normal(20, 3, rows).round(6)
    value = (observed + generator.normal(0, 1, rows)).round(6)
    error, status = np.full(rows, np.nan), np.full(rows, Status.OK, np.int8)
    newest = np.full(series, np.nan)
    seen = np.zeros(series, np.int64)
    issued = np.zeros(rows, np.int64)
    for row, slot in enumerate(slots):
        error[row] = observed[row] - newest[slot]
        newest[slot] = value[row]
        if seen[slot] < 10:
            status[row] = Status.WARMING
        issued[row] = 1_760_000_000_000_000_000 + seen[slot] * 1_000_000_000
        seen[slot] += 1
    half = generator.uniform(0.5, 5, rows).round(6)
    return Forecasts(
        reading=np.arange(rows),
        series=slots,
        issued_at_ns=issued,
        valid_at_ns=issued + 1_000_000_000,
        value=value[:, None],
        mean=value,
        lower=(value - half)[:, None],
        upper=(value + half)[:, None],
        observed=observed,
        error=error,
        anomaly=generator.random(rows) < flags,
        score=np.full(rows, np.nan),
        status=status,
        model=np.zeros(rows, np.int64),
        id=generator.integers(0, 2**63, rows).astype(np.uint64),
    )
