"""A view with nothing behind it, and a client that speaks HTTP byte by byte."""

import socket
from typing import Any

from stepahead.dashboard.view import Document, OverviewQuery, Verdict


class ViewDouble:
    """Counts what it is asked; `defect` makes it fail."""

    def __init__(self) -> None:
        self.ticks = 0
        self.looked_at: list[frozenset[str]] = []
        self.verdict = Verdict(True)
        self.defect: Exception | None = None
        self.filler = ""

    def tick(self) -> None:
        self.ticks += 1

    def head(self) -> Document:
        if self.defect is not None:
            raise self.defect
        return {"ticks": self.ticks, "filler": self.filler}

    def overview(self, query: OverviewQuery) -> Document:
        return {"rows": [], "sort": query.sort, "page": query.page}

    def series(self, key: str, since: int) -> Document | None:
        return {"key": key, "since": since, "count": since + 3} if key == "known" else None

    def look_at(self, keys: frozenset[str]) -> None:
        self.looked_at.append(keys)

    def model(self) -> Document:
        return {"networks": []}

    def health(self) -> Document:
        return {"fields": {}}

    def metrics(self, viewers: int) -> bytes:
        return f"stepahead_viewers {viewers}\n".encode()

    def alive(self) -> Verdict:
        return Verdict(True)

    def ready(self) -> Verdict:
        return self.verdict


class Wire:
    """One connection."""

    def __init__(self, port: int, timeout_s: float = 100.0) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=timeout_s)

    def send(self, data: bytes) -> "Wire":
        self.socket.sendall(data)
        return self

    def get(self, target: str, **headers: str) -> "Wire":
        named = {"Host": "127.0.0.1", **{name.replace("_", "-"): value for name, value in headers.items()}}
        lines = [f"GET {target} HTTP/1.1", *(f"{name}: {value}" for name, value in named.items()), "", ""]
        return self.send("\r\n".join(lines).encode("latin-1"))

    def until(self, mark: bytes) -> bytes:
        """Everything up to a mark, or to the end."""
        data = b""
        while mark not in data:
            piece = self.socket.recv(65536)
            if not piece:
                return data
            data += piece
        return data

    def answer(self) -> tuple[int, dict[str, str], bytes]:
        """Status, headers and body of an answer with a length."""
        data = self.until(b"\r\n\r\n")
        head, _, body = data.partition(b"\r\n\r\n")
        status, *lines = head.decode("latin-1").split("\r\n")
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
        length = int(headers.get("content-length", 0))
        while len(body) < length:
            body += self.socket.recv(65536)
        return int(status.split()[1]), headers, body

    def gone(self) -> bool:
        """Whether the other side has closed it, waiting for that as long as the timeout."""
        try:
            return self.socket.recv(1) == b""
        except ConnectionError:
            return True
        except TimeoutError:
            return False

    def close(self) -> None:
        self.socket.close()

    def __enter__(self) -> "Wire":
        return self

    def __exit__(self, *exc: Any) -> None:
        self.close()
