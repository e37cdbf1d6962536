"""Servers with different models behind one pool: each request reaches one that has its model."""

import json
import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest
from tests.live.harness.fleet import Replicas, replicas
from tests.live.harness.gateway import Gateway, gateway
from tests.live.harness.processes import eventually

pytestmark = pytest.mark.live


@pytest.fixture(scope="module")
def fleets() -> Iterator[tuple[Replicas, Replicas, Replicas]]:
    """Two servers of one base model, each with an adapter of its own, and one of another model."""
    with (
        replicas(1, "--speed", "20", "--model", "base-7b", "--lora", "sql") as first,
        replicas(1, "--speed", "20", "--model", "base-7b", "--lora", "legal") as second,
        replicas(1, "--speed", "20", "--model", "other-70b") as third,
    ):
        yield first, second, third


@pytest.fixture(scope="module")
def gate(fleets: tuple[Replicas, Replicas, Replicas]) -> Iterator[Gateway]:
    with gateway(*(fleet.urls[0] for fleet in fleets)) as started:
        eventually(lambda: all(each["models"] for each in endpoints(started)), 30)
        yield started


def endpoints(gate: Gateway) -> Any:
    return gate.pools()[0]["endpoints"]


def ask(url: str, model: str) -> tuple[int, str, Any]:
    """Status, who served, and the answer."""
    body = json.dumps({"model": model, "prompt": "hi", "max_tokens": 1}).encode()
    request = urllib.request.Request(f"{url}/v1/completions", body, {"content-type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status, answer.headers["x-headgate-endpoint"] or "", json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, error.headers["x-headgate-reason"] or "", json.load(error)


@pytest.mark.parametrize(
    ("model", "homes"), [("sql", [0]), ("legal", [1]), ("base-7b", [0, 1]), ("other-70b", [2])]
)
def test_each_model_is_served_by_those_who_have_it(
    gate: Gateway, fleets: tuple[Replicas, Replicas, Replicas], model: str, homes: list[int]
) -> None:
    where = set()
    for _ in range(12):
        status, served, answer = ask(gate.url, model)
        assert (status, answer["model"]) == (200, model)
        where.add(served)
    assert where <= {fleets[number].endpoint(0) for number in homes}


def test_a_model_that_nobody_has_is_refused_by_the_gateway(gate: Gateway) -> None:
    status, reason, answer = ask(gate.url, "nobody")
    assert (status, reason) == (404, "unknown-model")
    error = answer["error"]
    assert (error["param"], error["code"]) == ("model", "model_not_found")
    for name in ("base-7b", "sql", "legal", "other-70b"):
        assert f"'{name}'" in error["message"]


def test_an_adapter_that_is_loaded_later_is_served(
    gate: Gateway, fleets: tuple[Replicas, Replicas, Replicas]
) -> None:
    assert ask(gate.url, "late")[0] == 404
    body = json.dumps({"lora_name": "late", "lora_path": "/late"}).encode()
    urllib.request.urlopen(
        urllib.request.Request(f"{fleets[1].urls[0]}/v1/load_lora_adapter", body), timeout=30
    ).close()
    eventually(lambda: ask(gate.url, "late")[0] == 200, 30, every_s=0.2)
    assert ask(gate.url, "late")[1] == fleets[1].endpoint(0)


def test_a_sleeping_server_is_passed_over_until_it_is_woken(
    gate: Gateway, fleets: tuple[Replicas, Replicas, Replicas]
) -> None:
    def tell(path: str, condition: str) -> None:
        urllib.request.urlopen(f"{fleets[1].urls[0]}{path}", b"", timeout=30).close()
        asleep = fleets[1].endpoint(0)
        eventually(
            lambda: [one["condition"] for one in endpoints(gate) if one["endpoint"] == asleep] == [condition],
            30,
        )

    tell("/sleep", "down")
    served = {ask(gate.url, "base-7b")[1] for _ in range(6)}
    tell("/wake_up", "up")
    assert served == {fleets[0].endpoint(0)}
