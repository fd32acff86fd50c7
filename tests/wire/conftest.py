import pytest

from stepahead.wire import connection


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A session waits for its broker however busy the machine is; a test of how long it waits undoes this."""
    for name in ("CONNACK_TIMEOUT_S", "ASK_AFTER_S", "ANSWER_S"):
        monkeypatch.setattr(connection, name, 3600.0)
