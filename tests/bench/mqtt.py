"""Forecasts a second and per CPU-second of `stepahead run`, against a C client that only echoes.

One mosquitto, one load driver; `run` and `echo.c` answer the same load in turn. All defaults of `run` are on, the
journal too. Per CPU-second means: of the process that answers, `run` without its trainer process. Loads:

- `single`: one reading a message, each with a forecast in a message of its own;
- `wide`: a message holds 100 fields, a series each, as a gateway sends them, and one message goes out per message in
  (`publish.mode = "batch"`);
- `deep`: a message holds the last 100 readings of one series, one message out per message in.

Run: `python -m tests.bench.mqtt --instruments DIR [--json FILE] [--repeat N] [--messages N] [--load NAME] [--qos N]`
"""

import tempfile
from dataclasses import dataclass
from pathlib import Path

from tests.bench.instruments import Instruments, Service, broker, machine, median_of, options, write_report


@dataclass(frozen=True)
class Load:
    """What is sent.

    Attributes:
        topics: that messages go round.
        array: readings of its series in a message; 0 = one.
        fields: series in a message; 0 = one.
        window: messages unanswered at most.
        share: of `--messages`.
    """

    topics: int
    array: int
    fields: int
    window: int
    share: float

    @property
    def readings(self) -> int:
        """Readings in a message."""
        return self.array or self.fields or 1

    @property
    def settings(self) -> list[str]:
        """What the service needs for it."""
        return ["publish.mode=batch"] if self.readings > 1 else []

    @property
    def out(self) -> str:
        """Where its answers come."""
        return "stepahead/v1/batch/#" if self.readings > 1 else "stepahead/v1/forecast/#"


LOADS = {
    "single": Load(topics=1000, array=0, fields=0, window=2000, share=1.0),
    "wide": Load(topics=100, array=0, fields=100, window=100, share=0.1),
    "deep": Load(topics=1000, array=100, fields=0, window=1000, share=0.025),
}


def main() -> None:
    parser = options(__doc__)
    parser.add_argument("--messages", type=int, default=40_000, help="single readings in a repetition; of others fewer")
    parser.add_argument("--load", action="append", choices=tuple(LOADS), help="only this; default all")
    parser.add_argument("--qos", type=int, action="append", choices=(0, 1), help="only this; default both")
    arguments = parser.parse_args()
    report = {}
    print(machine())
    print(
        f"{'':16}{'run/s':>9}{'echo/s':>10}{'run/CPU-s':>11}{'echo/CPU-s':>12}{'ratio':>7}   forecasts, echoed readings"
    )
    for name in arguments.load or LOADS:
        for qos in arguments.qos or (0, 1):
            title = f"{name}, QoS {qos}"
            report[title] = figures = measure(arguments, LOADS[name], qos)
            print(
                f"{title:16}{figures['run_per_s']:9,.0f}{figures['echo_per_s']:10,.0f}{figures['run_per_cpu_s']:11,.0f}"
                f"{figures['echo_per_cpu_s']:12,.0f}{figures['ratio']:7.2f}",
                flush=True,
            )
    write_report(arguments.json, medians=report)


def measure(arguments, load: Load, qos: int) -> dict[str, float]:  # type: ignore[no-untyped-def]
    """Medians of interleaved repetitions; forecasts for `run`, echoed readings for `echo.c`."""
    readings = load.readings
    messages = max(load.topics, round(arguments.messages * load.share))
    rows = []
    with tempfile.TemporaryDirectory(prefix="stepahead-bench-") as name, broker(Path(name)) as port:
        instruments = Instruments(arguments.instruments, Path(name), load.topics)
        settings = [f"broker.qos={qos}", *load.settings, *arguments.set]
        with Service(Path(name) / "service", port, settings) as service:
            service.until_subscribed()

            def run(count: int) -> tuple[float, float]:
                before_s = service.cpu_s
                driven = instruments.load(
                    port, "sensors", load.out, count, qos, load.window, array=load.array, fields=load.fields
                )
                return driven["rate"], service.cpu_s - before_s

            run(2 * load.topics)  # all series are born, and their payloads' shapes known
            for _ in range(arguments.repeat):
                run_rate, run_cpu_s = run(messages)
                driven, client = instruments.echo(
                    port, messages, qos, load.window, array=load.array, fields=load.fields
                )
                rows.append(
                    {
                        "run_per_s": run_rate * readings,
                        "run_per_cpu_s": messages * readings / run_cpu_s,
                        "echo_per_s": driven["rate"] * readings,
                        "echo_per_cpu_s": client["per_core_s"] * readings,
                    }
                )
                rows[-1]["ratio"] = rows[-1]["run_per_cpu_s"] / rows[-1]["echo_per_cpu_s"]
    return median_of(rows)


if __name__ == "__main__":
    main()
