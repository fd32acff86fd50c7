"""The journal against SQLite: appended readings a second and the latency of a commit.

Both take batches as one record or row with three columns, 20 bytes a reading: int32 slot, int64 time, float64 value.
"each": a commit per batch. "group": batches are appended until 20 ms have passed or 1 MiB waits, then committed. The
latency of a batch is the time from its append to the end of its commit. SQLite: WAL, synchronous=FULL, one blob row
per batch, so that it promises what the journal promises.

Run: `python tests/bench/journal.py [--json FILE] [--directory DIR] [--seconds S] [--repeat N]`
"""

import argparse
import contextlib
import json
import os
import platform
import shutil
import sqlite3
import statistics
import tempfile
import time
import zlib
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from stepahead.storage.journal import Journal
from stepahead.storage.record import Record, encode_record

SIZES = (1, 100, 8192)
INTERVAL_S = 0.02
GROUP_BYTES = 2**20


class Log(Protocol):
    def append(self, record: Record) -> Any: ...

    def commit(self) -> Any: ...

    def close(self) -> None: ...


class SqliteLog:
    """One blob row per record; the row is encoded as the journal encodes it."""

    def __init__(self, path: Path) -> None:
        self.connection = sqlite3.connect(path, isolation_level=None)
        self.connection.execute("PRAGMA journal_mode=WAL")
        self.connection.execute("PRAGMA synchronous=FULL")
        self.connection.execute("CREATE TABLE log (position INTEGER PRIMARY KEY, crc INTEGER, body BLOB)")
        self.open = False

    def append(self, record: Record) -> None:
        if not self.open:
            self.connection.execute("BEGIN")
            self.open = True
        body = encode_record(record)
        self.connection.execute("INSERT INTO log (crc, body) VALUES (?, ?)", (zlib.crc32(body), body))

    def commit(self) -> None:
        if self.open:
            self.connection.execute("COMMIT")
            self.open = False

    def close(self) -> None:
        self.commit()
        self.connection.close()


def measure(log: Log, record: Record, group: bool, seconds: float) -> dict[str, float]:
    """Batches a second, and the latency in ms from the append of a batch to the end of its commit."""
    count = len(record.arrays["value"])
    group_batches = max(1, GROUP_BYTES // len(encode_record(record)))
    latencies: list[float] = []
    waiting: list[float] = []
    start = now = time.perf_counter()
    while now - start < seconds:
        waiting.append(now)
        log.append(record)
        now = time.perf_counter()
        if not group or now - waiting[0] >= INTERVAL_S or len(waiting) >= group_batches:
            log.commit()
            now = time.perf_counter()
            latencies += [now - since for since in waiting]
            waiting.clear()
    log.commit()
    batches = len(latencies)
    cuts = np.quantile(latencies, [0.5, 0.99])
    return {
        "readings_per_second": batches * count / (now - start),
        "batches_per_second": batches / (now - start),
        "latency_ms_p50": 1e3 * float(cuts[0]),
        "latency_ms_p99": 1e3 * float(cuts[1]),
    }


def written_bytes() -> float:
    """Bytes that this process has handed to write calls; NaN where /proc does not say."""
    try:
        lines = Path("/proc/self/io").read_text().splitlines()
    except OSError:
        return float("nan")
    return float(dict(line.split(": ") for line in lines)["wchar"])


def batch(count: int) -> Record:
    generator = np.random.default_rng(count)
    columns = {
        "series": generator.integers(0, 10_000, count, dtype=np.int32),
        "time_ns": np.arange(count, dtype=np.int64),
        "value": generator.normal(size=count),
    }
    return Record("batch", {"messages": count}, columns)


def crc_rate() -> float:
    """Bytes a second of zlib's CRC-32 over 1 MiB."""
    data = np.random.default_rng(0).bytes(2**20)
    start = time.perf_counter()
    for _ in range(200):
        zlib.crc32(data)
    return 200 * len(data) / (time.perf_counter() - start)


def raw_fsync(directory: Path) -> float:
    """Median ms of writing 100 bytes and one fsync: the floor under a commit."""
    path = directory / "floor"
    descriptor = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_APPEND, 0o600)
    times = []
    for _ in range(200):
        start = time.perf_counter()
        os.write(descriptor, bytes(100))
        os.fsync(descriptor)
        times.append(time.perf_counter() - start)
    os.close(descriptor)
    path.unlink()
    return 1e3 * statistics.median(times)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--directory", type=Path, help="on the disk to be measured; none = the temporary directory")
    parser.add_argument("--seconds", type=float, default=1.0, help="of each measurement")
    parser.add_argument("--repeat", type=int, default=3)
    arguments = parser.parse_args()
    makers: dict[str, Callable[[Path], Log]] = {
        "journal": lambda path: Journal(path),
        "sqlite": lambda path: SqliteLog(path.with_suffix(".db")),
    }
    runs: dict[tuple[int, str, str], list[dict[str, float]]] = {}
    directory = Path(tempfile.mkdtemp(dir=arguments.directory))
    try:
        floor_ms = raw_fsync(directory)
        for repeat in range(arguments.repeat):
            for size in SIZES:
                for mode in ("each", "group"):
                    for name, make in makers.items():  # interleaved, so that a noisy minute strikes both
                        path = directory / f"{name}-{size}-{mode}-{repeat}"
                        before = written_bytes()
                        with contextlib.closing(make(path)) as log:
                            result = measure(log, batch(size), mode == "group", arguments.seconds)
                        readings = result["readings_per_second"] * arguments.seconds
                        result["written_bytes_per_reading"] = (written_bytes() - before) / readings
                        runs.setdefault((size, mode, name), []).append(result)
                        for left in directory.iterdir():
                            shutil.rmtree(left) if left.is_dir() else left.unlink()
    finally:
        shutil.rmtree(directory)
    rows = [
        {
            "readings": size,
            "commit": mode,
            "log": name,
            **{key: statistics.median(result[key] for result in results) for key in results[0]},
        }
        for (size, mode, name), results in runs.items()
    ]
    crc = crc_rate()
    report = {
        "date": datetime.now(UTC).date().isoformat(),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}",
        "sqlite": sqlite3.sqlite_version,
        "fsync_floor_ms": floor_ms,
        "crc32_bytes_per_second": crc,
        "repeat": arguments.repeat,
        "rows": rows,
    }
    print(f"{report['machine']}; write + fsync {floor_ms:.2f} ms; CRC-32 {crc / 1e9:.1f} GB/s")
    print("readings commit      log   readings/s  batches/s   p50 ms   p99 ms  bytes/reading")
    for row in rows:
        print(
            f"{row['readings']:>8} {row['commit']:>6} {row['log']:>8} {row['readings_per_second']:>12,.0f} "
            f"{row['batches_per_second']:>10,.0f} {row['latency_ms_p50']:>8.2f} {row['latency_ms_p99']:>8.2f} "
            f"{row['written_bytes_per_reading']:>14,.0f}"
        )
    if arguments.json:
        arguments.json.write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
