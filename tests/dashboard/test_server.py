"""The server against clients that know how to behave, and those that do not."""

import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest

from stepahead.contract.errors import SettingsError, UsageError
from stepahead.contract.settings import HttpSettings
from stepahead.dashboard import guard, protocol, stream
from stepahead.dashboard.assets import load_assets
from stepahead.dashboard.server import PageServer
from stepahead.dashboard.view import Verdict
from tests.dashboard.view_double import ViewDouble, Wire

Serve = Callable[..., PageServer]


@pytest.fixture
def view() -> ViewDouble:
    return ViewDouble()


@pytest.fixture
def errors() -> list[str]:
    return []


@pytest.fixture
def serve(view: ViewDouble, errors: list[str], monkeypatch: pytest.MonkeyPatch) -> Iterator[Serve]:
    patient(monkeypatch, 100.0)  # a test may stand still between a connection and its request
    with ExitStack() as stack:

        def start(**settings: object) -> PageServer:
            http = HttpSettings.model_validate({"port": 0, "enabled": True} | settings)
            return stack.enter_context(PageServer(http, view, errors.append))

        yield start
    for thread in [t for t in threading.enumerate() if t.name == "http"]:
        thread.join(60)  # a server waits for its own no longer than its service may
    assert not [t for t in threading.enumerate() if t.name == "http"], "the server's thread has ended"


def patient(monkeypatch: pytest.MonkeyPatch, request_s: float) -> None:
    """Let a request take so long to come."""
    made = protocol.bounded_protocol
    monkeypatch.setattr("stepahead.dashboard.server.bounded_protocol", lambda most: made(most, request_s=request_s))


def get(server: PageServer, target: str, **headers: str) -> tuple[int, dict[str, str], bytes]:
    with Wire(server.port) as wire:
        return wire.get(target, **headers).answer()


