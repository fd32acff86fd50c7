"""`stepahead state verify|inspect|export`: what they print and what they end with."""

import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any
from urllib.parse import quote

from stepahead.inspection.look import Look, Stored, look_at, open_snapshot
from stepahead.inspection.memory import bank_sizes
from stepahead.inspection.series import SeriesBanks, SeriesView, iso, scalers_csv
from stepahead.storage.export import export_files
from stepahead.storage.verify import SnapshotReport, export_state

__all__ = ["run_export", "run_inspect", "run_verify"]

KEYS_SHOWN = 5
MAPPINGS = ("segments", "packs")
Say = Callable[[str], None]


def run_verify(directory: Path, as_json: bool, say: Say) -> int:
    """Check every checksum and say what is damaged.

    Returns:
        The exit code: 0 whole, 1 damaged.

    Raises:
        UsageError: no such directory, or not a state directory.
        StateError: it cannot be read.
    """
    look = look_at(directory)
    report = look.report
    if as_json:
        say(json.dumps(facts(look), indent=1))
        return 0 if report.ok else 1
    for line in (*described(look), *report.troubles):
        say(line)
    if report.ok:
        say("whole: every checksum matches")
    elif report.resumable:
        say("damaged, and a start gets by: the newest whole snapshot and the journal after it can be read")
    else:
        say("damaged, and a start will be refused: restore it from a backup, or move it away to begin anew")
    return 0 if report.ok else 1


def run_inspect(
    directory: Path, memory: bool, series: str | None, generation: int | None, as_json: bool, say: Say
) -> int:
    """Say what a state directory holds: as a whole, by bank, or of one series.

    Returns:
        The exit code, 0.

    Raises:
        UsageError: no such directory, snapshot or series.
        StateError: it cannot be read or what was asked for is damaged.
    """
    if series is not None:
        view = SeriesBanks(open_snapshot(directory, generation)).view(series)
        say(json.dumps(asdict(view), indent=1) if as_json else series_text(view))
    elif memory:
        tell_memory(open_snapshot(directory, generation), as_json, say)
    else:
        tell_all(look_at(directory), directory, generation, as_json, say)
    return 0


def tell_memory(stored: Stored, as_json: bool, say: Say) -> None:
    """Bytes per bank and per series."""
    sizes = bank_sizes(stored)
    total, each = sum(bank.size for bank in sizes), sum(bank.per_series for bank in sizes)
    if as_json:
        banks = [asdict(bank) for bank in sizes]
        say(
            json.dumps({"series": len(stored.keys), "bytes": total, "bytes_per_series": each, "banks": banks}, indent=1)
        )
        return
    say(f"{'bank':<32}{'bytes':>14}{'per series':>12}")
    for bank in sizes:
        say(f"{bank.name:<32}{bank.size:>14,}{bank.per_series or '':>12}")
    say(f"{'together':<32}{total:>14,}{each:>12}")
    say(f"{len(stored.keys)} series; banks grow by doubling, so there is room for more")


def tell_all(look: Look, directory: Path, generation: int | None, as_json: bool, say: Say) -> None:
    """What verify says, and the series and networks of the newest snapshot."""
    stored = open_snapshot(directory, generation) if look.report.snapshots else None
    if as_json:
        more = {} if stored is None else {"series": stored.keys, "readings": stored.state["engine"]["position"]}
        say(json.dumps({**facts(look), **more}, indent=1))
        return
    for line in (*described(look), *look.report.troubles):
        say(line)
    if stored is None:
        say("no snapshot yet: what is known is in the journal alone")
        return
    engine, keys = stored.state["engine"], stored.keys
    say(f"snapshot {stored.manifest.generation}: {engine['position']} readings of {len(keys)} series")
    for key in keys[:KEYS_SHOWN]:
        say(f"  {key}")
    if len(keys) > KEYS_SHOWN:
        say(f"  … and {len(keys) - KEYS_SHOWN} more")
    for name, cohort in engine["cohorts"].items():
        tally = cohort["tally"]
        say(f"network {name}: model {cohort['version']}, {len(cohort['weights'])} members, "
            f"fine-tunes {tally['adopted']} adopted, {tally['rejected']} rejected")  # fmt: skip


def run_export(directory: Path, target: Path, generation: int | None, everything: bool, say: Say) -> int:
    """Write weights and scalers of a snapshot to a new directory.

    Returns:
        The exit code, 0.

    Raises:
        UsageError: no such directory or snapshot, or `target` is there already.
        StateError: damaged, or the disk refuses.
    """
    stored = open_snapshot(directory, generation)
    tensors = {
        f"weights-{quote(name, safe='')}-{member}.safetensors": weights
        for name, cohort in stored.state["engine"]["cohorts"].items()
        for member, weights in cohort["weights"].items()
    }
    settings = json.dumps(stored.state["settings"], indent=1).encode()
    paths = export_files(target, tensors, {"scalers.csv": scalers_csv(SeriesBanks(stored)), "settings.json": settings})
    if everything:
        exact = stored.manifest.generation
        paths += export_state(directory, target / "everything", generation=exact, events=("outcome",))
    for path in paths:
        say(str(path))
    return 0


def described(look: Look) -> list[str]:
    """The lines that verify and inspect begin with."""
    report, lines = look.report, []
    if look.holder is not None:
        lines.append(f"in use by process {look.holder}: what it is writing just now may count as torn")
    for snapshot in report.snapshots:
        lines.append(snapshot_text(snapshot))
    counts = ", ".join(f"{count} {kind}" for kind, count in report.records.items()) or "empty"
    lines.append(
        f"journal: records {report.first_position} to {report.next_position - 1} ({counts}), "
        f"{len(report.segments)} segments, {sum(report.segments.values()):,} bytes"
        if report.next_position
        else f"journal: {counts}"
    )
    if report.packs:
        packs = "1 pack" if len(report.packs) == 1 else f"{len(report.packs)} packs"
        lines.append(f"silent series: {packs}, {sum(report.packs.values()):,} bytes")
    if report.torn_bytes:
        lines.append(f"torn end of the journal: {report.torn_bytes} bytes, harmless, cut off at the next start")
    return lines


def snapshot_text(snapshot: SnapshotReport) -> str:
    """One line for one generation."""
    if snapshot.written_ns is None:
        return f"snapshot {snapshot.generation}: {snapshot.size:,} bytes, damaged"
    state = "damaged" if snapshot.trouble else f"{snapshot.arrays} arrays"
    return (
        f"snapshot {snapshot.generation}: schema {snapshot.schema}, at journal record {snapshot.position}, "
        f"{iso(snapshot.written_ns)}, {snapshot.size:,} bytes, {state}"
    )


def facts(look: Look) -> dict[str, Any]:
    """What verify found, for machines."""
    report = asdict(look.report)
    whole = {"state": str(look.directory), "in_use_by": look.holder, "ok": look.report.ok}
    return {**whole, **{name: dict(part) if name in MAPPINGS else part for name, part in report.items()}}


def series_text(view: SeriesView) -> str:
    """One series in words."""
    lines = [
        f"series     {view.series}",
        f"readings   {view.readings}, one every {view.period_s:g} s",
        f"last       {view.last_value!r} at {view.last_time}" if view.readings else "last       none",
        f"value      mean {view.value_center:.6g}, deviation {view.value_scale:.6g}",
        f"difference order {view.difference_order}, scale {view.difference_scale:.6g}",
        "mixture",
        *(f"  {name:<22}{weight:7.1%}" for name, weight in view.weights.items()),
    ]
    return "\n".join(lines)
