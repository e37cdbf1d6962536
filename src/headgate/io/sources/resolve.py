"""Host names → addresses, for the URLs of ModelServers."""

import asyncio
import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterable, Mapping

MAX_ADDRESSES = 256
"""Of one host."""

MAX_LOOKUPS = 128
"""Threads at a time."""

SLOW_S = 1.0
"""A look-up that takes longer makes its host a slow one, until a quicker look-up."""


def choose(infos: Iterable[tuple[int, str]]) -> tuple[str, ...]:
    """Addresses of one family, ordered, from (family, address) pairs: IPv4 when there is any, else IPv6.

    A server with addresses of both families is one server; each address is taken for an endpoint of its own.
    """
    found = sorted(set(infos))
    for family in (socket.AF_INET, socket.AF_INET6):
        if addresses := tuple(address for its, address in found if its == family):
            return addresses[:MAX_ADDRESSES]
    return ()


def lookup(host: str) -> tuple[str, ...]:
    """The addresses of *host*; empty when it does not resolve. Blocks as long as the system does."""
    try:
        infos = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return ()
    return choose((int(family), str(address[0])) for family, _, _, _, address in infos)


async def lookup_aside(host: str) -> tuple[str, ...]:
    """As `lookup`, in a thread of its own that keeps no executor busy and ends with the process."""
    loop = asyncio.get_running_loop()
    answer: asyncio.Future[tuple[str, ...]] = loop.create_future()

    def tell(found: tuple[str, ...]) -> None:
        if not answer.done():
            answer.set_result(found)

    def look() -> None:
        found = lookup(host)
        with contextlib.suppress(RuntimeError):  # the loop has ended
            loop.call_soon_threadsafe(tell, found)

    threading.Thread(target=look, daemon=True).start()
    return await answer


def lookup_all(hosts: Iterable[str], timeout_s: float) -> Mapping[str, tuple[str, ...]]:
    """The addresses of all *hosts* at once; a host without an answer in *timeout_s* seconds is missing."""
    answer = threading.Event()
    resolver = Resolver(answer.set)
    resolver.ask(resolver.follow(hosts))
    until = time.monotonic() + timeout_s
    while resolver.unheard and (left := until - time.monotonic()) > 0:
        answer.wait(left)
        answer.clear()
    return resolver.addresses()


class Resolver:
    """Addresses of host names over time: the last good answer stays while a host does not resolve.

    Every look-up has a thread of its own, a host at most one at a time, so that one that hangs keeps nobody
    waiting. The threads end with the process. Safe to be used from several threads.
    """

    def __init__(self, answered: Callable[[], None]) -> None:
        """*answered* is called from a look-up's thread when a host had its first answer, or another one."""
        self._answered = answered
        self._lock = threading.Lock()
        self._known: dict[str, tuple[str, ...]] = {}
        """Of each host that was looked up, its last good answer; empty: it never had one."""
        self._told: Mapping[str, tuple[str, ...]] | None = None
        """What `addresses` says, until it changes."""
        self._followed: frozenset[str] = frozenset()
        self._waiting: dict[str, None] = {}
        self._waiting_slow: dict[str, None] = {}
        self._running: set[str] = set()
        self._slow: set[str] = set()
        """Hosts whose last look-up took long."""

    def follow(self, hosts: Iterable[str]) -> frozenset[str]:
        """These hosts count, and no others. Returns those that did not before."""
        with self._lock:
            before, self._followed = self._followed, frozenset(hosts)
            self._told = None
            for host in before - self._followed:
                self._known.pop(host, None)
                self._forget_waiting(host)
                self._slow.discard(host)
            return self._followed - before

    @property
    def unheard(self) -> frozenset[str]:
        """Hosts that had no answer yet, not even that they do not resolve."""
        with self._lock:
            return self._followed - self._known.keys()

    def addresses(self) -> Mapping[str, tuple[str, ...]]:
        """What is known now, ordered by host; a host that never resolved is missing. The same instance while
        nothing is new."""
        with self._lock:
            if self._told is None:
                self._told = {host: found for host, found in sorted(self._known.items()) if found}
            return self._told

    def ask(self, hosts: Iterable[str]) -> None:
        """Look up those of *hosts* that are not being looked up already. Does not block."""
        with self._lock:
            for host in sorted(hosts):
                if host not in self._running:
                    (self._waiting_slow if host in self._slow else self._waiting)[host] = None
            self._start()

    def _start(self) -> None:
        """Begin what may begin now."""
        while (host := self._next()) is not None:
            try:
                threading.Thread(target=self._look, args=(host,), daemon=True).start()
            except RuntimeError:  # the system has no thread left: the next round tries again
                return
            self._forget_waiting(host)
            self._running.add(host)

    def _next(self) -> str | None:
        """Prompt hosts go before slow ones, which get half of the threads."""
        if len(self._running) >= MAX_LOOKUPS:
            return None
        if self._waiting:
            return next(iter(self._waiting))
        if self._waiting_slow and len(self._running & self._slow) < MAX_LOOKUPS // 2:
            return next(iter(self._waiting_slow))
        return None

    def _forget_waiting(self, host: str) -> None:
        self._waiting.pop(host, None)
        self._waiting_slow.pop(host, None)

    def _look(self, host: str) -> None:
        began = time.monotonic()
        found = lookup(host)
        took_s = time.monotonic() - began
        with self._lock:
            self._running.discard(host)
            told = host in self._followed and self._note(host, found, took_s)
            self._start()
        if told:
            self._answered()

    def _note(self, host: str, found: tuple[str, ...], took_s: float) -> bool:
        """Whether that says something new."""
        (self._slow.add if took_s > SLOW_S else self._slow.discard)(host)
        before = self._known.get(host)
        self._known[host] = found or before or ()
        self._told = None if before != self._known[host] else self._told
        return before != self._known[host]
