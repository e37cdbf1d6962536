"""Messages over a socket."""

import socket
import threading
from collections.abc import Iterator

import pytest

from headgate.io.sources.frames import receive, send


@pytest.fixture
def ends() -> Iterator[tuple[socket.socket, socket.socket]]:
    one, other = socket.socketpair()
    with one, other:
        yield one, other


@pytest.mark.parametrize("length", [0, 1, 8, 1_000_000])
def test_messages_come_whole_and_in_order(ends: tuple[socket.socket, socket.socket], length: int) -> None:
    one, other = ends

    def send_both() -> None:
        send(one, b"x" * length)
        send(one, b"next")

    sender = threading.Thread(target=send_both)
    sender.start()
    assert receive(other) == b"x" * length
    assert receive(other, 60.0) == b"next"
    sender.join()


def test_one_that_does_not_come_is_not_waited_for(ends: tuple[socket.socket, socket.socket]) -> None:
    ends[0].sendall((100).to_bytes(8, "big") + b"part")
    with pytest.raises(TimeoutError):
        receive(ends[1], 0.01)


def test_an_end_within_a_message_is_told(ends: tuple[socket.socket, socket.socket]) -> None:
    ends[0].sendall((100).to_bytes(8, "big") + b"part")
    ends[0].close()
    with pytest.raises(EOFError):
        receive(ends[1], 60.0)
