"""`stepahead run` at the hardened broker that we ship, as an ordinary user: it works, and no secret gets out."""

import os
import re
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import trustme

from stepahead.contract.settings import BrokerSettings
from tests.broker.brokers import Broker, hardened_mosquitto
from tests.broker.conftest import Peer
from tests.broker.running import Running
from tests.broker.test_login import Authority, add_user

PASSWORD = "kX7-very-secret-91"
NOBODY = 65534
RULES = Path(__file__).parents[2] / "deploy" / "mosquitto" / "stepahead.acl"


@dataclass
class Plant:
    """The hardened broker, and what it takes to get in."""

    folder: Path
    broker: Broker
    login: dict[str, str]
    passwords: Path
    rules: Path

    def reread(self) -> None:
        """Let the broker read its passwords and rules anew."""
        assert self.broker.process is not None
        self.broker.process.send_signal(signal.SIGHUP)

    def peer(self, *filters: str) -> Peer:
        """A sensor and ear."""
        text = {name: value for name, value in self.login.items() if name not in ("username", "password")}
        settings = {**text, "client_id": "sensor", "username": "sensor", "password": "sensor"}
        return Peer(BrokerSettings.model_validate(settings), list(filters))

    def run(self, **changes: str) -> Running:
        """The service as a user who is nobody; the password comes from the environment."""
        login = self.login | changes
        environment = {f"STEPAHEAD_BROKER__{name.upper()}": value for name, value in login.items()}
        environment["HOME"] = str(self.folder)
        return Running(self.folder, None, prefix=as_nobody(), **environment)


def as_nobody() -> tuple[str, ...]:
    """What runs a command without root: nothing if we are not root.

    The interpreter may lie where only root looks (/root/.pyenv), so reading is the one thing left that others cannot.
    """
    if os.geteuid() != 0:
        return ()
    caps = "-all,+dac_read_search"
    user = ("--reuid", str(NOBODY), "--regid", str(NOBODY), "--clear-groups")
    return ("setpriv", *user, "--inh-caps", caps, "--ambient-caps", caps, "--bounding-set", caps, "--no-new-privs")


@pytest.fixture
def plant(tmp_path: Path) -> Iterator[Plant]:
    certificates = tmp_path / "certificates"
    certificates.mkdir()
    authority = Authority(certificates, "127.0.0.1", mutual=True)
    ours = authority.client("stepahead")
    authority.client("lost")
    authority.revoke(certificates / "lost.pem", certificates / "clients-revoked.pem")
    (certificates / "clients-ca.pem").write_bytes((certificates / "ca.pem").read_bytes())
    passwords, rules = tmp_path / "passwords", tmp_path / "rules"
    add_user(passwords, "stepahead", PASSWORD)
    add_user(passwords, "sensor", "sensor")
    rules.write_text(RULES.read_text() + "user sensor\ntopic readwrite #\n")
    broker = hardened_mosquitto(certificates, passwords, rules).start()
    login = {
        "url": broker.url("5").replace("mqtt:", "mqtts:"),
        "protocol": "5",
        "username": "stepahead",
        "password": PASSWORD,
        "ca_file": str(authority.ca_file),
        **{name: str(file) for name, file in ours.items()},
    }
    if os.geteuid() == 0:
        os.chown(tmp_path, NOBODY, NOBODY)
    yield Plant(tmp_path, broker, login, passwords, rules)
    broker.stop()


def command_lines(pid: int) -> list[bytes]:
    """Those of a process and its children, and theirs; anew when a thread or a child ends meanwhile."""
    while True:
        found = [Path(f"/proc/{pid}/cmdline").read_bytes()]
        try:
            for tasks in Path(f"/proc/{pid}/task").glob("*/children"):
                for child in tasks.read_text().split():
                    found += command_lines(int(child))
        except (FileNotFoundError, ProcessLookupError):
            continue
        return found


