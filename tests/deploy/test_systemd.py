"""The unit file: read by systemd itself, its exposure bounded, and in tune with what the service does."""

import configparser
import re
import shutil
import subprocess
from pathlib import Path

from stepahead.service.configuration import load_settings

DEPLOY = Path(__file__).parents[2] / "deploy"
UNIT = DEPLOY / "systemd" / "stepahead.service"
MOST_EXPOSED = 15
"""In tenths: 1.4 was measured with systemd 252; what is left are the network and what the compiler needs."""


def analyze(*arguments: object) -> subprocess.CompletedProcess[str]:
    program = shutil.which("systemd-analyze")
    assert program is not None, "systemd-analyze is missing: apt-get install systemd"
    return subprocess.run([program, *map(str, arguments)], capture_output=True, text=True)


def service() -> configparser.SectionProxy:
    parser = configparser.ConfigParser(strict=False, interpolation=None)
    parser.optionxform = str  # type: ignore[assignment]
    parser.read_string(UNIT.read_text())
    return parser["Service"]


def installed(folder: Path, unit: str) -> Path:
    """The unit as if its program were there."""
    assert unit.count("/opt/stepahead/bin/stepahead ") == 1
    file = folder / "stepahead.service"
    file.write_text(unit.replace("/opt/stepahead/bin/stepahead ", "/bin/true "))
    return file


def test_systemd_finds_nothing_wrong(tmp_path: Path) -> None:
    done = analyze("verify", installed(tmp_path, UNIT.read_text()))
    assert (done.returncode, done.stderr) == (0, "")


def test_systemd_would_find_a_wrong_line(tmp_path: Path) -> None:
    done = analyze("verify", installed(tmp_path, UNIT.read_text().replace("WatchdogSec=3min", "WatchdogSecs=3min")))
    assert "WatchdogSecs" in done.stderr


def test_the_exposure_is_bounded(tmp_path: Path) -> None:
    file = installed(tmp_path, UNIT.read_text())
    done = analyze("security", "--offline=yes", "--no-pager", f"--threshold={MOST_EXPOSED}", file)
    assert done.returncode == 0, done.stdout


def test_the_unit_waits_longer_than_the_service_may_take() -> None:
    unit = service()
    settings = load_settings(DEPLOY / "stepahead.toml")
    assert unit["Type"] == "notify"
    # A turn may hold fine-tunes in line, one per member at the worst.
    minutes = re.fullmatch(r"(\d+)min", unit["WatchdogSec"])
    assert minutes is not None
    assert 60 * int(minutes[1]) >= settings.learning.max_seconds * settings.network.members
    assert unit["RestartPreventExitStatus"] == "2"


def test_the_shipped_settings_are_right_and_lie_where_the_unit_looks() -> None:
    settings = load_settings(DEPLOY / "stepahead.toml")
    assert settings.http.enabled
    assert settings.durability.state_dir is None  # systemd's StateDirectory
    assert f"--config /etc/{service()['ConfigurationDirectory']}/stepahead.toml" in service()["ExecStart"]
