"""Who may serve a model name: the lists alone, then scripts over the whole machine."""

from collections.abc import Iterator

import pytest
from tests.unit.picker.picker_builders import (
    a_machine,
    a_pool,
    address,
    an_endpoint,
    arrives,
    letter,
    lists,
    no_scrape,
    pick,
    routed,
    run,
)

from headgate.model.endpoints import ModelRule, TargetModel
from headgate.model.load import ModelCard
from headgate.picker.actions import Reject, Relist, Route
from headgate.picker.concerns import Concerns
from headgate.picker.events import ModelsListed
from headgate.picker.listings import Listings
from headgate.picker.machine import RELIST_S, PoolMachine
from headgate.picker.member import Member
from headgate.picker.settings import HealthSettings
from headgate.scheduling.api import DOWN, SUSPECT

BASE = ModelCard("base-7b", "vllm", max_model_len=4096)
SQL = ModelCard("sql", "vllm", parent="base-7b")
LEGAL = ModelCard("legal", "vllm", parent="base-7b")
OTHER = ModelCard("other-70b", "vllm")


def members(*lists_of: tuple[ModelCard, ...] | None) -> list[Member]:
    """Members a, b, …; None: has not told."""
    made = []
    for slot, cards in enumerate(lists_of):
        member = Member(an_endpoint("abc"[slot]), slot, HealthSettings(), Concerns())
        if cards is not None:
            member.models, member.knows_models = cards, True
        made.append(member)
    return made


def listings(*lists_of: tuple[ModelCard, ...] | None) -> Listings:
    made = Listings()
    made.collect(members(*lists_of))
    return made


@pytest.mark.parametrize(
    ("lists_of", "name", "slots"),
    [
        (((BASE, SQL), (BASE, LEGAL), (OTHER,)), "legal", {1}),
        (((BASE, SQL), (BASE, LEGAL), (OTHER,)), "base-7b", {0, 1}),
        (((BASE, SQL), (BASE, LEGAL), (OTHER,)), "nobody", set()),
        (((BASE, SQL), (BASE, LEGAL), (OTHER,)), None, None),
        (((BASE, SQL), (BASE, LEGAL), None), "legal", {1}),
        (((BASE, SQL), (BASE, LEGAL), None), "other-70b", {2}),
        ((None, None, None), "anything", None),
        (((), None, None), "anything", {1, 2}),
        (((), (), ()), "anything", set()),
        (((BASE,), ()), "x", set()),
    ],
)
def test_who_may_serve(
    lists_of: tuple[tuple[ModelCard, ...] | None, ...], name: str | None, slots: set[int] | None
) -> None:
    assert listings(*lists_of).may_serve(name) == slots


@pytest.mark.parametrize(("severity", "slots"), [(SUSPECT, {1}), (DOWN, None)])
def test_an_unknown_list_of_an_endpoint_that_is_down_is_no_hope(
    severity: int, slots: set[int] | None
) -> None:
    made, them = Listings(), members((BASE,), None)
    them[1].state.severity = severity
    made.collect(them)
    assert made.may_serve("x") == slots


def test_sglang_takes_base_and_adapter_in_one_name() -> None:
    made = listings((ModelCard("q", "sglang"), ModelCard("ad", "sglang", parent="q")), (ModelCard("q"),))
    assert made.may_serve("q:ad") == frozenset({0})
    assert made.may_serve("q:anything") == frozenset({0}), "older releases do not list adapters"
    assert made.may_serve("r:ad") == frozenset()


@pytest.fixture
def machine() -> Iterator[PoolMachine]:
    """Three servers with different models."""
    made = a_machine("abc")
    made.handle(lists("a", BASE, SQL), 0.0)
    made.handle(lists("b", BASE, LEGAL), 0.0)
    made.handle(lists("c", OTHER), 0.0)
    yield made
    made.check()


@pytest.mark.parametrize(
    ("model", "homes"), [("sql", "a"), ("legal", "b"), ("other-70b", "c"), ("base-7b", "ab")]
)
def test_only_who_lists_a_model_serves_it_fallbacks_included(
    machine: PoolMachine, model: str, homes: str
) -> None:
    for stream in range(12):
        route = routed(machine, arrives(stream, chr(500 + stream), model=model), 1.0)
        assert "".join(sorted(map(letter, route.endpoints))) == homes