def test_it_forecasts_as_an_ordinary_user_and_no_secret_gets_out(plant: Plant) -> None:
    ear = plant.peer("stepahead/v1/#").connected()
    with plant.run() as running:
        running.until_said("subscribed to")
        ear.session.publish_many([(b"sensors/a", b"%d" % i) for i in range(40)], 1, False)
        ear.until(lambda: any(b"/forecast/" in message.topic for message in ear.kept))
        ear.until(lambda: any(b'"readings":40' in message.payload for message in ear.kept))
        lines = command_lines(running.process.pid)
        status = Path(f"/proc/{running.process.pid}/status").read_text()
        assert running.end(15)[0] == 0
    key = Path(plant.login["key_file"]).read_text().splitlines()[1]
    state = plant.folder / "state"
    files = [path for path in state.rglob("*") if path.is_file()]
    said = [message.payload for message in ear.kept] + lines + [path.read_bytes() for path in files]
    said.append(running.log.read_bytes())
    assert len(files) > 2
    for secret in (PASSWORD, key):
        assert not any(secret.encode() in text for text in said), secret
    assert {stat.S_IMODE(p.stat().st_mode) for p in (state, *state.rglob("*")) if p.is_dir()} == {0o700}
    assert {stat.S_IMODE(path.stat().st_mode) for path in files} == {0o600}
    uid = next(line for line in status.splitlines() if line.startswith("Uid:")).split()[1:]
    assert "0" not in uid
    ear.session.close(1)


WRONG = {
    "password": "refused the connection: user name or password is wrong, or this client may not connect",
    "authority": r"is not trusted: self.signed certificate in certificate chain",
    "host": r"is not trusted: Hostname mismatch, certificate is not valid for 'localhost'\.?",
}


@pytest.mark.parametrize(("what", "words"), WRONG.items(), ids=WRONG.keys())
def test_settings_that_are_wrong_end_it_with_a_sentence_and_no_secret(plant: Plant, what: str, words: str) -> None:
    other = plant.folder / "other.pem"
    trustme.CA().cert_pem.write_to_path(str(other))
    changes = {
        "password": {"password": PASSWORD + "x"},
        "authority": {"ca_file": str(other)},
        "host": {"url": plant.login["url"].replace("127.0.0.1", "localhost")},
    }
    with plant.run(**changes[what]) as running:
        code = running.process.wait(180)
    text = running.log.read_text()
    assert code == 1
    assert re.search(words + r"\s*\Z", text)
    assert "Traceback" not in text
    assert PASSWORD not in text


def test_what_the_broker_takes_away_while_it_runs_is_said_and_waited_for(plant: Plant) -> None:
    """The right to write below our prefix, and then the user."""
    ear = plant.peer("stepahead/v1/status").subscribed()  # a mosquitto that has just begun does not take the signal
    rules, passwords = plant.rules.read_text(), plant.passwords.read_text()
    plant.rules.write_text(rules.replace("topic readwrite stepahead/v1/#", "topic read stepahead/v1/#"))
    plant.reread()

    def until_online() -> None:
        ear.kept.clear()
        ear.until(lambda: any(b'"status":"online"' in message.payload for message in ear.kept))

    with plant.run() as running:
        running.until_said("refuses what we publish: not authorised; its rules (ACL) must let us write")
        plant.rules.write_text(rules)
        plant.reread()
        until_online()
        left = [line for line in passwords.splitlines(keepends=True) if not line.startswith("stepahead:")]
        plant.passwords.write_text("".join(left))
        plant.reread()
        running.until_said("user name or password is wrong")
        plant.passwords.write_text(passwords)
        plant.reread()
        until_online()
        assert running.end(15)[0] == 0
    text = running.log.read_text()
    assert "Traceback" not in text
    assert PASSWORD not in text
    ear.session.close(1)


def test_no_command_that_fails_tells_the_password(tmp_path: Path) -> None:
    file = tmp_path / "x.toml"
    file.write_text(f'[broker]\nurl = "mqtt://u:{PASSWORD}@h"\npassword = "{PASSWORD}"\nqos = 7\n')
    path = os.pathsep.join(entry or os.getcwd() for entry in sys.path)
    for command in (["run", "--config", file], ["doctor", "--config", file], ["config", "show", file]):
        arguments = [sys.executable, "-m", "stepahead", *map(str, command)]
        done = subprocess.run(
            arguments, capture_output=True, text=True, env=os.environ | {"PYTHONPATH": path}, check=False
        )
        assert (done.returncode, done.stdout) == (2, "")
        assert "broker.qos = 7" in done.stderr
        assert PASSWORD not in done.stderr
