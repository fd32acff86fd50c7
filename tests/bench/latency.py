"""From a reading sent to its forecast received, beside `echo.c`: 1,000 readings/s, QoS 1, the shipped broker file.

Three things answer in turn, through one broker: `echo.c`; `run` while it does not learn; `run` while one fine-tune
follows the other (`learning.every = 1`). All of it is done once more with a broker that keeps nothing on the disk,
because the shipped file makes the broker write for every message.

Run: `python -m tests.bench.latency --instruments DIR --broker-file deploy/mosquitto/stepahead.conf [--json FILE]`
"""

import json
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion

from tests.bench.instruments import (
    PLAIN_BROKER,
    Instruments,
    Service,
    broker,
    machine,
    median_of,
    options,
    write_report,
)

QUANTILES = ("p50_ms", "p99_ms", "p999_ms", "max_ms")
OUT = "stepahead/v1/forecast/#"


def main() -> None:
    parser = options(__doc__)
    parser.add_argument("--broker-file", type=Path, help="the shipped settings of mosquitto")
    parser.add_argument("--series", type=int, default=50, help="topics, a series each")
    parser.add_argument("--seconds", type=float, default=10, help="of each repetition")
    parser.add_argument("--rate", type=float, default=1000, help="readings a second")
    arguments = parser.parse_args()
    print(machine(), f"{arguments.series} series, {arguments.rate:g} readings/s, QoS 1")
    print(f"{'':44}{'p50 ms':>9}{'p99':>9}{'p99.9':>9}{'max':>9}")
    report: dict[str, Any] = {}
    brokers: dict[str, tuple[Sequence[str], Path | None]] = {"broker without persistence": (PLAIN_BROKER, None)}
    if arguments.broker_file:
        brokers = {"shipped broker file": ((), arguments.broker_file)} | brokers
    for name, (lines, file) in brokers.items():
        report[name] = figures = measure(arguments, lines, file)
        for which in ("echo.c", "run, not learning", "run, fine-tuning"):
            row = figures[which]
            print(f"{name + ', ' + which:44}" + "".join(f"{row[quantile]:9.2f}" for quantile in QUANTILES))
        print(
            f"  above echo.c: p50 {figures['p50 above echo.c']:.2f} ms, p99 {figures['p99 above echo.c']:.2f} ms; "
            f"p99 fine-tuning / not: {figures['p99 fine-tuning / not']:.2f} ({figures['fine-tunes']} fine-tunes)"
        )
    write_report(arguments.json, series=arguments.series, rate=arguments.rate, medians=report)


def measure(arguments: Any, lines: Sequence[str], file: Path | None) -> dict[str, Any]:
    """Medians of interleaved repetitions."""
    messages, window = int(arguments.rate * arguments.seconds), 60_000
    rows: dict[str, list[dict[str, float]]] = {"echo.c": [], "run, not learning": [], "run, fine-tuning": []}
    tunes = 0
    with tempfile.TemporaryDirectory(prefix="stepahead-bench-") as name, broker(Path(name), lines, file) as port:
        instruments = Instruments(arguments.instruments, Path(name), arguments.series)
        for repetition in range(arguments.repeat):
            driven, _ = instruments.echo(port, messages, 1, window, arguments.rate)
            rows["echo.c"].append(driven)
            for learning in (False, True):
                which = "run, fine-tuning" if learning else "run, not learning"
                settings = [f"learning.enabled={str(learning).lower()}", "learning.every=1", *arguments.set]
                with Service(Path(name) / f"{repetition}{learning}", port, settings) as service:
                    service.until_subscribed()
                    # Past the warm-up, 100 readings a series, and where there are windows to fine-tune on.
                    instruments.load(port, "sensors", OUT, 100 * arguments.series, 1, window, arguments.rate)
                    before = fine_tunes(port)
                    rows[which].append(instruments.load(port, "sensors", OUT, messages, 1, window, arguments.rate))
                    tunes += fine_tunes(port) - before
    figures: dict[str, Any] = {
        which: median_of([{quantile: row[quantile] for quantile in QUANTILES} for row in measured])
        for which, measured in rows.items()
    }
    calm, busy, echo = figures["run, not learning"], figures["run, fine-tuning"], figures["echo.c"]
    figures["p50 above echo.c"] = calm["p50_ms"] - echo["p50_ms"]
    figures["p99 above echo.c"] = calm["p99_ms"] - echo["p99_ms"]
    figures["p99 fine-tuning / not"] = busy["p99_ms"] / calm["p99_ms"]
    figures["fine-tunes"] = tunes
    return figures


def fine_tunes(port: int) -> int:
    """Fine-tunes finished so far, as the retained status tells."""
    told: list[bytes] = []
    client = Client(CallbackAPIVersion.VERSION2)
    client.on_message = lambda _client, _data, message: told.append(message.payload)
    client.connect("127.0.0.1", port)
    client.subscribe("stepahead/v1/status")
    while not told:
        client.loop(0.1)
    client.disconnect()
    finished = json.loads(told[-1])["fine_tunes"]
    return int(sum(finished.values()))


if __name__ == "__main__":
    main()
