"""Experiments at a broker, bounded in count and time, under a topic of our own, and cleaned up after.

What a broker keeps for a client that is away, and how much it sends before the first acknowledgement, it does not
say: it has to be tried.
"""

import contextlib
import secrets
import socket
import ssl
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from stepahead.contract.errors import BrokerError
from stepahead.contract.settings import Settings
from stepahead.doctor.observation import Probes
from stepahead.wire.address import CONNECT_TIMEOUT_S, parse_address
from stepahead.wire.delivery import Delivery
from stepahead.wire.event import EventKind, SessionEvent
from stepahead.wire.session import Session

__all__ = ["Prober"]

CONNECT_S = 5.0
ROUND_TRIPS = 15
BURSTS, BURST = 9, 4
LOST_S = 2.0
"""A message that is not back by then does not come back."""
QUEUED = 1_100
"""More than 1,000, which mosquitto and others keep unless told otherwise."""
CHUNK = 100
PUBLISH_S = 15.0
QUIET_S = 1.0
EXPIRY_S = 300


@dataclass(slots=True)
class Contact:
    """A session that stands.

    Attributes:
        session: connected and, where it has filters, subscribed.
        kept: whether the broker had kept it.
        early: what came meanwhile; not acknowledged.
    """

    session: Session
    kept: bool = False
    early: list[Delivery] = field(default_factory=list)


