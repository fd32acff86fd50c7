"""A TCP proxy on loopback whose line can be cut, and can go dead without a word."""

import contextlib
import selectors
import socket
import threading
import time


class Pair:
    """A client's connection and ours to the broker; what one says and the other has not been told yet."""

    def __init__(self, client: socket.socket, port: int) -> None:
        try:
            broker = socket.create_connection(("127.0.0.1", port), timeout=5)
        except OSError:
            client.close()
            raise
        self.sides = (client, broker)
        self.waiting = dict.fromkeys(self.sides, b"")  # to be said to this side
        self.dead = False  # for ever: whatever either says, nobody hears it
        for side in self.sides:
            side.setblocking(False)

    def other(self, side: socket.socket) -> socket.socket:
        return self.sides[1] if side is self.sides[0] else self.sides[0]

    @property
    def left(self) -> bool:
        """Whether one of the two has hung up."""
        return any(side.fileno() < 0 for side in self.sides)

    def close(self) -> None:
        for side in self.sides:
            with contextlib.suppress(OSError):
                side.close()


class Proxy:
    """Passes bytes on to a port of 127.0.0.1, in a thread of its own.

    `cut` closes all connections and refuses new ones. `go_dead` keeps them, takes what they say as a kernel would, and
    passes nothing on: those that are there stay dead for ever, as behind a router that forgot them; new ones are taken
    and wait. `heal` ends either.
    """

    def __init__(self, port: int) -> None:
        self.target = port
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self.listener.getsockname()[1])
        self.pairs: list[Pair] = []
        self.listening = True
        self.holding = False
        self.ending = False
        self.lock = threading.Lock()
        self.thread = threading.Thread(target=self._work, name="proxy", daemon=True)
        self.thread.start()

    @property
    def url(self) -> str:
        return f"mqtt://127.0.0.1:{self.port}"

    def cut(self) -> None:
        with self.lock:
            self.listener.close()
            for pair in self.pairs:
                pair.close()
            self.pairs.clear()
            # Bound and not listening it refuses, and nobody else gets the port meanwhile.
            self.listener = socket.socket()
            self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            self.listener.bind(("127.0.0.1", self.port))
            self.listening = False

    def go_dead(self) -> None:
        with self.lock:
            self.holding = True
            for pair in self.pairs:
                pair.dead = True

    def heal(self) -> None:
        with self.lock:
            self.holding = False
            if not self.listening:
                self.listener.listen()
                self.listening = True

    def close(self) -> None:
        self.ending = True
        self.thread.join(60)
        self.cut()
        self.listener.close()

    def _work(self) -> None:
        while not self.ending:
            with self.lock:
                self._turn()
            time.sleep(0.001)

    def _turn(self) -> None:
        selector = selectors.DefaultSelector()
        if self.listening:
            selector.register(self.listener, selectors.EVENT_READ)
        sides = {side: pair for pair in self.pairs for side in pair.sides if side.fileno() >= 0}
        for side in sides:
            selector.register(side, selectors.EVENT_READ)
        for key, _ in selector.select(0.002):
            if key.fileobj is self.listener:
                with contextlib.suppress(OSError):
                    client, _ = self.listener.accept()
                    self.pairs.append(Pair(client, self.target))
            elif isinstance(key.fileobj, socket.socket):
                self._hear(sides[key.fileobj], key.fileobj)
        selector.close()
        for pair in self.pairs:
            self._say(pair)
            # While the line is down nobody hears of a goodbye: the broker goes on with a connection that is dead, and
            # a client waits. A new connection that a client gave up leaves nothing behind.
            client_left = pair.sides[0].fileno() < 0
            if not pair.dead and (client_left or (pair.left and not self.holding)):
                pair.close()
        self.pairs = [pair for pair in self.pairs if any(side.fileno() >= 0 for side in pair.sides)]

    def _hear(self, pair: Pair, side: socket.socket) -> None:
        try:
            data = side.recv(1 << 16)
        except OSError:
            data = b""
        if data and not pair.dead:
            pair.waiting[pair.other(side)] += data
        elif not data:
            self._say(pair)
            side.close()  # the other side does not hear of it while the line is down

    def _say(self, pair: Pair) -> None:
        if pair.dead or self.holding:
            return
        for side in pair.sides:
            if pair.waiting[side] and side.fileno() >= 0:
                with contextlib.suppress(OSError):
                    taken = side.send(pair.waiting[side])
                    pair.waiting[side] = pair.waiting[side][taken:]
