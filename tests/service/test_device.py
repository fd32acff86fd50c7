"""The device stands in the start line; one that is not there ends the start; stored state goes on with another."""

import io
from pathlib import Path

import numpy as np
import pytest
import torch

from stepahead.contract.errors import SettingsError
from stepahead.forecasting.engine import Engine
from stepahead.service.configuration import load_settings
from stepahead.service.program import log_start, run
from stepahead.storage.snapshot import SnapshotStore
from stepahead.telemetry.log import make_log
from tests.devices import DEVICES
from tests.forecasting.small import engine_of, feed, play, small_settings


def test_the_start_line_names_the_device() -> None:
    for assigned in ("cpu", "cuda:1"):
        stream = io.StringIO()
        log_start(load_settings(None, {"engine": {"device": assigned}}, {}), make_log(stream))
        assert f"device={assigned} " in stream.getvalue()


@pytest.mark.parametrize("name", ["gpu", "CUDA", "cuda:", "cuda:-1", "cpu:0", "cuda:x"])
def test_what_is_no_device_is_refused_with_the_settings(name: str) -> None:
    with pytest.raises(SettingsError, match=r"engine\.device"):
        load_settings(None, {"engine": {"device": name}}, {})


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
@pytest.mark.parametrize("deterministic", [False, True])
def test_a_run_on_a_gpu_that_is_not_there_ends_before_it_touches_anything(tmp_path: Path, deterministic: bool) -> None:
    settings = load_settings(
        None,
        {
            "engine": {"device": "cuda:3", "deterministic": deterministic},
            "durability": {"state_dir": tmp_path / "state"},
            "broker": {"url": "mqtt://127.0.0.1:1"},
        },
        {},
    )
    with pytest.raises(SettingsError, match=r"engine\.device = 'cuda:3': torch .* sees no CUDA device"):
        run(settings)
    assert not (tmp_path / "state").exists()


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("on_device_first", [True, False])
def test_a_state_directory_written_on_one_device_goes_on_with_the_other(
    tmp_path: Path, device: torch.device, on_device_first: bool
) -> None:
    settings = small_settings(learning={"every": 10_000})
    before, after = (device, None) if on_device_first else (None, device)
    readings = feed(rows=120, series=5)
    writer = Engine(settings, device=before)
    for number in range(5):
        writer.intern(f"s{number}")
    play(writer, readings[:300])
    SnapshotStore(tmp_path).write(writer.state_dict(), position=0)

    stored = SnapshotStore(tmp_path).load_newest()
    assert stored is not None
    reader = Engine(settings, device=after)
    reader.load_state_dict(stored.state)
    expected = play(engine_of(settings, 5), readings)[np.arange(300, 600)]
    np.testing.assert_allclose(play(reader, readings[300:]).value, expected.value, atol=1e-4)
