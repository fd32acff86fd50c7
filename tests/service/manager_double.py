"""A service manager that listens, as systemd does."""

import socket


class Manager:
    """The side of the service manager."""

    def __init__(self, address: str) -> None:
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(address)
        self.socket.setblocking(False)
        self.name = "@" + address[1:] if address.startswith("\0") else address

    def heard(self) -> list[str]:
        found = []
        while True:
            try:
                found.append(self.socket.recv(4096).decode())
            except BlockingIOError:
                return found

    def close(self) -> None:
        self.socket.close()
