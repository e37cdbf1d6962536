"""Messages on a stream socket: the length in eight bytes, then that many bytes."""

import socket
import time

LENGTH_BYTES = 8
CHUNK_BYTES = 1 << 18


def send(to: socket.socket, message: bytes) -> None:
    """Send one message. Raises OSError."""
    to.sendall(len(message).to_bytes(LENGTH_BYTES, "big") + message)


def receive(sender: socket.socket, within_s: float | None = None) -> bytes:
    """The next message, whole.

    Raises:
        TimeoutError: it was not there *within_s* seconds.
        EOFError: the other end is closed.
        OSError: the connection broke.
    """
    until = None if within_s is None else time.monotonic() + within_s
    length = int.from_bytes(_exactly(sender, LENGTH_BYTES, until), "big")
    return bytes(_exactly(sender, length, until))


def _exactly(sender: socket.socket, length: int, until: float | None) -> bytearray:
    found = bytearray()
    while len(found) < length:
        if until is not None:
            sender.settimeout(max(0.001, until - time.monotonic()))
        part = sender.recv(min(length - len(found), CHUNK_BYTES))
        if not part:
            raise EOFError
        found += part
    return found
