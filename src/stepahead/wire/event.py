"""What a session has to tell: connected, disconnected, refused, subscribed, and in which words."""

from dataclasses import dataclass
from enum import StrEnum

__all__ = ["EventKind", "SessionEvent"]


class EventKind(StrEnum):
    """Names of the events; they are metric labels and do not change."""

    CONNECTED = "connected"
    DISCONNECTED = "disconnected"
    REFUSED = "refused"
    SUBSCRIBED = "subscribed"
    CLIENT = "client"
    PUBLISH_REFUSED = "publish_refused"


@dataclass(frozen=True, slots=True)
class SessionEvent:
    """One event of a session.

    Attributes:
        kind: what happened.
        text: one plain sentence for the log and the status.
        session_present: for `CONNECTED`, whether the broker had kept our session.
        retry_in_s: for `DISCONNECTED` and `REFUSED`, seconds until the next attempt.
    """

    kind: EventKind
    text: str
    session_present: bool | None = None
    retry_in_s: float | None = None
