"""The native wire: sockets, protocol and bytes in Rust threads, the machines in this one (`native_wire`).

The native server collects what its streams say; a file descriptor wakes this thread's event loop, which takes
everything there is, hands it to the hub in order, and gives all answers back in one call.
"""

import logging
import os
from types import ModuleType
from typing import Literal

import msgspec

Choice = Literal["native", "portable", "auto"]
VARIABLE = "HEADGATE_WIRE"
PING_S = 10.0
IDLE_S = 300.0
MESSAGE_BYTES = 128 * 1024 * 1024
"""A whole body above the largest allowed one still fits a message, so that it gets its 413."""

log = logging.getLogger(__name__)


class MissingError(Exception):
    """The native wire was asked for and is not installed."""


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """What the transport may hold."""

    threads: int = 1
    """Transport threads; one serves some ten thousand requests a second."""
    connections: int = 10_000
    streams: int = 100_000
    """Open streams of one connection."""
    message_bytes: int = MESSAGE_BYTES
    backlog: int = 16_384
    """Messages read ahead of the machines; beyond that the sockets are not read."""
    ping_s: float = PING_S
    """Silence after which a peer is pinged; gone when it says nothing for twice as long after that."""
    idle_s: float = IDLE_S
    """So long a connection may have no stream; at most three times `ping_s` before its first one."""


def load(choice: str | None = None) -> ModuleType | None:
    """The native module, or None for the portable wire, as *choice* or `HEADGATE_WIRE` says (default `auto`).

    Raises MissingError when `native` is asked for and not installed, ValueError for an unknown choice.
    """
    wanted = choice if choice is not None else os.environ.get(VARIABLE) or "auto"
    if wanted not in ("native", "portable", "auto"):
        raise ValueError(f"{VARIABLE} is {wanted!r}; it can be native, portable or auto")
    if wanted == "portable":
        return None
    try:
        import headgate_native  # optional
    except ImportError as error:
        if wanted == "native":
            raise MissingError(
                "the native wire is not installed; `make setup` builds it where cargo is"
            ) from error
        return None
    return headgate_native
