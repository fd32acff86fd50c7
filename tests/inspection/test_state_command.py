"""`stepahead state`: against a state that a service wrote, whole, damaged, in use, or not there."""

import csv
import io
import json
import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy

from stepahead import cli
from stepahead.contract.settings import DurabilitySettings, Settings
from stepahead.inspection.command import run_export, run_inspect, run_verify
from stepahead.inspection.look import look_at
from stepahead.storage.lock import StateLock
from stepahead.storage.snapshot import SCHEMA
from stepahead.storage.verify import verify_state
from tests.service.engine_double import better_result, small_settings
from tests.service.service_double import Service

READINGS = 60


def settings_in(directory: Path) -> Settings:
    return small_settings(durability=DurabilitySettings(state_dir=directory))


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Service, Path]]:
    """Two series, a fine-tune adopted, ended in good order."""
    directory = tmp_path_factory.mktemp("plant") / "state"
    service = Service(settings_in(directory), directory)
    for minute in range(READINGS):
        service.send(minute, 20 + np.sin(minute / 3), "sensors/a")
        service.send(minute, minute % 7, "sensors/b/power")
        service.loop.turn()
        if service.trainer.materials and service.trainer.busy:
            service.trainer.result = better_result(service.trainer.materials[-1])
    service.loop.finish()
    yield service, directory
    service.release()


@pytest.fixture
def state(written: tuple[Service, Path]) -> Path:
    written[0].release()
    return written[1]


def said(command: Any, *arguments: Any) -> tuple[int, str]:
    lines: list[str] = []
    return command(*arguments, lines.append), "\n".join(lines)


def bytes_of(directory: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in directory.rglob("*") if path.is_file()}


def call(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *words: object) -> tuple[int, str, str]:
    monkeypatch.setattr(sys, "argv", ["stepahead", "state", *map(str, words)])
    code = cli.main()
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def test_a_whole_state_is_told_and_left_as_it_was(state: Path) -> None:
    before = bytes_of(state)
    code, text = said(run_verify, state, False)
    assert code == 0
    assert text.endswith("whole: every checksum matches")
    assert f"snapshot 1: schema {SCHEMA}, at journal record" in text
    code, text = said(run_verify, state, True)
    facts = json.loads(text)
    assert (code, facts["ok"], facts["resumable"], facts["in_use_by"], facts["troubles"]) == (0, True, True, None, [])
    assert facts["records"]["batch"] > 0
    assert bytes_of(state) == before


def test_inspect_tells_series_positions_and_networks(written: tuple[Service, Path], state: Path) -> None:
    engine = written[0].engine
    code, text = said(run_inspect, state, False, None, None, False)
    assert code == 0
    assert f"snapshot 1: {engine.position} readings of 2 series\n  sensors/a\n  sensors/b/power\n" in text
    tally = engine.cohorts[0].tally
    assert tally.adopted > 0
    assert f"network default: model {engine.cohorts[0].ensemble.version}, " in text
    assert f"fine-tunes {tally.adopted} adopted, {tally.rejected} rejected" in text
    facts = json.loads(said(run_inspect, state, False, None, None, True)[1])
    assert (facts["series"], facts["readings"]) == (["sensors/a", "sensors/b/power"], engine.position)


def test_a_series_is_what_the_engine_has(written: tuple[Service, Path], state: Path) -> None:
    engine = written[0].engine
    view = json.loads(said(run_inspect, state, False, "sensors/b/power", None, True)[1])
    outlook = engine.outlook(np.array([1], np.int32))
    shares = dict(zip(outlook.names, outlook.weights[0].tolist(), strict=True))
    assert view["weights"] == {name: share for name, share in shares.items() if share > 0}
    assert sum(view["weights"].values()) == pytest.approx(1)
    assert (view["readings"], view["last_value"], view["period_s"]) == (READINGS, float((READINGS - 1) % 7), 60.0)
    assert view["difference_scale"] == engine._pipeline._scaler.scale(np.array([1]))[0]
    text = said(run_inspect, state, False, "sensors/b/power", None, False)[1]
    assert "persistence" in text
    assert "readings   60, one every 60 s" in text


def test_memory_adds_up_to_the_arrays(written: tuple[Service, Path], state: Path) -> None:
    engine = written[0].engine
    facts = json.loads(said(run_inspect, state, True, None, None, True)[1])
    banks = {bank["name"]: bank for bank in facts["banks"]}
    assert facts["bytes"] == sum(bank["size"] for bank in banks.values())
    # The long regressions of the first series are in the snapshot and cost no further series anything.
    expected = engine._parts.bytes_per_series() + engine._pipeline.parts.bytes_per_series()
    assert facts["bytes_per_series"] == expected
    assert banks["hidden"]["per_series"] == engine._pipeline._hidden.bytes_per_series()
    assert "together" in said(run_inspect, state, True, None, None, False)[1]