def test_pages_data_metrics_and_probes_are_served(serve: Serve, view: ViewDouble) -> None:
    server = serve()
    status, headers, body = get(server, "/")
    assert (status, headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert b"stepahead" in body
    for name in load_assets():
        assert get(server, f"/static/{name}")[0] == 200
    assert b"var uPlot" in get(server, "/static/uplot.js")[2]
    assert json.loads(get(server, "/api/now?sort=skill&page=3")[2])["body"] == {"rows": [], "sort": "skill", "page": 3}
    assert json.loads(get(server, "/api/now?view=series&key=known")[2])["body"]["key"] == "known"
    assert json.loads(get(server, "/api/now?view=series&key=other")[2])["body"] is None
    assert get(server, "/metrics")[2] == b"stepahead_viewers 0\n"
    assert get(server, "/healthz")[::2] == (200, b"ok\n")
    assert get(server, "/readyz")[::2] == (200, b"ok\n")
    view.verdict = Verdict(False, ("no connection to the broker",))
    assert get(server, "/readyz")[::2] == (503, b"not ok\nno connection to the broker\n")
    assert view.ticks >= 1


def test_one_event_a_second_goes_to_each_viewer_and_the_viewers_are_told_apart(serve: Serve, view: ViewDouble) -> None:
    server = serve()
    with Wire(server.port) as one, Wire(server.port) as other:
        began = time.monotonic()
        one.get("/api/events?view=series&key=known&since=5")
        other.get("/api/events?view=model")
        text = one.until(b'"since":11')
        took_s = time.monotonic() - began
        assert b'"networks":[]' in other.until(b"networks")
        assert get(server, "/metrics")[2] == b"stepahead_viewers 2\n"
    assert [f'"since":{n}'.encode() in text for n in (5, 8, 11)] == [True, True, True]
    assert b"text/event-stream" in text
    assert 0.9 < took_s < 60
    assert frozenset({"known"}) in view.looked_at
    deadline = time.monotonic() + 60
    while get(server, "/metrics")[2] != b"stepahead_viewers 0\n":
        assert time.monotonic() < deadline, "a viewer that has gone is no viewer"
        time.sleep(0.05)


def test_a_browser_is_told_to_load_nothing_from_elsewhere(serve: Serve) -> None:
    server = serve()
    for target in ("/", "/static/main.js", "/api/now", "/nothing", "/metrics"):
        _, headers, _ = get(server, target)
        policy = headers["content-security-policy"]
        assert policy.startswith("default-src 'none'; ")
        assert "unsafe" not in policy
        assert "http" not in policy
        assert headers["x-content-type-options"] == "nosniff"
        assert "server" not in headers
    html = load_assets()["index.html"].content.decode()
    assert "://" not in html
    assert "style=" not in html


@pytest.mark.parametrize(
    "headers",
    [{}, {"Authorization": "Bearer hush-hush-8"}, {"Authorization": "hush-hush-7"}, {"Authorization": "Bearer"}],
)
def test_without_the_token_nothing_is_told(serve: Serve, view: ViewDouble, headers: dict[str, str]) -> None:
    view.verdict = Verdict(False, ("no connection to the broker",))
    server = serve(token="hush-hush-7")
    for target in ("/api/now", "/api/events", "/metrics", "/api/now?token=hush-hush-7", "/api/nothing"):
        status, told, body = get(server, target, **headers)
        assert (status, told["www-authenticate"], body) == (401, "Bearer", b"a bearer token is needed\n"), target
    assert get(server, "/readyz", **headers)[::2] == (503, b"not ok\n")
    assert get(server, "/")[0] == 200, "the page itself holds nothing"


def test_with_the_token_everything_is_told(serve: Serve) -> None:
    server = serve(token="hush-hush-7")
    for target in ("/api/now", "/metrics"):
        assert get(server, target, Authorization="Bearer hush-hush-7")[0] == 200


def test_on_loopback_another_name_is_not_served(serve: Serve) -> None:
    server = serve()
    for host in ("plant.example", "127.0.0.1.plant.example:8420", "", "]["):
        assert get(server, "/api/now", Host=host)[0] == 421, host
    for host in ("localhost:8420", "127.0.0.1", "[::1]:8420"):
        assert get(server, "/api/now", Host=host)[0] == 200, host


PATHS = [
    "/static/../view.py", "/static/..%2fview.py", "/static/%2e%2e/%2e%2e/settings.py", "/static//etc/passwd",
    "/../../../../etc/passwd", "/static/....//....//etc/passwd", "/static/%00main.js", "/static/\\..\\view.py",
    "/static/main.js/", "//etc/passwd", "/static/", "/api", "/metrics/../api/now", "/static/index.html%0d%0aX: y",
]  # fmt: skip


def test_no_other_file_can_be_read(serve: Serve) -> None:
    server = serve()
    for path in PATHS:
        status, _, body = get(server, path)
        assert status in (400, 404), path
        assert b"root:" not in body
        assert b"import" not in body


def test_nothing_can_be_changed(serve: Serve) -> None:
    server = serve()
    for method in ("POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "CONNECT"):
        for target in ("/", "/api/now", "/api/events", "/metrics"):
            with Wire(server.port) as wire:
                wire.send(f"{method} {target} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n".encode())
                assert wire.answer()[0] in (400, 404, 405), (method, target)


@pytest.mark.parametrize(
    "junk",
    [
        b"GET / HTTP/1.1\r\nHost: localhost\r\nX: " + b"a" * 1_000_000,
        b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 100_000,
        b"GET /" + b"a" * 1_000_000,
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x00" * 500,
        b"\x00" * 100_000,
        b"GET / HTTP/9.9\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\nfff\r\n",
    ],
    ids=["header", "headers", "target", "tls", "zeros", "version", "smuggling"],
)
def test_a_request_that_is_none_is_cut_off(serve: Serve, junk: bytes) -> None:
    server = serve()
    with Wire(server.port) as wire:
        try:
            wire.send(junk)
            data = wire.until(b"\r\n\r\n")
        except ConnectionError:
            data = b""
        assert not data or data.split(b" ")[1] in (b"400", b"404", b"405", b"421"), data[:100]
    assert get(server, "/")[0] == 200


def in_time(server: PageServer) -> Wire:
    """A connection whose first request has been answered: one that this machine was too slow for is made anew."""
    while True:
        wire = Wire(server.port)
        with suppress(ConnectionError):
            if wire.get("/healthz").until(b"ok\n").startswith(b"HTTP/1.1 200"):
                return wire
        wire.close()


def test_a_request_that_does_not_come_is_not_waited_for(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    patient(monkeypatch, 0.5)
    server = serve()
    silent, slow, kept = Wire(server.port), Wire(server.port), in_time(server)
    with silent, slow, kept:
        with suppress(ConnectionError):
            slow.send(b"GET / HTTP/1.1\r\n")
            kept.send(b"G")
            for _ in range(10):  # a byte at a time buys no time
                time.sleep(0.1)
                slow.send(b"X: y\r\n")
                kept.send(b"E")
        assert silent.gone()
        assert slow.gone()
        assert kept.gone()


def test_a_thousand_connections_take_the_place_of_each_other_and_not_of_a_viewer(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("stepahead.dashboard.server.ADMITTED_PER_S", 1e6)
    server = serve(connections=32)
    with Wire(server.port) as viewer, ExitStack() as stack:
        viewer.get("/api/events?view=model")
        viewer.until(b"networks")
        wires = [stack.enter_context(Wire(server.port)) for _ in range(1000)]
        for wire in wires:
            wire.socket.settimeout(0.02)
        viewer.until(b"networks")
        viewer.until(b"networks")
        assert get(server, "/healthz")[0] == 200, "somebody else still gets an answer"
        deadline = time.monotonic() + 60  # the server may not have come to the last ones yet
        while sum(not wire.gone() for wire in wires[-200:]) > 32:
            assert time.monotonic() < deadline


def test_connections_beyond_the_rate_wait(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stepahead.dashboard.server.ADMITTED_AT_ONCE", 5.0)
    monkeypatch.setattr("stepahead.dashboard.server.ADMITTED_PER_S", 40.0)
    server = serve()
    began = time.monotonic()
    with ExitStack() as stack:
        wires = [stack.enter_context(Wire(server.port)).get("/healthz") for _ in range(25)]
        assert all(wire.answer()[0] == 200 for wire in wires)
    assert time.monotonic() - began > 0.4


def test_too_many_viewers_are_sent_away(serve: Serve) -> None:
    server = serve(viewers=2)
    with Wire(server.port) as one, Wire(server.port) as other:
        for wire in (one, other):
            wire.get("/api/events?view=model").until(b"networks")
        status, headers, body = get(server, "/api/events?view=model")
        assert (status, headers["retry-after"]) == (503, "10")
        assert b"http.viewers" in body


def test_a_viewer_that_does_not_read_is_left(serve: Serve, view: ViewDouble, monkeypatch: pytest.MonkeyPatch) -> None:
    server = serve()
    with Wire(server.port) as wire:
        wire.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        wire.get("/api/events?view=model")
        for viewers in (1, 0):
            deadline = time.monotonic() + 60
            while get(server, "/metrics")[2] != f"stepahead_viewers {viewers}\n".encode():
                assert time.monotonic() < deadline
                time.sleep(0.05)
            monkeypatch.setattr(stream, "PATIENCE_S", 0.5)
            view.filler = "x" * 8_000_000  # more than the kernel's buffers hold


def test_requests_beyond_the_rate_wait(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guard, "BURST", 5.0)
    server = serve()
    with Wire(server.port) as wire:
        began = time.monotonic()
        for _ in range(5 + 10):
            assert wire.get("/healthz").answer()[0] == 200
        assert time.monotonic() - began > 0.35


def test_a_defect_is_told_and_stops_nothing(serve: Serve, view: ViewDouble, errors: list[str]) -> None:
    server = serve()
    view.defect = ZeroDivisionError("seven")
    status, headers, body = get(server, "/api/now")
    assert (status, body) == (500, b"a defect in stepahead: see its log\n")
    assert "content-security-policy" in headers
    assert errors == ["ZeroDivisionError: seven"]
    view.defect = None
    assert get(server, "/api/now")[0] == 200


def test_a_server_that_is_left_before_its_thread_has_begun_ends(
    view: ViewDouble, errors: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A service may fail in the moment of its start, on a machine that has no time for another thread yet."""
    left, run = threading.Event(), PageServer._run

    def late(self: PageServer) -> None:
        left.wait(60)
        run(self)

    monkeypatch.setattr(PageServer, "_run", late)
    server = PageServer(HttpSettings.model_validate({"port": 0, "enabled": True}), view, errors.append)
    monkeypatch.setattr("stepahead.dashboard.server.END_S", 0.1)
    with server:
        pass
    left.set()
    server._thread.join(60)
    assert not server._thread.is_alive()
    assert errors == []


def test_a_tick_that_takes_longer_than_a_second_lets_others_have_their_turn(
    serve: Serve, view: ViewDouble, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a machine that is starved, or with very many series."""
    monkeypatch.setattr("stepahead.dashboard.server.BEAT_S", 0.05)
    monkeypatch.setattr(view, "tick", lambda: time.sleep(0.1))
    server = serve()
    for _ in range(3):
        assert get(server, "/healthz")[0] == 200


def test_a_port_that_is_taken_is_named_at_the_start(serve: Serve) -> None:
    taken = serve().port
    with pytest.raises(SettingsError, match=rf"http.host = '127.0.0.1', http.port = {taken}: .*in use"):
        serve(port=taken)
    with pytest.raises(SettingsError, match=r"http.host = '203.0.113.7'"):
        serve(host="203.0.113.7")


def test_uplot_that_is_not_there_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageError, match=r"uPlot.iife.min.js: No such file"):
        load_assets(tmp_path)
    monkeypatch.setattr("stepahead.dashboard.assets.CARRIER", "a-package-that-nobody-has")
    with pytest.raises(UsageError, match=r"pip install .*http\.uplot_dir"):
        load_assets()
