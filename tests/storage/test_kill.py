"""A writer process killed at random moments: every position it reported is there afterwards."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

from stepahead.storage.journal import Journal
from stepahead.storage.lock import StateLock
from stepahead.storage.snapshot import SnapshotStore

WRITER = """
import sys
from pathlib import Path
import numpy as np
from stepahead.storage.journal import Journal
from stepahead.storage.lock import StateLock
from stepahead.storage.record import Record
from stepahead.storage.snapshot import SnapshotStore

state = Path(sys.argv[1])
with StateLock(state):
    store = SnapshotStore(state / "snapshots")
    snapshot = store.load_newest()
    start = snapshot.position if snapshot else 0
    total = int(snapshot.state["total"]) if snapshot else 0
    journal = Journal(state / "journal", at_least=start, segment_bytes=20_000)
    for position, record in journal.read(start):
        total += int(record.arrays["number"].sum())
    last = start
    print("resumed", journal.next_position, total, flush=True)
    while True:
        for _ in range(3):
            number = np.arange(journal.next_position, journal.next_position + 50)
            total += int(number.sum())
            journal.append(Record("batch", {"number": int(number[0])}, {"number": number}))
        durable = journal.commit()
        print("durable", durable, total, flush=True)
        if durable >= last + 60:
            last = durable
            written = store.write({"total": total, "weights": np.full(20_000, total)}, position=durable)
            journal.truncate_before(written.oldest_position)
            print("snapshot", durable, total, flush=True)
"""


def total_before(position: int) -> int:
    """Sum of all numbers in the records before `position`; each holds 50 that start at its own position."""
    return sum(50 * number + 1225 for number in range(position))


def test_every_reported_position_is_there_after_kill_9(tmp_path: Path, long_form: bool) -> None:
    chance = random.Random(9)
    durable = snapshots = 0
    for _ in range(200 if long_form else 15):
        process = subprocess.Popen(
            [sys.executable, "-c", WRITER, str(tmp_path)],
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "OMP_NUM_THREADS": "1"},
        )
        assert process.stdout is not None
        # A number of reports first, so that all rounds together get as far on a slow disk; then a moment by chance.
        lines = [process.stdout.readline() for _ in range(chance.randint(1, 20))]
        time.sleep(chance.uniform(0, 0.25))
        process.send_signal(signal.SIGKILL)
        lines += process.stdout.read().splitlines()
        assert process.wait() == -signal.SIGKILL, lines
        process.stdout.close()
        reports = [line.split() for line in lines if len(line.split()) == 3]
        assert reports[0][0] == "resumed"
        assert int(reports[0][1]) >= durable
        # The last line may be cut short by the kill only if it was never finished; pipes take short lines whole.
        assert all(int(total) == total_before(int(position)) for _, position, total in reports)
        durable = max(int(position) for _, position, _ in reports)
        snapshots += sum(kind == "snapshot" for kind, _, _ in reports)
    with StateLock(tmp_path):
        snapshot = SnapshotStore(tmp_path / "snapshots").load_newest()
        assert snapshot is not None
        assert snapshot.passed_over == ()
        assert np.array_equal(snapshot.state["weights"], np.full(20_000, total_before(snapshot.position)))
        journal = Journal(tmp_path / "journal", at_least=snapshot.position)
        positions = [position for position, _ in journal.read(snapshot.position)]
        assert positions == list(range(snapshot.position, journal.next_position))
        assert journal.next_position >= durable > 100
    assert snapshots > 3