def test_export_writes_what_other_tools_read(written: tuple[Service, Path], state: Path, tmp_path: Path) -> None:
    engine, target = written[0].engine, tmp_path / "out"
    code, text = said(run_export, state, target, None, True)
    assert code == 0
    assert all(Path(line).is_file() for line in text.splitlines())
    for member, weights in enumerate(engine.cohorts[0].ensemble.weights):
        read = safetensors.numpy.load_file(target / f"weights-default-{member}.safetensors")
        assert read.keys() == weights.keys()
        assert all(np.array_equal(read[name], weights[name]) for name in weights)
    rows = list(csv.DictReader(io.StringIO((target / "scalers.csv").read_text())))
    assert [row["series"] for row in rows] == ["sensors/a", "sensors/b/power"]
    scale = engine._pipeline._scaler.scale(np.array([0, 1]))
    assert [float(row["difference_scale"]) for row in rows] == scale.tolist()
    assert "/engine/series" in json.loads((target / "everything" / "values.json").read_text())
    assert stat.S_IMODE(target.stat().st_mode) == 0o700
    assert {stat.S_IMODE(p.stat().st_mode) for p in target.rglob("*") if p.is_file()} == {0o600}


def test_a_state_in_use_is_looked_at_all_the_same(state: Path) -> None:
    with StateLock(state):
        code, text = said(run_verify, state, False)
        assert code == 0
        assert text.startswith(f"in use by process {os.getpid()}: ")
        assert said(run_inspect, state, False, "sensors/a", None, False)[0] == 0


def test_what_a_running_service_removes_meanwhile_is_no_damage(state: Path) -> None:
    looks: list[Path] = []

    def verify(directory: Path) -> Any:
        looks.append(directory)
        if len(looks) == 1:  # a generation goes between listing and reading
            report = verify_state(directory)
            return type(report)(**{n: getattr(report, n) for n in report.__slots__} | {"troubles": ("gone",)})
        return verify_state(directory)

    with StateLock(state):
        assert look_at(state, verify).report.ok
    looks.clear()
    assert look_at(state, verify).report.troubles == ("gone",)  # nobody runs: it is damage


def test_damage_is_named_and_exits_1(
    state: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    copy = tmp_path / "copy"
    subprocess.run(["cp", "-r", str(state), str(copy)], check=True)
    arrays = next(copy.glob("snapshots/*/arrays.safetensors"))
    data = bytearray(arrays.read_bytes())
    data[-1] ^= 1
    arrays.write_bytes(data)
    code, out, _ = call(monkeypatch, capsys, "verify", copy)
    assert code == 1
    assert "snapshot 1: arrays.safetensors does not match its checksum" in out
    assert call(monkeypatch, capsys, "verify", copy, "--json")[0] == 1
    for words in (("inspect", copy, "--series", "sensors/a"), ("export", copy, tmp_path / "x")):
        code, _, err = call(monkeypatch, capsys, *words)
        assert code == 1
        assert "checksum" in err
    assert not (tmp_path / "x").exists()


def test_what_is_no_state_directory_exits_2(
    state: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "young" / "journal").mkdir(parents=True)
    for words, message in [
        (("verify", tmp_path / "absent"), "there is no such directory"),
        (("inspect", tmp_path / "file"), "is a file, not a state directory"),
        (("export", tmp_path, tmp_path / "x"), "is not a state directory: neither journal nor snapshots is in it"),
        (("inspect", state, "--series", "sensors/c"), "there is no series 'sensors/c' among 2; there are sensors/a"),
        (("inspect", state, "--memory", "--generation", 9), "has no snapshot 9; there: 1"),
        (("inspect", tmp_path / "young", "--memory"), "has no snapshot yet, only a journal"),
        (("export", state, tmp_path / "young"), "young is there already: name a new directory"),
        (("export", state, "."), ". is there already"),
    ]:
        code, out, err = call(monkeypatch, capsys, *words)
        assert (code, out) == (2, ""), words
        assert message in err
    assert call(monkeypatch, capsys, "inspect", tmp_path / "young")[:2] == (
        0,
        "journal: empty\nno snapshot yet: what is known is in the journal alone\n",
    )


def test_looking_needs_no_torch(state: Path) -> None:
    code = (
        "import sys; from stepahead import cli; sys.argv = ['stepahead', 'state', 'inspect', sys.argv[1], '--series',"
        "'sensors/a']; code = cli.main(); assert 'torch' not in sys.modules; sys.exit(code)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(state)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
