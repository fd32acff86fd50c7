"""Resident memory of an engine against the number of series, each count in a process of its own.

Every bank is written full first, as after a day of readings, since pages that were never written cost nothing; then one
round is stepped. The base is Python, torch and the engine with one series. "per series" is the difference to the same
process after an engine of 1,000 series came and went, so that what the allocator keeps is not counted twice; keys and
the replay buffer are in it. "of it banks" is what the arrays' own sizes add up to.

Run: `PYTHONPATH=src:. OMP_NUM_THREADS=1 python tests/bench/memory.py [--json FILE] [--series 1000,10000]`
"""

import argparse
import gc
import json
import resource
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tests.bench.crowd import Crowd, machine


def resident_bytes() -> int:
    """Resident set of this process, now."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


def child(series: int) -> dict[str, float]:
    import torch

    torch.set_num_threads(1)
    crowd = Crowd(1)
    crowd.play([crowd.next_round()])
    base = resident_bytes()
    crowd = Crowd(1000)
    crowd.play([crowd.next_round()])
    del crowd
    gc.collect()
    before = resident_bytes()
    crowd = Crowd(series)
    crowd.play([crowd.next_round()])
    parts = (crowd.engine._parts, crowd.engine._pipeline.parts)
    return {
        "series": series,
        "base": base,
        "resident": resident_bytes(),
        "peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
        "per_series": (resident_bytes() - before) / series,
        "banks": sum(part.bytes_per_series() for part in parts),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--series", default="1000,10000,100000,1000000")
    parser.add_argument("--child", type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        print(json.dumps(child(arguments.child)))
        return
    rows: list[dict[str, Any]] = []
    print(machine())
    print("   series  base MB  resident MB  peak MB  bytes per series  of it banks")
    for series in map(int, arguments.series.split(",")):
        command = [sys.executable, __file__, "--child", str(series)]
        row = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
        rows.append(row)
        print(
            f"{series:>9,} {row['base'] / 1e6:>8.0f} {row['resident'] / 1e6:>12.0f} {row['peak'] / 1e6:>8.0f} "
            f"{row['per_series']:>17,.0f} {row['banks']:>12,}",
            flush=True,
        )
    if arguments.json:
        report = {"date": datetime.now(UTC).date().isoformat(), "machine": machine(), "rows": rows}
        arguments.json.write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
