"""What a fine-tune costs the loop's thread: CPU time of the batches around it, beside that of all the others.

A crowd in its steady state is fed small batches as the loop does it, journal and trainer process included: outcomes are
let in between two batches, each batch is written down and stepped. Everything that a fine-tune asks of the loop is in
the time of a batch: drawing its material and handing it over (`begin`), taking its outcome, writing it down and
adopting it (`adopt`), and making hidden states anew afterwards (`after`, so many batches as bring every series once).
Time is the thread's own, by its CPU clock: what else the machine does is not counted.

Run: `PYTHONPATH=src:. OMP_NUM_THREADS=1 python tests/bench/pauses.py [--json FILE] [--series 50,1000,10000]
[--batch N] [--batches N] [--fine-tunes N] [--every N]`
"""

import argparse
import json
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from stepahead.contract.settings import Settings
from stepahead.service.arrivals import Arrivals, Mark
from stepahead.service.outcomes import OutcomeDoor
from stepahead.service.recovery import Knowledge, resume
from stepahead.service.redelivery import RecentForecasts
from stepahead.service.trainer_process import ProcessTrainer
from stepahead.telemetry.log import make_log
from tests.bench.crowd import Crowd, machine


def measure(series: int, size: int, batches: int, fine_tunes: int, every: int | None, folder: Path) -> dict[str, Any]:
    learning = {} if every is None else {"every": every}
    settings = Settings.model_validate({"learning": learning})
    door = OutcomeDoor(ProcessTrainer(settings.learning, print))
    crowd = Crowd(series, settings=settings, trainer=door)
    engine = crowd.engine
    knowledge = Knowledge(engine, door, RecentForecasts(1024), Arrivals())
    keeper, release = resume(settings, knowledge, folder, make_log(level="error"))
    times: dict[str, list[float]] = {"calm": [], "begin": [], "adopt": [], "after": []}
    pending, after = crowd.next_round(), 0
    begun = sum(cohort.tally.begun for cohort in engine.cohorts)
    while len(times["calm"]) < batches or len(times["adopt"]) < fine_tunes:
        if not len(pending):
            pending = crowd.next_round()
        batch, pending = pending[:size], pending[size:]
        began_s = time.thread_time()
        outcome = door.arrived()
        if outcome is not None:
            keeper.note_outcome(outcome)
            door.let_in(outcome)
        keeper.note_batch(batch, Mark(0, 0))
        engine.step(batch)
        took_s = time.thread_time() - began_s
        keeper.commit(time.monotonic(), company=True)
        now_begun = sum(cohort.tally.begun for cohort in engine.cohorts)
        if outcome is not None:
            kind = "adopt"
            after = -(-series // size)
        elif now_begun > begun:
            kind = "begin"
        else:
            kind = "after" if after > 0 else "calm"
        begun = now_begun
        after -= 1
        times[kind].append(1e3 * took_s)
        if len(times["begin"]) < len(times["adopt"]) + 1 and door.waiting and kind == "calm":
            time.sleep(0.002)  # a crowd is faster than the trainer; readings that come meanwhile tell nothing new
    engine.close()
    keeper.close()
    release()
    calm = float(np.median(times["calm"]))
    row: dict[str, Any] = {"series": series, "batch": size, "calm_p50_ms": calm}
    row["calm_p99_ms"] = float(np.quantile(times["calm"], 0.99))
    for kind in ("begin", "adopt", "after"):
        extra = np.array(times[kind][2:] or [calm]) - calm
        row |= {f"{kind}_p50_ms": float(np.median(extra)), f"{kind}_max_ms": float(extra.max())}
        row[f"{kind}_count"] = len(extra)
        row[f"{kind}_total_ms"] = float(extra.sum())
    counted = len(times["adopt"]) - 2
    row["ms_per_fine_tune"] = sum(row[f"{kind}_total_ms"] for kind in ("begin", "adopt", "after")) / counted
    return row


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--series", default="50,1000,10000")
    parser.add_argument("--batch", type=int, help="readings of a batch; default: a 25th of the series")
    parser.add_argument("--batches", type=int, default=2000, help="at least so many calm ones")
    parser.add_argument("--fine-tunes", type=int, default=10, help="at least so many; two more are not counted")
    parser.add_argument("--every", type=int, help="learning.every; default: the default")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    rows = []
    print(machine())
    print("   series  batch  calm p50, p99 ms   begin p50, max   adopt p50, max   after p50, max   ms a fine-tune")
    for series in map(int, arguments.series.split(",")):
        with tempfile.TemporaryDirectory(prefix="stepahead-bench-") as folder:
            size = arguments.batch or max(1, series // 25)
            fine_tunes = arguments.fine_tunes + 2  # the first ones start the process and compile
            row = measure(series, size, arguments.batches, fine_tunes, arguments.every, Path(folder))
        rows.append(row)
        pairs = "".join(
            f"{row[f'{kind}_p50_ms']:8.2f}{row[f'{kind}_max_ms']:9.2f}" for kind in ("begin", "adopt", "after")
        )
        print(
            f"{series:>9,}{row['batch']:>7}{row['calm_p50_ms']:10.2f}{row['calm_p99_ms']:8.2f}{pairs}"
            f"{row['ms_per_fine_tune']:12.2f} ({row['adopt_count']})",
            flush=True,
        )
    if arguments.json:
        arguments.json.write_text(json.dumps({"machine": machine(), "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
