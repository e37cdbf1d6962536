"""An HTTP/2 peer that does only what it is told: it may stop reading, send half a message, reset, or vanish."""

import socket
import struct
from collections import defaultdict, deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Self

import h2.config
import h2.connection
import h2.events
import h2.settings
from h2.errors import ErrorCodes
from hyperframe.frame import DataFrame, GoAwayFrame

PATIENCE_S = 5.0
_PREFIX = struct.Struct(">?I")
_WIDEST = (1 << 31) - 1


def framed(message: bytes) -> bytes:
    """A gRPC message with its prefix."""
    return _PREFIX.pack(False, len(message)) + message


class Peer:
    """One connection. Its calls block: where the server is on the event loop, they belong into a thread.

    What comes for a stream of `unread` is kept, and its room in the window is not given back.
    """

    def __init__(self, where: int | Path | tuple[str, int]) -> None:
        """*where*: a port of this machine, the path of a Unix socket, or an address and a port."""
        if isinstance(where, Path):
            self._socket = socket.socket(socket.AF_UNIX)
            self._socket.settimeout(PATIENCE_S)
            self._socket.connect(str(where))
        else:
            address = ("127.0.0.1", where) if isinstance(where, int) else where
            self._socket = socket.create_connection(address, PATIENCE_S)
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._http = h2.connection.H2Connection(h2.config.H2Configuration())
        self.unread: set[int] = set()
        self.ended: dict[int, str] = {}
        """Streams that the server ended: with a gRPC status, or `reset`."""
        self.lost: str | None = None
        """How the server ended the connection, if it did."""
        self.heads: dict[int, dict[str, str]] = defaultdict(dict)
        """Headers and trailers of the answers."""
        self.leaving = False
        """The server said that it takes no new stream."""
        self._bytes: dict[int, bytearray] = defaultdict(bytearray)
        self._messages: dict[int, deque[bytes]] = defaultdict(deque)
        self._owed: dict[int, int] = defaultdict(int)
        self._settled = False
        # To the library every GOAWAY ends the connection at once; streams that are open go on.
        self._http._frame_dispatch_table[GoAwayFrame] = self._told_to_leave
        try:
            self._http.initiate_connection()
            self._http.increment_flow_control_window(_WIDEST - 65_535)
            self._until(lambda: self._settled)
        except BaseException:
            self._socket.close()  # nobody else has it yet
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    # ---- what it sends

    def open(self, path: str, metadata: Sequence[tuple[str, str]] = ()) -> int:
        """A new stream; nothing of it is on its way before something else is sent."""
        head = [(":method", "POST"), (":scheme", "http"), (":path", path), (":authority", "picker")]
        return self.open_as([*head, ("te", "trailers"), ("content-type", "application/grpc"), *metadata])

    def open_as(self, headers: Sequence[tuple[str, str]]) -> int:
        """The same with headers as they are."""
        stream = self._http.get_next_available_stream_id()
        self._http.send_headers(stream, headers)
        return stream

    def write_alone(self, stream: int, data: bytes) -> None:
        """Bytes in a frame of their own, on their way with the next ones."""
        if self._http.local_flow_control_window(stream) < len(data):
            self._until(lambda: self._http.local_flow_control_window(stream) >= len(data))
        self._http.send_data(stream, data)

    def send(self, stream: int, *messages: bytes) -> None:
        """Messages, all of them; reads while it waits for room."""
        self.send_raw(stream, b"".join(map(framed, messages)))

    def send_raw(self, stream: int, data: bytes) -> None:
        """Bytes as they are."""
        while data:
            taken = self.offer(stream, data)
            data = data[taken:]
            if data and not taken:
                self._read()

    def offer(self, stream: int, data: bytes) -> int:
        """Sends what the server's windows allow now; how much that was."""
        room = min(len(data), self._http.local_flow_control_window(stream))
        size = self._http.max_outbound_frame_size
        for start in range(0, room, size):
            self._http.send_data(stream, data[start : min(start + size, room)])
        self.flush()
        return room

    def send_late(self, stream: int, data: bytes) -> None:
        """Bytes for a stream that the server has ended, as if they had been on their way then."""
        self._socket.sendall(DataFrame(stream, data).serialize())

    def finish(self, stream: int) -> None:
        """Nothing more will be sent on the stream."""
        self._http.end_stream(stream)
        self.flush()

    def reset(self, *streams: int) -> None:
        """Gives streams up."""
        for stream in streams:
            self._http.reset_stream(stream, ErrorCodes.CANCEL)
        self.flush()

    def vanish(self) -> None:
        """Drops the connection without a word."""
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._socket.close()

    def flush(self) -> None:
        """Puts what was written on its way."""
        if data := self._http.data_to_send():
            self._socket.sendall(data)

    # ---- what it hears

    def take(self, stream: int, count: int) -> list[bytes]:
        """The next *count* messages."""
        waiting = self._messages[stream]
        self._until(lambda: len(waiting) >= count or stream in self.ended)
        assert len(waiting) >= count, (len(waiting), self.ended[stream])
        return [waiting.popleft() for _ in range(count)]

    def end_of(self, stream: int) -> str:
        """Waits for the stream's end; see `ended`."""
        self._until(lambda: stream in self.ended)
        return self.ended[stream]

    def read_again(self, stream: int) -> None:
        """Gives back the room in the window that an unread stream took."""
        self.unread.discard(stream)
        self._http.acknowledge_received_data(self._owed.pop(stream, 0), stream)
        self.flush()

    def heard(self, stream: int) -> int:
        """Messages that lie here and were not taken."""
        return len(self._messages[stream])

    def listen_for(self, seconds: float) -> bool:
        """Hears what comes; False: nothing came within *seconds*."""
        self.flush()
        self._socket.settimeout(seconds)
        try:
            self._read()
        except TimeoutError:
            return False
        finally:
            self._socket.settimeout(PATIENCE_S)
        return True

    def _until(self, done: Callable[[], bool]) -> None:
        self.flush()
        while not done():
            assert self.lost is None, self.lost
            self._read()

    def _read(self) -> None:
        try:
            data = self._socket.recv(1 << 18)
        except ConnectionResetError:
            self._lose("reset")
            return
        if not data:
            self._lose("closed")
            return
        for event in self._http.receive_data(data):
            self._hear(event)
        if self.lost is None:
            self.flush()

    def _told_to_leave(self, frame: GoAwayFrame) -> tuple[list[Any], list[Any]]:
        if frame.error_code == ErrorCodes.NO_ERROR:
            self.leaving = True
        else:
            self._lose(f"{frame.error_code} {frame.additional_data!r}")
        return [], []

    def _hear(self, event: h2.events.Event) -> None:
        match event:
            case h2.events.RemoteSettingsChanged():
                self._settled = True
            case h2.events.DataReceived():
                stream, size = event.stream_id, event.flow_controlled_length
                self._bytes[stream] += event.data
                self._split(stream)
                if stream in self.unread:
                    self._owed[stream] += size
                else:
                    self._http.acknowledge_received_data(size, stream)
            case h2.events.ResponseReceived() | h2.events.TrailersReceived():
                self.heads[event.stream_id] |= {key.decode(): value.decode() for key, value in event.headers}
                if status := dict(event.headers).get(b"grpc-status"):
                    self.ended[event.stream_id] = status.decode()
            case h2.events.StreamReset():
                self.ended.setdefault(event.stream_id, "reset")
            case _:
                pass

    def _split(self, stream: int) -> None:
        data, at = self._bytes[stream], 0
        while len(data) - at >= _PREFIX.size:
            _, length = _PREFIX.unpack_from(data, at)
            if len(data) - at < _PREFIX.size + length:
                break
            at += _PREFIX.size
            self._messages[stream].append(bytes(data[at : at + length]))
            at += length
        del data[:at]

    def _lose(self, how: str) -> None:
        self.lost = self.lost or how
