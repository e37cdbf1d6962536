"""Host names and addresses."""

import asyncio
import socket

import pytest

from headgate.io.sources.resolve import Resolver, choose, hosts_of, lookup_all
from headgate.io.sources.urls import objects_of


def test_hosts_are_those_of_model_servers_without_addresses() -> None:
    assert hosts_of(
        objects_of(["http://b:1", "http://a:1", "a:2", "http://10.0.0.1:1", "http://[::1]:1"])
    ) == ("a", "b")


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


async def test_the_last_good_answer_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    answers: dict[str, list[str] | Exception | float] = {
        "a": ["1.1.1.1"],
        "b": socket.gaierror("no"),
        "slow": 5.0,
    }

    async def getaddrinfo(host: str, port: object, **_: object) -> list[tuple[object, ...]]:
        answer = answers[host]
        if isinstance(answer, Exception):
            raise answer
        if isinstance(answer, float):
            await asyncio.sleep(answer)
            return []
        return [(socket.AF_INET, 1, 6, "", (address, 0)) for address in answer]

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", getaddrinfo)
    resolver = Resolver(timeout_s=0.05)
    assert resolver.fresh(["a", "b", "slow"]) == ["a", "b", "slow"]
    await resolver.refresh(["a", "b", "slow"])
    assert resolver.fresh(["a", "b", "slow", "c"]) == ["c"]
    assert resolver.addresses(["a", "b", "slow"]) == {"a": ("1.1.1.1",)}
    answers |= {"a": TimeoutError("no"), "b": ["2.2.2.2"]}
    await resolver.refresh(["a", "b", "slow"])
    assert resolver.addresses(["b", "a"]) == {"a": ("1.1.1.1",), "b": ("2.2.2.2",)}
    assert resolver.addresses(["b"]) == {"b": ("2.2.2.2",)}
