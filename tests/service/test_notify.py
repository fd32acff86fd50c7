"""What systemd hears: over real unix datagram sockets, a path and an abstract name, as sd_notify(3) has it."""

import contextlib
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from stepahead.contract.errors import SettingsError
from stepahead.service.notify import Notifier
from tests.service.manager_double import Manager


@pytest.fixture(params=["path", "abstract"])
def manager(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Manager]:
    found = Manager(str(tmp_path / "notify") if request.param == "path" else f"\0stepahead-test-{tmp_path}")
    yield found
    found.close()


class Clock:
    now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


def refuse(text: str) -> None:
    raise AssertionError(text)


def test_ready_once_and_a_feed_each_quarter_of_the_limit(manager: Manager) -> None:
    clock = Clock()
    environ = {"NOTIFY_SOCKET": manager.name, "WATCHDOG_USEC": "20000000", "WATCHDOG_PID": "7", "HOME": "/"}
    notifier = Notifier(environ, refuse, clock, pid=7)
    assert environ == {"HOME": "/"}  # a child must not speak for us
    assert manager.heard() == []
    heard = []
    for _ in range(11):
        notifier.turned()
        heard.append(manager.heard())
        clock.now_s += 1.0
    first, *later = heard
    assert first == ["READY=1", "WATCHDOG=1"]
    assert later == [[], [], [], [], ["WATCHDOG=1"], [], [], [], [], ["WATCHDOG=1"]]
    notifier.stopping()
    assert manager.heard() == ["STOPPING=1"]
    notifier.close()
    notifier.turned()
    assert manager.heard() == []


@pytest.mark.parametrize("watchdog", [{}, {"WATCHDOG_USEC": "1000000", "WATCHDOG_PID": "8"}])
def test_a_watchdog_that_is_off_or_somebody_elses_is_not_fed(manager: Manager, watchdog: dict[str, str]) -> None:
    clock = Clock()
    notifier = Notifier({"NOTIFY_SOCKET": manager.name} | watchdog, refuse, clock, pid=7)
    for _ in range(3):
        notifier.turned()
        clock.now_s += 10.0
    assert manager.heard() == ["READY=1"]
    notifier.close()


def test_a_full_queue_is_not_waited_for_and_nothing_is_forgotten(manager: Manager) -> None:
    stuffing = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    stuffing.setblocking(False)
    address = "\0" + manager.name[1:] if manager.name.startswith("@") else manager.name
    with stuffing, contextlib.suppress(BlockingIOError):
        while True:
            stuffing.sendto(b"full", address)
    notifier = Notifier({"NOTIFY_SOCKET": manager.name, "WATCHDOG_USEC": "4000000"}, refuse, Clock())
    notifier.turned()
    assert set(manager.heard()) == {"full"}
    notifier.turned()
    assert manager.heard() == ["READY=1", "WATCHDOG=1"]
    notifier.close()


def test_a_manager_that_is_gone_is_told_of_once_and_stops_nothing(tmp_path: Path) -> None:
    troubles: list[str] = []
    notifier = Notifier({"NOTIFY_SOCKET": str(tmp_path / "absent")}, troubles.append)
    for _ in range(3):
        notifier.turned()
    notifier.stopping()
    notifier.close()
    assert troubles == ["the service manager cannot be told READY=1: No such file or directory"]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("NOTIFY_SOCKET", "vsock:2:1234"),
        ("NOTIFY_SOCKET", "@"),
        ("WATCHDOG_USEC", "soon"),
        ("WATCHDOG_USEC", "0"),
        ("WATCHDOG_PID", "-1"),
    ],
)
def test_a_variable_that_cannot_be_is_named(name: str, value: str) -> None:
    with pytest.raises(SettingsError, match=name):
        Notifier({name: value}, refuse)
