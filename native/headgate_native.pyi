"""Headgate's native wire: bytes are read and written here, every decision is made in Python.

Only built-in types cross this border. `headgate.io.extproc.native` and `headgate.wire.native` are its users.
"""

from collections.abc import Mapping, Sequence
from os import PathLike
from typing import Any, Final, TypeAlias, final

__version__: str
SOURCES: Final[str]
"""Digest of the sources that the module was built from: see `headgate.io.extproc.native.sources`."""

ARRIVED: Final[int]
"""`(ARRIVED, stream, pool, id, api, path, model, streaming, blocks, prompt_bytes, max_tokens, subset, objective,
fairness_id, slo_ttft_ms, slo_tpot_ms, sessions, body_bytes, unseen, media_tokens, tools_first)`: a request is complete;
the two SLO values are header texts, `blocks` and `tools_first` 8 bytes per hash, little-endian."""
UNREAD: Final[int]
"""`(UNREAD, stream, pool, headers, body, subset, unseen, client, lean)`: a complete request whose body must be read in Python."""
TOO_LARGE: Final[int]
"""`(TOO_LARGE, stream, pool, request_id)`: the body is above the limit; the answer is written in Python."""
UNKNOWN_POOL: Final[int]
"""`(UNKNOWN_POOL, stream, pool, request_id)`: a stream for a pool not served here, to be refused."""
STARTED: Final[int]
"""`(STARTED, stream, pool, status, served, local, plain)`: response headers came."""
STORED: Final[int]
"""`(STORED, stream, pool, id, served)`: the server keeps its answer by this id."""
FIRST_TOKEN: Final[int]
"""`(FIRST_TOKEN, stream, pool)`: the first token of an event stream came."""
OVER: Final[int]
"""`(OVER, stream, pool, ending, status, usage, served)`: the request ended, and the stream with it. `usage` is
None, `(prompt, completion, cached)`, or `(format, tail)`: the number of the format whose counter reads the tail of the answer."""
LEFT: Final[int]
"""`(LEFT, stream, pool, connection)`: the stream was left early; the access log tells the end."""
CLOSED: Final[int]
"""`(CLOSED, stream)`: the stream is gone and has nothing more to say."""
LOGGED: Final[int]
"""`(LOGGED, stream name, ending, status, usage, served, details, attempts)`: an entry of the access log."""
LOG_OPENED: Final[int]
"""`(LOG_OPENED, connection)`: an access-log stream was opened."""
LOG_CLOSED: Final[int]
"""`(LOG_CLOSED, connection)`: an access-log stream was closed."""
WARNING: Final[int]
"""`(WARNING, text)`: something to log."""
LOG_NODE: Final[int]
"""`(LOG_NODE, connection, node)`: the access log of that connection is written by this Envoy."""
LINK_CLOSED: Final[int]
"""`(LINK_CLOSED, connection)`: a connection of which such rows told is gone, with all its streams."""

Row: TypeAlias = tuple[Any, ...]

@final
class Server:
    """Sockets and streams on threads of their own. One thread of Python takes events and gives answers."""

    def __new__(
        cls,
        settings: Mapping[str, Any],
        *,
        threads: int,
        max_connections: int,
        max_streams: int,
        max_message_bytes: int,
        backlog: int,
        ping_s: float,
        idle_s: float,
    ) -> Server:
        """*settings*: see `headgate.wire.native.settings`. *max_streams* is per connection; *backlog* messages
        are read ahead of Python at most. A peer that is silent for *ping_s* is pinged, a connection without a
        stream for *idle_s* is closed. Raises ValueError or TypeError for what is not understood."""

    def listen_unix(self, path: PathLike[str]) -> None:
        """Serves at *path*, where nothing is yet; raises OSError when it cannot be bound."""

    def listen(self, host: str, port: int, *, health_only: bool = False) -> int:
        """Starts serving on an IP address; the bound port. Raises OSError when it cannot be bound."""

    def set_tls(
        self, chain: bytes, key: bytes, *, min_version: str = "1.2", client_ca: bytes | None = None
    ) -> None:
        """PEM certificates of new connections from now on; *client_ca*: clients must show one signed by these.
        Raises ValueError for a pair that cannot be used; what was there stays."""

    def set_pools(self, served: Sequence[str], unnamed: str | None) -> None:
        """The pools that are served, and the one of streams that name none."""

    def set_sessions(self, headers: Sequence[str], cookies: Sequence[str], body: Sequence[str]) -> None:
        """What may name the session of requests from now on: headers (lower case), cookies, fields of bodies."""

    def set_ready(self, ready: bool) -> None:
        """What the health service says of everything but `liveness`."""

    def fileno(self) -> int:
        """A descriptor that is readable while events wait; it belongs to the server."""

    def take(self) -> list[Row]:
        """Everything that happened since the last call, in order; see the constants."""

    def answer(self, rows: list[Row]) -> None:
        """Answers streams: `(stream, endpoints, target_model, decision, read, headers)` routes, *read* being
        `(model, streaming)` of a body that was read in Python, else None, *headers* those of `Route.headers` (may be
        left out), and `Route.stays` (may be left out); `(stream, message)` ends with a serialised message, a routed request that stays too, `(stream, message, None)` sends it to our own Envoy before the answer, `(stream, None)` resets. Streams that have gone are passed over."""

    def drain(self) -> None:
        """Accepts no new connections and asks peers to open no new streams."""

    def stop(self, within_s: float) -> None:
        """Ends everything that is still open, within the given time."""

    def counters(self) -> dict[str, int]:
        """connections, refused_connections, streams, events, batches, panics."""

