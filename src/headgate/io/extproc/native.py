"""The native wire: sockets, protocol and bytes in Rust threads, the machines in this one (`native_wire`).

The native server collects what its streams say; a file descriptor wakes this thread's event loop, which takes
everything there is, hands it to the hub in order, and gives all answers back in one call.
"""

import logging
import os
from pathlib import Path
from types import ModuleType
from typing import Literal

import msgspec
import xxhash

Choice = Literal["native", "portable", "auto"]
VARIABLE = "HEADGATE_WIRE"
PING_S = 10.0
IDLE_S = 300.0
MESSAGE_BYTES = 128 * 1024 * 1024
"""A whole body above the largest allowed one still fits a message, so that it gets its 413."""

CHECKOUT = Path(__file__).parents[4] / "native"
"""The module's sources, where this is a checkout of the repository."""
ABSENT = "headgate-native is not installed; `make setup` builds it where cargo is"
STALE = "headgate-native is built from other sources; `make setup` builds it anew"

log = logging.getLogger(__name__)


class MissingError(Exception):
    """The native wire was asked for and is not installed, or is one of other sources."""


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

    Raises MissingError when `native` is asked for and cannot be had, ValueError for an unknown choice.
    """
    wanted = choice if choice is not None else os.environ.get(VARIABLE) or "auto"
    if wanted not in ("native", "portable", "auto"):
        raise ValueError(f"{VARIABLE} is {wanted!r}; it can be native, portable or auto")
    if wanted == "portable":
        return None
    why = lacking()
    if why is None:
        import headgate_native

        return headgate_native
    if wanted == "native":
        raise MissingError(why)
    if why == STALE:
        log.warning("the portable wire is used: %s", why)
    return None


def lacking() -> str | None:
    """Why the native module cannot be used here; None: it can."""
    try:
        import headgate_native  # optional
    except ImportError:
        return ABSENT
    return STALE if is_stale(headgate_native) else None


def is_stale(module: ModuleType, checkout: Path = CHECKOUT) -> bool:
    """The module was built from others than the checkout's sources; False also where there is no checkout."""
    return (checkout / "Cargo.toml").is_file() and getattr(module, "SOURCES", None) != sources(checkout)


def sources(checkout: Path) -> str:
    """The digest that `native/build.rs` puts into the module. Raises OSError."""
    digest = xxhash.xxh3_64()
    files = [
        *(checkout / name for name in ("Cargo.lock", "Cargo.toml", "build.rs")),
        *checkout.glob("src/**/*.rs"),
    ]
    for name, file in sorted((file.relative_to(checkout).as_posix(), file) for file in files):
        content = file.read_bytes()
        digest.update(f"{name} {len(content)}\n".encode())
        digest.update(content)
    return digest.hexdigest()
