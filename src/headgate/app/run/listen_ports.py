"""Which ports a gateway takes: checked before anything starts, so that a conflict names the flag."""

import errno
import random
import socket
from collections.abc import Callable, Mapping

import msgspec

FREE_RANGE = (20_000, 32_000)
"""Where free ports are looked for: below the range that outgoing connections take theirs from."""


class PortTakenError(Exception):
    """A port cannot be listened on; the message names the flag to change."""


class Ports(msgspec.Struct, frozen=True, kw_only=True):
    """The ports of one `headgate run`; 0 means any free one. All but `gateway` are loopback."""

    gateway: int = 8080
    https: int = 8443
    """Of listeners that declare port 443. Whether it is free is not asked, since most gateways have none."""
    metrics: int = 9090
    admin: int = 15000
    envoy_admin: int | None = None
    """None: a Unix socket."""


FLAGS: Mapping[str, str] = {
    "gateway": "--port",
    "metrics": "--metrics-port",
    "admin": "--admin-port",
    "envoy_admin": "--envoy-admin-port",
}


SECOND = "a second gateway on one machine needs ports of its own: --port 0 " + " ".join(
    f"{flag} 0" for name, flag in FLAGS.items() if name not in ("gateway", "envoy_admin")
)


def settle(ports: Ports, host: str, draw: Callable[[int, int], int] = random.randint) -> Ports:
    """The same ports, every 0 replaced by a free port; all of them were free a moment ago.

    Raises:
        PortTakenError: some are taken or may not be opened, a line each, or one is wanted twice.
    """
    held: dict[str, socket.socket] = {}
    chosen: dict[str, int] = {}
    refused: list[PortTakenError] = []
    try:
        for name, flag in FLAGS.items():
            port = getattr(ports, name)
            if port is None:
                continue
            where = host if name == "gateway" else "127.0.0.1"
            twin = next((other for other, number in chosen.items() if number == port and port), None)
            if twin is not None:
                raise PortTakenError(f"port {port} is wanted by both {FLAGS[twin]} and {flag}")
            try:
                held[name] = _reserve_free(where, draw) if port == 0 else _reserve(where, port, flag)
            except PortTakenError as error:
                refused.append(error)
            else:
                chosen[name] = held[name].getsockname()[1]
        if ports.https == 0:
            held["https"] = _reserve_free(host, draw)
            chosen["https"] = held["https"].getsockname()[1]
    finally:
        for reserved in held.values():
            reserved.close()
    if refused:
        raise PortTakenError("\n".join([*map(str, refused), *([SECOND] if len(refused) > 1 else [])]))
    return msgspec.structs.replace(ports, **chosen)


def _reserve(host: str, port: int, flag: str) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    reserved = socket.socket(family, socket.SOCK_STREAM)
    # no SO_REUSEPORT: with it, two gateways would share the port without a word
    reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        reserved.bind((host, port))
        reserved.listen(1)
    except OSError as error:
        reserved.close()
        if error.errno == errno.EADDRINUSE:
            why = f"port {port} is taken by another program: stop it, or choose another with {flag} (0: any)"
        elif error.errno == errno.EACCES:
            why = f"port {port} may not be opened by this user: choose one above 1023 with {flag}"
        elif error.errno == errno.EADDRNOTAVAIL or isinstance(error, socket.gaierror):
            why = f"{host} cannot be opened ({error.strerror}): --host takes an address of this machine"
        else:
            why = f"port {port} of {host} cannot be opened: {error.strerror}; choose another with {flag}"
        raise PortTakenError(why) from None
    return reserved


def _reserve_free(host: str, draw: Callable[[int, int], int]) -> socket.socket:
    for _ in range(200):
        try:
            return _reserve(host, draw(*FREE_RANGE), "--port")
        except PortTakenError:
            continue
    raise PortTakenError(f"no free port between {FREE_RANGE[0]} and {FREE_RANGE[1]}")