class Prober:
    """Connects under throw-away client ids and tries out what a broker does.

    Args:
        settings: of the broker, and the prefix below which the throw-away topic lies.
        wall_s: UTC seconds since 1970, to tell how long a certificate is valid.
    """

    def __init__(self, settings: Settings, wall_s: Callable[[], float] = time.time) -> None:
        token = secrets.token_hex(6)
        self._topic = f"{settings.publish.prefix}/doctor/{token}"
        self._settings = settings.broker
        self._client_id = f"{settings.broker.client_id}-doctor-{token}"
        self._wall_s = wall_s
        self._refused = ""

    @contextlib.contextmanager
    def connect(self, filters: Sequence[str], name: str = "ear", clean: bool = True) -> Iterator[Contact]:
        """Connect and subscribe; closed at the end.

        Args:
            filters: to subscribe to.
            name: end of the client id.
            clean: begin with an empty session and leave none behind.

        Raises:
            BrokerError: that was not reached within 5 s; the text is the last thing that was heard of the broker.
        """
        events: list[SessionEvent] = []
        changes = {"client_id": f"{self._client_id}-{name}", "session_expiry_s": EXPIRY_S}
        session = Session(self._settings.model_copy(update=changes), filters, None, events.append, clean=clean)
        contact = Contact(session)
        reached = EventKind.SUBSCRIBED if filters else EventKind.CONNECTED
        try:
            deadline = time.monotonic() + CONNECT_S
            while not any(event.kind is reached for event in events):
                if time.monotonic() > deadline:
                    raise BrokerError(events[-1].text if events else "the broker does not answer")
                contact.early += session.receive(0.05, 1000)
            contact.kept = any(event.session_present for event in events)
            yield contact
        finally:
            self._refused = next((e.text for e in events if e.kind is EventKind.PUBLISH_REFUSED), self._refused)
            session.close(2.0)

    def probe(self) -> Probes:
        """All experiments; at most some 40 s, usually 3.

        Raises:
            BrokerError: no connection.
        """
        probes = Probes(connect_s=self._connect_s())
        with self.connect([f"{self._topic}/echo"]) as contact:
            session = contact.session
            probes.limits = session.limits
            probes.certificate_days = self._certificate_days(session.socket)
            self._echo(session, probes)
            if probes.echoed:
                self._bursts(session, probes)
                self._queue(session, probes)
        probes.refused = self._refused or None
        if not probes.echoed:
            self._come_back(probes)
        return probes

    def _connect_s(self) -> float | None:
        """Least time of three to open a connection; None where it cannot be measured."""
        address = parse_address(self._settings.url)
        took_s: list[float] = []
        for _ in range(3):
            began_s = time.monotonic()
            try:
                socket.create_connection(address[:2], CONNECT_TIMEOUT_S).close()
            except OSError:
                return None  # the session will say why
            took_s.append(time.monotonic() - began_s)
        return min(took_s)

    def _certificate_days(self, sock: Any) -> float | None:
        if not isinstance(sock, ssl.SSLSocket):
            return None
        until = (sock.getpeercert() or {}).get("notAfter")
        return None if until is None else (ssl.cert_time_to_seconds(str(until)) - self._wall_s()) / 86_400

    def _echo(self, session: Session, probes: Probes) -> None:
        """Publish one message at a time and wait until it is back."""
        for number in range(ROUND_TRIPS):
            payload = b"%d" % number
            began_s = time.monotonic()
            session.publish(f"{self._topic}/echo", payload, 1, False)
            back = False
            while not back and time.monotonic() - began_s < LOST_S:
                for message in session.receive(0.5, 100):
                    back = back or message.payload == payload
                    session.acknowledge([message])
            probes.echoed = back
            if not back:
                return
            probes.round_trips_s.append(time.monotonic() - began_s)

    def _bursts(self, session: Session, probes: Probes) -> None:
        """Publish some messages at once and acknowledge when all are back.

        As nothing of ours is on its way meanwhile, a broker with Nagle's algorithm (RFC 896) holds the second small
        message back until our kernel's delayed acknowledgement: 42 ms on loopback, against 0.4 ms without.
        """
        topic = f"{self._topic}/echo".encode()
        for number in range(BURSTS):
            rows = [(topic, b"%d-%d" % (number, i)) for i in range(BURST)]
            began_s = time.monotonic()
            session.publish_many(rows, 1, False)
            back: list[Delivery] = []
            while len(back) < BURST and time.monotonic() - began_s < LOST_S:
                back += session.receive(0.5, 100)
            probes.bursts_s.append(time.monotonic() - began_s)
            session.acknowledge(back)

    def _come_back(self, probes: Probes) -> None:
        """Leave a session behind and see whether it is still there."""
        with self.connect([f"{self._topic}/queue"], "keeper", clean=False):
            pass
        with self.connect([], "keeper", clean=False) as contact:
            probes.session_kept = contact.kept
        with self.connect([], "keeper"):
            pass  # a clean session wipes out the kept one

    def _queue(self, mouth: Session, probes: Probes) -> None:
        """Publish for a session that is away, then come back and count."""
        topic = f"{self._topic}/queue"
        with self.connect([topic], "keeper", clean=False):
            pass
        try:
            probes.sent_while_away = self._publish_many(mouth, topic)
            with self.connect([], "keeper", clean=False) as contact:
                probes.session_kept = contact.kept
                if contact.kept:
                    waiting = [*contact.early, *taken(contact.session, acknowledge=False)]
                    probes.in_flight = len(waiting)
                    contact.session.acknowledge(waiting)
                    probes.kept_while_away = len(waiting) + len(taken(contact.session, acknowledge=True))
        finally:
            with self.connect([], "keeper"):
                pass

    @staticmethod
    def _publish_many(mouth: Session, topic: str) -> int:
        """How many messages the broker took in the time there is."""
        deadline = time.monotonic() + PUBLISH_S
        for sent in range(0, QUEUED, CHUNK):
            if time.monotonic() > deadline:
                return sent
            mouth.publish_many([(topic.encode(), b"%d" % (sent + i)) for i in range(CHUNK)], 1, False)
            if not mouth.flush(PUBLISH_S):
                return sent + CHUNK - mouth.pending_out.messages
        return QUEUED


def taken(session: Session, acknowledge: bool) -> list[Delivery]:
    """What comes until nothing has come for a second."""
    messages: list[Delivery] = []
    while fresh := session.receive(QUIET_S, 1000):
        messages += fresh
        if acknowledge:
            session.acknowledge(fresh)
    return messages