@final
class Conversation:
    """One stream's protocol without a transport: exactly what the server runs for each stream."""

    def __new__(
        cls, settings: Mapping[str, Any], number: int, *, lean: bool = False, fallbacks: bool = False
    ) -> Conversation: ...
    def receive(self, data: bytes) -> list[Row]:
        """Takes a serialised `ProcessingRequest`; the events it makes, their pool empty. Raises ValueError when
        the peer broke the protocol."""

    def answer(self, row: Row) -> Row | None:
        """See `Server.answer`; the OVER event, when that ended a routed request."""

    def refuse_stream(self, message: bytes) -> None:
        """Ends the stream with a serialised message, whatever was asked."""

    def closed(self) -> Row | None:
        """The stream is gone; the OVER event, when the request was not over yet."""

    def outbox(self) -> list[bytes]:
        """Serialised messages to send; each is handed out once."""

    @property
    def leaving(self) -> bool:
        """The stream may be closed after the outbox is sent."""

    @property
    def pool_names(self) -> list[str]:
        """Pools that the request's attributes may mean, the likeliest first."""

    @property
    def awaits_log(self) -> bool:
        """The stream is being left while its request goes on."""

@final
class PrefixIndex:
    """The twin of `headgate.scheduling.prefix.PrefixIndex`: the same interface, about 36 bytes a block.

    Blocks are 8 bytes each, little-endian; raises ValueError for any other length."""

    def __new__(cls) -> PrefixIndex: ...
    def open(self, slot: int, capacity: int) -> None:
        """Start remembering for a slot, or change its capacity. Raises ValueError below one block."""

    def remove(self, slot: int) -> None: ...
    def clear(self, slot: int) -> None: ...
    def add(self, slot: int, blocks: bytes) -> None: ...
    def expect(self, slot: int, blocks: bytes) -> None: ...
    def confirm(self, slot: int, blocks: bytes) -> None: ...
    def withdraw(self, slot: int, blocks: bytes) -> None: ...
    def expected(self, slot: int) -> int: ...
    def match(self, blocks: bytes) -> dict[int, int]: ...
    def capacity(self, slot: int) -> int: ...
    def blocks(self, slot: int) -> int: ...
    def fill(self, slot: int) -> float: ...
    def check(self) -> None: ...
    def stored(self, slot: int, blocks: bytes) -> None:
        """The endpoint itself says that it stored these blocks, in the order of the prompt."""

    def dropped(self, slot: int, blocks: bytes) -> None:
        """The endpoint itself says that it dropped these blocks."""

    def reported(self, slot: int) -> int:
        """How many of the remembered blocks the endpoint reported itself."""

    def memory(self) -> int:
        """Bytes of memory that the index has allocated."""

    def snapshot(self) -> bytes:
        """Everything remembered."""

    def restore(self, data: bytes) -> None:
        """Replaces everything by a snapshot's contents; raises ValueError for other bytes."""

def scan(
    settings: Mapping[str, Any], number: int, chunks: Sequence[bytes], content_type: str = ""
) -> tuple[str | None, bool, int | None, int, int, bytes, bytes, list[tuple[int, int]], int] | None:
    """Reads a body by the format of that number: model, stream, token limit, prompt bytes, media, blocks, blocks with
    the tools first, spans of the model's value, and how many steps it took. None: the format's own reader must judge
    it."""

def replace_model(body: bytes, name: str) -> bytes:
    """See `headgate.wire.rewrite.replace_model`."""

def restore_model(
    settings: Mapping[str, Any],
    number: int,
    content_type: str,
    content_encoding: str,
    name: str,
    chunks: Sequence[bytes],
) -> list[bytes] | None:
    """What a restorer of that format sends on for each chunk, and at the end; None: bytes that cannot be read."""

def read_usage(
    settings: Mapping[str, Any], number: int, chunks: Sequence[bytes]
) -> tuple[int, int, int | None] | tuple[int, bytes] | None:
    """Usage in the chunks of an answer of that format, or the format and the tail to be read in Python."""

def read_log(settings: Mapping[str, Any], data: bytes) -> list[Row]:
    """LOGGED rows of a serialised `StreamAccessLogsMessage`. Raises ValueError for other bytes."""
