"""A series that was silent when the snapshot was taken is looked at where its state lies."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from stepahead.contract.errors import StateError
from stepahead.contract.settings import DurabilitySettings, EngineSettings, ExpertSettings
from stepahead.inspection.command import run_inspect, run_verify
from stepahead.inspection.look import open_snapshot
from stepahead.inspection.series import SeriesBanks
from tests.service.engine_double import small_settings
from tests.service.service_double import Service

READINGS = 60


def settings_in(directory: Path, silent_after_s: float) -> Any:
    return small_settings(
        engine=EngineSettings(silent_after_s=silent_after_s),
        experts=ExpertSettings(long_series=0),
        durability=DurabilitySettings(state_dir=directory),
    )


def written(directory: Path, silent_after_s: float) -> Path:
    service = Service(settings_in(directory, silent_after_s), directory)
    for minute in range(READINGS):
        service.send(minute, 20 + np.sin(minute / 3), "sensors/talker")
        if minute < READINGS // 2:
            service.send(minute, minute % 7, "sensors/silent")
        service.loop.turn()
    service.clock.now_s += 2
    service.loop.turn()
    assert service.statuses[-1]["away"] == (1 if silent_after_s else 0)
    service.loop.finish()
    service.release()
    return directory


@pytest.fixture(scope="module")
def with_one_away(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return written(tmp_path_factory.mktemp("plant") / "state", silent_after_s=600)


def said(command: Any, *arguments: Any) -> tuple[int, str]:
    lines: list[str] = []
    return command(*arguments, lines.append), "\n".join(lines)


def test_it_is_shown_as_if_it_had_stayed(with_one_away: Path, tmp_path: Path) -> None:
    where_all_stay = SeriesBanks(open_snapshot(written(tmp_path / "state", silent_after_s=0)))
    banks = SeriesBanks(open_snapshot(with_one_away))
    assert banks.rows() == where_all_stay.rows()
    for key in ("sensors/silent", "sensors/talker"):
        assert banks.view(key) == where_all_stay.view(key)
    code, text = said(run_inspect, with_one_away, False, "sensors/silent", None, True)
    assert code == 0
    assert json.loads(text)["readings"] == READINGS // 2


def test_packs_are_verified(with_one_away: Path) -> None:
    code, text = said(run_verify, with_one_away, False)
    assert code == 0
    assert "silent series: 1 pack," in text
    (pack,) = (with_one_away / "silent").iterdir()
    whole = pack.read_bytes()
    pack.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    try:
        code, text = said(run_verify, with_one_away, False)
        assert code == 1
        assert "pack 1 in" in text
        with pytest.raises(StateError, match="row 0 of pack 1 does not match"):
            SeriesBanks(open_snapshot(with_one_away)).view("sensors/silent")
        assert SeriesBanks(open_snapshot(with_one_away)).view("sensors/talker").readings == READINGS
    finally:
        pack.write_bytes(whole)