def test_a_home_that_is_down_still_gets_its_model(machine: PoolMachine) -> None:
    machine.handle(no_scrape("b", "refused"), 1.0)
    assert pick(machine, arrives(1, model="legal"), 1.1) == "b"
    assert pick(machine, arrives(2, model="base-7b"), 1.1) == "a"


def test_what_nobody_lists_is_refused_with_the_names_there_are(machine: PoolMachine) -> None:
    reject, relist = machine.handle(arrives(1, model="nobody"), 1.0)
    assert isinstance(reject, Reject)
    assert (reject.status, reject.reason) == (404, "unknown-model")
    assert "'nobody'" in reject.message
    for name in ("base-7b", "sql", "legal", "other-70b"):
        assert f"'{name}'" in reject.message
    assert relist == Relist()


def test_a_name_loaded_since_is_served_as_soon_as_it_is_listed(machine: PoolMachine) -> None:
    run(
        machine,
        [
            (1.0, arrives(1, model="new"), ["reject 404 unknown-model"]),
            (1.1, lists("b", BASE, LEGAL, ModelCard("new", parent="base-7b")), []),
            (1.2, arrives(2, model="new"), ["route b"]),
            (1.3, lists("b", BASE, LEGAL), []),
            (1.4, arrives(3, model="new"), ["reject 404 unknown-model"]),
        ],
    )


def test_lists_are_asked_for_out_of_turn_now_and_then_however_many_names_are_guessed(
    machine: PoolMachine,
) -> None:
    asked = sum(
        Relist() in machine.handle(arrives(stream, model=f"guess-{stream}"), 1.0 + stream / 100)
        for stream in range(300)
    )
    assert asked == 3.0 // RELIST_S


def test_an_endpoint_that_cannot_list_any_more_may_have_the_model(machine: PoolMachine) -> None:
    machine.handle(ModelsListed(address("c"), (), "http-500"), 1.0)
    assert pick(machine, arrives(1, model="new"), 1.1) == "c"
    assert pick(machine, arrives(2, model="sql"), 1.1) == "a"
    machine.handle(lists("c", OTHER), 1.2)
    run(machine, [(1.3, arrives(3, model="new"), ["reject 404 unknown-model"])])
    machine.handle(ModelsListed(address("c"), (), "timeout"), 1.4)
    run(machine, [(1.5, arrives(4, model="new"), ["reject 404 unknown-model"])])


def test_the_final_name_decides(machine: PoolMachine) -> None:
    rules = (
        ModelRule("chat", "d/chat", 0, (TargetModel("legal"),)),
        ModelRule("gone", "d/gone", 0, (TargetModel("unloaded"),)),
        ModelRule("sql", "d/sql", 0, (TargetModel("other-70b"),)),
    )
    machine.handle(a_pool("abc", rules), 1.0)
    run(machine, [(1.1, arrives(1, model="chat"), ["route b as legal"])])
    run(machine, [(1.1, arrives(2, model="sql"), ["route c as other-70b"])])
    run(machine, [(1.1, arrives(3, target_model="sql", model="x"), ["route a as sql"])])
    (reject,) = [one for one in machine.handle(arrives(4, model="gone"), 1.2) if isinstance(one, Reject)]
    assert (reject.status, reject.reason) == (404, "unknown-model")
    assert "'unloaded'" in reject.message
    assert "'gone' stands for" in reject.message


def test_a_subset_without_the_model_has_no_endpoint(machine: PoolMachine) -> None:
    reject, *_ = machine.handle(arrives(1, model="sql", subset=(address("b"), address("c"))), 1.0)
    assert isinstance(reject, Reject)
    assert (reject.status, reject.reason) == (503, "no-endpoints")
    assert "serves the model 'sql'" in reject.message


def test_lists_go_with_their_endpoints(machine: PoolMachine) -> None:
    machine.handle(a_pool("ac"), 1.0)
    run(machine, [(1.1, arrives(1, model="legal"), ["reject 404 unknown-model"])])
    machine.handle(a_pool("abc"), 1.2)
    (route,) = [one for one in machine.handle(arrives(2, model="legal"), 1.3) if isinstance(one, Route)]
    assert [letter(each) for each in route.endpoints] == ["b"], "it has not told anew"
