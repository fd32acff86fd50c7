"""What it costs to write forecasts: µs of CPU time a forecast, for each form of output.

Each form writes the same 8,192 forecasts of 1,000 series; "batch of 100" is one message per 100 forecasts. The forms
take turns, so that a disturbance strikes all alike; the median of the turns counts, and the ratio to JSON each of the
same run. `bytes` is the size of the payloads per forecast.

Run: `python tests/bench/encoders.py [--json FILE] [--turns N]`
"""

import argparse
import json
import platform
import statistics
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from stepahead.contract.records import Forecasts
from stepahead.contract.settings import PublishSettings
from stepahead.wire.delivery import Delivery
from stepahead.wire.encoder import ForecastEncoder

FORECASTS, SERIES, BATCH = 8192, 1000, 100
FORMS: dict[str, dict[str, Any]] = {
    "json, each": {},
    "json, batch of 100": {"mode": "batch"},
    "json columns, batch of 100": {"mode": "batch", "layout": "columns"},
    "template, each": {"payload": '{"t":{valid_at},"v":{value:.3f}}'},
    "senml, each": {"format": "senml"},
    "senml, batch of 100": {"format": "senml", "mode": "batch"},
    "line protocol, each": {"format": "line"},
    "line protocol, batch of 100": {"format": "line", "mode": "batch"},
    "sparkplug, each": {"format": "sparkplug"},
}


def forecasts(n: int) -> Forecasts:
    """As an engine gives them: full precision, one anomaly in a thousand, every forecast scored."""
    rng = np.random.default_rng(0)
    value = rng.normal(20, 5, (n, 1))
    at = 1_760_000_000 * 10**9 + np.arange(n) * 10**6
    return Forecasts(
        reading=np.arange(n),
        series=(np.arange(n) % SERIES).astype(np.int32),
        issued_at_ns=at,
        valid_at_ns=at + 10**9,
        value=value,
        mean=value[:, 0] + rng.normal(size=n),
        lower=value - rng.random((n, 1)),
        upper=value + rng.random((n, 1)),
        observed=value[:, 0] + rng.normal(size=n),
        error=rng.normal(size=n),
        anomaly=rng.random(n) < 0.001,
        score=rng.random(n),
        status=np.ones(n, np.int8),
        model=np.full(n, 12),
        id=rng.integers(0, 2**63, n).astype(np.uint64),
    )


def measure(turns: int) -> dict[str, dict[str, float]]:
    batch = forecasts(FORECASTS)
    message = (np.arange(FORECASTS) // BATCH).astype(np.int32)
    deliveries = [Delivery(b"plant/line%d" % i, b"", 2, i, 0) for i in range(FORECASTS // BATCH + 1)]
    keys = [f"plant/line{i}/temperature" for i in range(SERIES)]
    writers: dict[str, Callable[[], list[Any]]] = {}
    for name, fields in FORMS.items():
        encoder = ForecastEncoder(PublishSettings.model_validate(fields), [0.9], keys.__getitem__)
        writers[name] = lambda encoder=encoder: encoder.encode(batch, message, deliveries)
    taken: dict[str, list[float]] = {name: [] for name in writers}
    for _ in range(turns):
        for name, write in writers.items():
            began = time.process_time()
            write()
            taken[name].append((time.process_time() - began) / FORECASTS * 1e6)
    base = statistics.median(taken["json, each"])
    return {
        name: {
            "us": round(statistics.median(taken[name]), 3),
            "ratio": round(statistics.median(taken[name]) / base, 2),
            "bytes": round(sum(len(row[1]) for row in write()) / FORECASTS),
        }
        for name, write in writers.items()
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    parser.add_argument("--turns", type=int, default=30)
    options = parser.parse_args()
    results = measure(options.turns)
    machine = f"{platform.machine()}, Python {platform.python_version()}, {datetime.now(UTC):%Y-%m-%d}"
    print(machine)
    for name, row in results.items():
        print(f"{name:30} {row['us']:7.3f} µs a forecast   {row['ratio']:5.2f} × json each   {row['bytes']:4.0f} bytes")
    if options.json is not None:
        options.json.write_text(json.dumps({"machine": machine, "results": results}, indent=1))


if __name__ == "__main__":
    main()
