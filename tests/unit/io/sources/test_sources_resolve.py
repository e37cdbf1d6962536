"""Host names and addresses."""

import queue
import socket
import threading
import time
from collections.abc import Iterator

import pytest

from headgate.io.sources import resolve
from headgate.io.sources.resolve import Resolver, choose, lookup_all


@pytest.mark.parametrize(
    ("infos", "expected"),
    [
        ([], ()),
        (
            [(socket.AF_INET, "2.2.2.2"), (socket.AF_INET, "1.1.1.1"), (socket.AF_INET, "2.2.2.2")],
            ("1.1.1.1", "2.2.2.2"),
        ),
        ([(socket.AF_INET6, "::1"), (socket.AF_INET, "127.0.0.1")], ("127.0.0.1",)),
        ([(socket.AF_INET6, "::2"), (socket.AF_INET6, "::1")], ("::1", "::2")),
    ],
)
def test_one_family_counts(infos: list[tuple[int, str]], expected: tuple[str, ...]) -> None:
    assert choose(infos) == expected


def test_lookup_all() -> None:
    assert set(lookup_all(["localhost", "nowhere.invalid"], 2.0)) == {"localhost"}
    assert lookup_all([], 2.0) == {}


class Names:
    """The system's resolver: hosts called `slow…` answer when they are let go."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.answers: dict[str, list[str]] = {}
        self.asked: list[str] = []
        self.go = threading.Event()
        self.at_once: dict[str, int] = {}
        self.most = 0
        """Look-ups of one host at a time."""
        self._lock = threading.Lock()
        monkeypatch.setattr(socket, "getaddrinfo", self._ask)

    def _ask(self, host: str, *_: object, **__: object) -> list[tuple[object, ...]]:
        with self._lock:
            self.asked.append(host)
            self.at_once[host] = self.at_once.get(host, 0) + 1
            self.most = max(self.most, self.at_once[host])
        if host.startswith("slow"):
            self.go.wait(60)
        with self._lock:
            self.at_once[host] -= 1
        if host not in self.answers:
            raise socket.gaierror("no such host")
        return [(socket.AF_INET, 1, 6, "", (address, 0)) for address in self.answers[host]]


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> Iterator[Names]:
    found = Names(monkeypatch)
    yield found
    found.go.set()


class Told:
    """A resolver, and what it tells."""

    def __init__(self) -> None:
        self._answers: queue.SimpleQueue[None] = queue.SimpleQueue()
        self.resolver = Resolver(lambda: self._answers.put(None))

    def until(self, addresses: dict[str, tuple[str, ...]]) -> None:
        """Wait for answers until these addresses are known, and no others."""
        while self.resolver.addresses() != addresses:
            self._answers.get(timeout=60)

    def until_all_are_heard(self) -> None:
        """Wait until every host has been answered, be it that there is no such host."""
        while self.resolver.unheard:
            self._answers.get(timeout=60)


def test_the_last_good_answer_stays(names: Names) -> None:
    names.answers = {"a": ["1.1.1.1"], "c": ["3.3.3.3"]}
    told = Told()
    assert told.resolver.follow(["a", "b", "c"]) == {"a", "b", "c"}
    assert told.resolver.unheard == {"a", "b", "c"}
    told.resolver.ask(["a", "b", "c"])
    told.until({"a": ("1.1.1.1",), "c": ("3.3.3.3",)})
    told.until_all_are_heard()  # a host that is being looked up is not asked for again
    names.answers = {"b": ["2.2.2.2"], "c": ["3.3.3.4"]}
    told.resolver.ask(["a", "b", "c"])
    told.until({"a": ("1.1.1.1",), "b": ("2.2.2.2",), "c": ("3.3.3.4",)})
    assert told.resolver.unheard == frozenset()
    assert told.resolver.follow(["b"]) == frozenset()
    assert told.resolver.addresses() == {"b": ("2.2.2.2",)}


def test_hosts_that_hang_keep_no_other_host_waiting_and_are_looked_up_once_at_a_time(names: Names) -> None:
    names.answers = {"a": ["1.1.1.1"], "slow0": ["9.9.9.9"]}
    hanging = [f"slow{number}" for number in range(64)]
    told = Told()
    told.resolver.follow([*hanging, "a"])
    for _ in range(5):
        told.resolver.ask([*hanging, "a"])
    told.until({"a": ("1.1.1.1",)})
    assert told.resolver.unheard == set(hanging)
    names.go.set()
    told.until({"a": ("1.1.1.1",), "slow0": ("9.9.9.9",)})
    assert names.most == 1


def test_threads_are_bounded_and_slow_hosts_leave_half_of_them(
    names: Names, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resolve, "MAX_LOOKUPS", 4)
    monkeypatch.setattr(resolve, "SLOW_S", 0.0)
    hanging = [f"slow{number}" for number in range(9)]
    told = Told()
    told.resolver.follow(hanging)
    told.resolver.ask(hanging)
    assert len(names.asked) <= 4
    names.go.set()
    while told.resolver.unheard:
        time.sleep(0.01)
    names.go.clear()
    names.answers = {"a": ["1.1.1.1"]}
    told.resolver.follow([*hanging, "a"])
    names.asked.clear()
    told.resolver.ask(hanging)
    told.resolver.ask(["a"])
    told.until({"a": ("1.1.1.1",)})
    assert min(names.asked) == "a"
    assert len(names.asked) <= 3


def test_a_host_with_thousands_of_addresses_has_a_few_hundred() -> None:
    assert len(choose((socket.AF_INET, f"10.0.{each // 250}.{each % 250}") for each in range(5000))) == 256
