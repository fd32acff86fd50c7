"""A recording, played into an engine by hand: what a service that hears it must publish, value for value."""

import csv
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from stepahead.contract.records import STATUS_NAMES, Readings
from stepahead.contract.settings import Settings
from stepahead.forecasting.engine import Engine
from stepahead.learning.trainer import InlineTrainer

START = datetime(2026, 1, 1, tzinfo=UTC)


def write_recording(path: Path, rows: int, columns: int = 3, seed: int = 0) -> None:
    """A CSV of noisy daily waves at one-minute steps, with a change of level in the middle."""
    rng = np.random.default_rng(seed)
    minute = np.arange(rows)[:, None]
    value = 20 + 5 * np.sin(2 * np.pi * minute / 60 + np.arange(columns)) + rng.normal(scale=0.3, size=(rows, columns))
    value[rows // 2 :, 0] += 7
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["time", *(f"c{i}" for i in range(columns))])
        for row in range(rows):
            moment = datetime.fromtimestamp(START.timestamp() + 60 * row, tz=UTC)
            writer.writerow([moment.strftime("%Y-%m-%d %H:%M:%S"), *(repr(float(v)) for v in value[row])])


def expected_forecasts(path: Path, time_column: str, topic: str, settings: Settings) -> dict[str, dict[str, Any]]:
    """Every forecast by its id, from an engine that is fed row by row."""
    engine = Engine(settings, InlineTrainer(settings.learning, clock=lambda: 0.0))
    expected: dict[str, dict[str, Any]] = {}
    with path.open(newline="") as file:
        for row in csv.DictReader(file):
            moment = datetime.fromisoformat(row.pop(time_column)).replace(tzinfo=UTC)
            slots = [engine.intern(f"{topic}/{column}") for column in row]
            time_ns = int(moment.timestamp()) * 10**9
            batch = Readings.of(slots, [time_ns] * len(slots), [float(cell) for cell in row.values()])
            forecasts = engine.step(batch)
            for i in range(len(forecasts)):
                identity = f"{int(forecasts.id[i]):016x}"
                error = float(forecasts.error[i])
                expected[identity] = {
                    "series": engine.table.keys[int(forecasts.series[i])],
                    "issued_at": time_ns // 10**6,
                    "valid_at": int(forecasts.valid_at_ns[i]) // 10**6,
                    "value": float(forecasts.value[i, 0]),
                    "mean": float(forecasts.mean[i]),
                    "lower": float(forecasts.lower[i, 0]),
                    "upper": float(forecasts.upper[i, 0]),
                    "level": settings.interval.levels[0],
                    "observed": float(forecasts.observed[i]),
                    "anomaly": bool(forecasts.anomaly[i]),
                    "status": STATUS_NAMES[int(forecasts.status[i])],
                    "model": int(forecasts.model[i]),
                    "id": identity,
                } | ({} if np.isnan(error) else {"error": error})
    engine.close()
    return expected
