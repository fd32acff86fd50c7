"""From the start of `stepahead run` to its first forecast, on a warm disk.

A reading is sent every 20 ms; measured is the time from starting the process to receiving the first forecast: with
nothing known yet, and with the state of an earlier run. The CPU time of the process until then is told too: where
others use the machine, it is what the start would take without them.

Run: `python -m tests.bench.start [--json FILE] [--repeat N] [--series N]`
"""

import argparse
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion

from tests.bench.instruments import Service, broker, machine, median_of, write_report

EVERY_S = 0.02


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    parser.add_argument("--repeat", type=int, default=3, help="repetitions")
    parser.add_argument("--series", type=int, default=1000, help="series of the earlier run")
    arguments = parser.parse_args()
    again = f"with the state of {arguments.series} series"
    rows = []
    with tempfile.TemporaryDirectory(prefix="stepahead-bench-") as name, broker(Path(name)) as port:
        first_forecast_s(Path(name) / "cold", port, 1)  # the disk is warm now
        first_forecast_s(Path(name) / "earlier", port, arguments.series)
        for repetition in range(arguments.repeat):
            row = {}
            for which, folder, series in (("new", f"new{repetition}", 1), (again, "earlier", arguments.series)):
                row[which], row[f"{which}, CPU"] = first_forecast_s(Path(name) / folder, port, series)
            rows.append(row)
    medians = median_of(rows)
    print(machine())
    for which, seconds in medians.items():
        print(f"{which:36}{seconds:6.2f} s")
    write_report(arguments.json, medians=medians)


def first_forecast_s(folder: Path, port: int, series: int) -> tuple[float, float]:
    """Seconds to the first forecast, by the clock and of CPU; the service has had all series when this returns."""
    heard: set[str] = set()
    first: list[tuple[float, float]] = []
    done = threading.Event()

    def on_message(_client: Client, _data: Any, message: Any) -> None:
        if not first:
            first.append((time.perf_counter() - began, service.cpu_s))
        heard.add(message.topic)
        if len(heard) == series:
            done.set()

    client = Client(CallbackAPIVersion.VERSION2)
    client.on_message = on_message
    client.connect("127.0.0.1", port)
    client.subscribe("stepahead/v1/forecast/#")
    client.loop_start()
    folder.mkdir(exist_ok=True)
    began = time.perf_counter()
    try:
        with Service(folder / "run", port, [f"durability.state_dir={folder}/state"]) as service:
            number = 0
            while not done.is_set():
                client.publish(f"sensors/{number % series}", f"{20 + number % 7}", qos=0)
                number += 1
                time.sleep(EVERY_S if not first else EVERY_S / 10)
                if service.process.poll() is not None:
                    raise SystemExit(service.log.read_text())
        (folder / "run" / "run.log").unlink()
        (folder / "run").rmdir()
    finally:
        client.loop_stop()
        client.disconnect()
    return first[0]


if __name__ == "__main__":
    main()
