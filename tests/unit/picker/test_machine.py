"""Scripts: what a pool's machine answers to what happens."""

import random
from collections import Counter
from collections.abc import Iterator

import msgspec
import pytest
from tests.unit.picker.picker_builders import (
    KEY,
    a_machine,
    a_pool,
    address,
    arrives,
    blocks,
    ends,
    letter,
    lists,
    no_scrape,
    pick,
    routed,
    run,
    scrape,
    short,
    starts,
    token,
)

from headgate.model.endpoints import ModelRule, TargetModel
from headgate.model.flow_rules import FlowRules
from headgate.model.headers import HEALTH_PATH
from headgate.model.ids import StreamId
from headgate.model.load import ModelCard
from headgate.model.requests import Usage
from headgate.picker.actions import Conclude, Reject, WakeAt
from headgate.picker.events import AnswerStored, Event, PoolChanged, RequestArrived, RequestEnded, Woken
from headgate.picker.machine import PoolMachine
from headgate.picker.settings import MachineSettings
from headgate.picker.view import HeldView
from headgate.scheduling.profiles import PROFILES
from headgate.wire.blocks import of_model


@pytest.fixture
def machine() -> Iterator[PoolMachine]:
    """Endpoints a, b, c in a pool that has been idle for long."""
    made = a_machine("abc")
    yield made
    made.check()


def test_an_empty_pool_refuses_with_a_reason() -> None:
    machine = PoolMachine(KEY, PROFILES["default"], MachineSettings(), random.Random(1))
    (reject,) = machine.handle(arrives(1, "x"), 0.0)
    assert isinstance(reject, Reject)
    assert (reject.status, reject.reason) == (503, "no-endpoints")
    assert reject.retry_after_s
    assert reject.decision.refused == "no-endpoints"
    assert machine.handle(ends(1), 1.0) == []


def test_a_decision_records_what_it_was_made_from(machine: PoolMachine) -> None:
    first = pick(machine, arrives(1, "abcd"), 0.0)
    machine.handle(scrape("a", waiting=0, running=0), 0.5)
    decision = routed(machine, arrives(2, "abcdefgh", max_tokens=10), 1.0).decision.written()
    assert decision.request_id == "r2"
    assert decision.pool == KEY
    assert decision.policy == "default"
    assert decision.prompt_tokens == 256
    assert len(decision.chosen) == 3
    assert decision.runner_up == decision.chosen[1]
    assert [one.endpoint for one in decision.candidates] == [address(name) for name in "abc"]
    warm = next(one for one in decision.candidates if one.endpoint == address(first))
    assert warm.matched_tokens == 128
    assert warm.in_flight == 1
    assert warm.pending_tokens == 128
    assert warm.cost == pytest.approx(sum(term.value for term in warm.terms))
    assert {term.name for term in warm.terms} == {"prefill-wait", "eviction-surcharge", "decode-pressure"}
    assert decision.candidates[0].metrics_age_s == pytest.approx(0.5)
    assert decision.candidates[1].metrics_age_s is None
    assert decision.predicted_ttft_s == pytest.approx(0.0065 + 33e-6 * 256, rel=0.1)


def test_a_shared_prefix_is_followed_until_its_endpoint_is_busier_than_a_miss_costs(
    machine: PoolMachine,
) -> None:
    prefix = "p" * 100
    home = pick(machine, arrives(1, prefix), 0.0)
    machine.handle(token(1), 0.1)
    assert pick(machine, arrives(2, prefix + "x"), 0.2) == home
    for stream in range(3, 6):
        machine.handle(arrives(stream, f"{stream}" * 400, subset=(address(home),)), 0.3)
    assert pick(machine, arrives(9, prefix + "y"), 0.4) != home


def test_simultaneous_cold_requests_spread_evenly(machine: PoolMachine) -> None:
    picks = Counter(pick(machine, arrives(n, chr(200 + n) * 8), 0.0) for n in range(9))
    assert picks == {"a": 3, "b": 3, "c": 3}


def test_one_after_another_cold_prompts_take_turns(machine: PoolMachine) -> None:
    seen = []
    for n in range(6):
        seen.append(pick(machine, arrives(n, chr(200 + n) * 8), n))
        machine.handle(token(n), n + 0.1)
        machine.handle(ends(n), n + 0.2)
    costs_equal_again = Counter(seen)
    assert costs_equal_again == {"a": 2, "b": 2, "c": 2}


def test_pending_tokens_go_at_the_first_token_and_the_rest_at_the_end(machine: PoolMachine) -> None:
    chosen = pick(machine, arrives(1, "abcd"), 0.0)

    def numbers() -> tuple[int, int, bool]:
        seen = next(one for one in machine.view(0.5).endpoints if one.endpoint == address(chosen))
        return seen.in_flight, seen.pending_tokens, seen.context_tokens > 0

    assert numbers() == (1, 128, True)
    machine.handle(starts(1), 0.1)
    assert numbers() == (1, 128, True)
    machine.handle(token(1), 0.2)
    assert numbers() == (1, 0, True)
    (concluded,) = [
        one for one in machine.handle(ends(1, usage=Usage(130, 20)), 1.0) if isinstance(one, Conclude)
    ]
    assert numbers() == (0, 0, False)
    assert concluded.outcome.ttft_s == pytest.approx(0.2)
    assert concluded.outcome.duration_s == pytest.approx(1.0)
    assert concluded.outcome.usage == Usage(130, 20)
    assert concluded.outcome.served == address(chosen)


def test_an_answer_that_is_not_streamed_releases_its_prompt_when_predicted(machine: PoolMachine) -> None:
    route = routed(machine, arrives(1, "a" * 1000, streaming=False), 0.0)
    predicted = route.decision.predicted_ttft_s
    assert predicted is not None
    assert predicted > 0.5

    def pending(now: float) -> int:
        machine.handle(Woken(), now)
        return sum(one.pending_tokens for one in machine.view(now).endpoints)

    assert pending(predicted * 0.9) == 32000
    assert pending(predicted * 1.1) == 0


def test_unknown_streams_and_second_ends_are_harmless(machine: PoolMachine) -> None:
    run(
        machine,
        [
            (0.0, ends(5), []),
            (0.0, token(5), []),
            (0.0, starts(5), []),
            (0.1, arrives(1, "ab", subset=(address("b"),)), ["route b"]),
            (0.2, ends(1, "aborted", None), ["aborted None"]),
            (0.3, ends(1), []),
        ],
    )
    assert machine.view(1.0).in_flight == 0


def test_a_request_nobody_ends_is_given_up(machine: PoolMachine) -> None:
    machine.handle(arrives(1, "ab"), 0.0)
    assert short(machine.handle(Woken(), 3599.0)) == []
    assert short(machine.handle(Woken(), 3601.0)) == ["lost None"]
    assert machine.view(3602.0).in_flight == 0


@pytest.mark.parametrize(
    ("subset", "expected"),
    [
        ((address("b"),), ["route b"]),
        (("10.0.0.3",), ["route c"]),
        ((" 10.0.0.3:8000 ", "10.9.9.9:1"), ["route c"]),
        ((), ["reject 503 no-endpoints"]),
        (("10.9.9.9:8000",), ["reject 503 no-endpoints"]),
        (("10.0.0.3:8001",), ["reject 503 no-endpoints"]),
    ],
)
def test_a_subset_hint_is_law(machine: PoolMachine, subset: tuple[str, ...], expected: list[str]) -> None:
    assert short(machine.handle(arrives(1, "x", subset=subset), 0.0)) == expected


def test_a_subset_of_dead_endpoints_is_still_served(machine: PoolMachine) -> None:
    machine.handle(no_scrape("b"), 0.0)
    assert short(machine.handle(arrives(1, "x", subset=(address("b"),)), 0.1)) == ["route b"]


def test_a_removed_endpoint_gets_nothing_new_and_keeps_its_requests(machine: PoolMachine) -> None:
    machine.handle(arrives(1, "ab", subset=(address("b"),)), 0.0)
    machine.handle(a_pool("ac"), 0.1)
    assert {pick(machine, arrives(n, "ab"), 0.2) for n in range(2, 8)} <= {"a", "c"}
    assert [one.endpoint for one in machine.view(0.3).endpoints if one.leaving] == [address("b")]
    assert short(machine.handle(ends(1), 0.4)) == ["complete 200"]
    assert [one for one in machine.view(0.5).endpoints if one.leaving] == []


def test_an_endpoint_that_returns_while_draining_keeps_its_accounting(machine: PoolMachine) -> None:
    machine.handle(arrives(1, "ab", subset=(address("b"),)), 0.0)
    run(machine, [(0.1, a_pool("ac"), []), (0.2, a_pool("abc"), [])])
    returned = next(one for one in machine.view(0.3).endpoints if one.endpoint == address("b"))
    assert (returned.in_flight, returned.prefix_blocks, returned.leaving) == (1, 0, False)
    machine.handle(ends(1), 0.4)
    machine.check()


RULES = (
    ModelRule("chat", "default/chat", 1, (TargetModel("base", 1),)),
    ModelRule("food", "default/food", 0, (TargetModel("food-1", 75), TargetModel("food-2", 25))),
    ModelRule("gone", "default/gone", 0, (TargetModel("x", 0),)),
    ModelRule("cheap", "default/cheap", -1, (TargetModel("cheap", 1),)),
)


def test_model_names_lead_to_targets_by_weight(machine: PoolMachine) -> None:
    machine.handle(a_pool("a", RULES), 0.0)
    run(
        machine,
        [
            (0.1, arrives(1, "x", model="chat"), ["route a as base"]),
            (0.1, arrives(2, "x", model="cheap"), ["route a"]),
            (0.1, arrives(3, "x", model="other"), ["reject 404 unknown-model"]),
            (0.1, arrives(4, "x", model="gone"), ["reject 503 no-target-model"]),
            (0.1, arrives(5, "x", model=None, api="other"), ["route a"]),
            (0.1, arrives(6, "x", model="food", target_model="forced"), ["route a as forced"]),
        ],
    )
    drawn = Counter(routed(machine, arrives(n, "", model="food"), 0.2).target_model for n in range(100, 500))
    assert set(drawn) == {"food-1", "food-2"}
    assert 250 < drawn["food-1"] < 350


def test_rewritten_models_do_not_share_prefixes(machine: PoolMachine) -> None:
    machine.handle(a_pool("a", RULES), 0.0)
    matches: dict[str | None, list[int]] = {}
    for n in range(40):
        route = routed(machine, arrives(n, "abcd", model="food"), 0.1 * n)
        matches.setdefault(route.target_model, []).append(route.decision.candidates[0].matched_tokens)
    assert all(seen[0] == 0 and min(seen[1:]) > 100 for seen in matches.values())
    assert set(matches) == {"food-1", "food-2"}


def named(stream: int, model: str | None, text: str = "abcd", tools_first: bytes = b"") -> RequestArrived:
    """A request as the wire reads it: its blocks are those of the name that the client uses."""
    own = of_model(blocks(text), None, model)
    return arrives(stream, text, model=model, blocks=own, tools_first=tools_first)


ALIASES = (
    ModelRule("alias", "default/alias", 0, (TargetModel("base", 1),)),
    ModelRule("nick", "default/nick", 0, (TargetModel("base", 1),)),
    ModelRule("base", "default/base", 0, (TargetModel("base", 1),)),
    ModelRule("other", "default/other", 0, (TargetModel("other", 1),)),
)


def matched(machine: PoolMachine, event: RequestArrived, now: float) -> int:
    return routed(machine, event, now).decision.candidates[0].matched_tokens


def test_names_of_one_target_share_its_prefixes(machine: PoolMachine) -> None:
    machine.handle(a_pool("a", ALIASES), 0.0)
    assert matched(machine, named(1, "alias"), 0.1) == 0
    assert [matched(machine, named(n, name), 0.2) for n, name in enumerate(("nick", "base", "alias"), 2)] == [
        127
    ] * 3
    assert matched(machine, named(9, "other"), 0.3) == 0


def test_names_that_an_engine_serves_one_base_model_by_share_its_prefixes(machine: PoolMachine) -> None:
    machine.handle(a_pool("a"), 0.0)
    cards = (ModelCard("m", root="/models/m"), ModelCard("gpt-4", root="/models/m"))
    adapter = ModelCard("sql", root="/models/m", parent="m")
    machine.handle(lists("a", *cards, adapter), 0.0)
    assert matched(machine, named(1, "m"), 0.1) == 0
    assert matched(machine, named(2, "gpt-4"), 0.2) == 127
    assert matched(machine, named(3, "sql"), 0.3) == 0


@pytest.mark.parametrize(("setting", "kept"), [((), 0), (("m",), 96), (("*",), 96), (("other",), 0)])
def test_tools_are_hashed_where_the_model_s_template_has_them(setting: tuple[str, ...], kept: int) -> None:
    """Two agents with the same tools and system texts of their own."""
    machine = a_machine("a")
    machine.handle(PoolChanged(msgspec.structs.replace(machine.pool, tools_first=frozenset(setting))), 0.0)
    routed(machine, named(1, "m", "xtuv", tools_first=of_model(blocks("tuvx"), None, "m")), 0.1)
    second = named(2, "m", "ytuv", tools_first=of_model(blocks("tuvy"), None, "m"))
    assert matched(machine, second, 0.2) == kept


def test_models_are_listed_or_asked_of_an_endpoint(machine: PoolMachine) -> None:
    run(
        machine,
        [
            (0.0, arrives(1, api="models", model=None, streaming=False, subset=(address("a"),)), ["route a"]),
            (0.1, lists("a", ModelCard("m", max_model_len=4096), ModelCard("z")), []),
            (0.1, lists("b", ModelCard("lora", parent="m"), ModelCard("m")), []),
            (0.2, arrives(2, api="models", model=None), ["models m z lora"]),
            (0.3, a_pool("ac"), []),
            (0.4, arrives(3, api="models", model=None), ["models m z"]),
            (0.5, a_pool("ac", RULES), []),
            (0.6, arrives(4, api="models", model=None), ["models chat cheap food"]),
            (0.7, lists("c", ModelCard("m")), []),
            (0.8, arrives(5, api="models", model=None), ["models"]),
        ],
    )


def test_asked_whether_it_can_serve_a_pool_answers_and_books_nothing(machine: PoolMachine) -> None:
    def asked(stream: int) -> RequestArrived:
        return arrives(stream, api="other", path=HEALTH_PATH, model=None, streaming=False)

    run(
        machine,
        [
            (0.0, asked(1), ["models"]),
            (0.1, lists("a", ModelCard("m")), []),
            (0.2, asked(2), ["models m"]),
            (0.3, a_pool(""), []),
            (0.4, asked(3), ["reject 503 no-endpoints"]),
        ],
    )
    assert machine.view(0.5).in_flight == 0


def test_a_saturated_pool_refuses_the_least_important_first(machine: PoolMachine) -> None:
    machine.handle(a_pool("abc", RULES, {"urgent": 5, "batch": -5}), 0.0)
    for name in "abc":
        machine.handle(scrape(name, waiting=6, running=8), 0.1)
    run(
        machine,
        [
            (0.2, arrives(1, "x", model="cheap"), ["reject 429 saturated"]),
            (0.2, arrives(2, "x", model="chat", objective="batch"), ["reject 429 saturated"]),
            (0.2, arrives(3, "x", model="food", subset=("10.0.0.1",)), ["route a as food-1"]),
        ],
    )
    for name in "abc":
        machine.handle(scrape(name, waiting=21, running=8), 0.3)
    run(
        machine,
        [
            (0.4, arrives(4, "x", model="food"), ["reject 429 saturated"]),
            (0.4, arrives(5, "x", model="cheap", objective="urgent", subset=("10.0.0.1",)), ["route a"]),
        ],
    )
    (reject,) = [
        one for one in machine.handle(arrives(6, "x", model="cheap"), 0.5) if isinstance(one, Reject)
    ]
    assert "saturated" in reject.message
    assert reject.retry_after_s
    assert [one.filtered_by for one in reject.decision.candidates] == ["admission"] * 3
    assert short(machine.handle(arrives(7, "x", model="cheap", subset=("10.0.0.1",)), 9.0)) == ["route a"]


def test_nobody_is_refused_while_an_endpoint_that_may_serve_has_room(machine: PoolMachine) -> None:
    machine.handle(a_pool("abc", RULES, {"batch": -5}), 0.0)
    for name, waiting in ("a", 90), ("b", 90), ("c", 1):
        machine.handle(scrape(name, waiting=waiting, running=8), 0.1)
    full = tuple(address(name) for name in "ab")
    run(
        machine,
        [
            (0.2, arrives(1, "x", model="cheap"), ["route cab"]),
            (0.2, arrives(2, "x", model="cheap", subset=full), ["reject 429 saturated"]),
            (0.2, arrives(3, "x", model="food", subset=full), ["reject 429 saturated"]),
            (0.3, no_scrape("c"), []),
            (0.4, arrives(4, "x", model="cheap"), ["reject 429 saturated"]),
        ],
    )


@pytest.mark.parametrize("api", ["chat", "completions"])
def test_a_name_is_needed_only_where_the_pool_has_inference_models(machine: PoolMachine, api: str) -> None:
    assert short(machine.handle(arrives(1, "x", api=api, model=None), 0.0))[0].startswith("route ")
    machine.handle(a_pool("abc", RULES), 0.1)
    (reject,) = [
        one for one in machine.handle(arrives(2, api=api, model=None), 0.2) if isinstance(one, Reject)
    ]
    assert (reject.status, reject.reason) == (400, "bad-request")
    assert "'food'" in reject.message
    assert short(machine.handle(arrives(3, "x", api="other", model=None), 0.3))[0].startswith("route ")


@pytest.mark.parametrize("pool", [a_pool("ab"), a_pool("ab", RULES, {"batch": -5})], ids=["plain", "rules"])
def test_nobody_is_shed_whom_nothing_gave_a_priority(pool: PoolChanged) -> None:
    machine = a_machine("ab")
    machine.handle(pool, 0.0)
    for name in "ab":
        machine.handle(scrape(name, waiting=500, running=4, kv_used=1.0), 0.1)
    objectives = None, "no-such-objective"
    asked = [arrives(n, "x", api="other", model=None, objective=objectives[n % 2]) for n in range(60)]
    assert {short(machine.handle(each, 0.2))[0] for each in asked} == {"route ab", "route ba"}


def test_a_refusal_says_when_an_endpoint_that_may_serve_has_room_again(machine: PoolMachine) -> None:
    machine.handle(a_pool("abc", objectives={"batch": -5}), 0.0)
    long = 128 * 16_000  # bytes: about 512,000 tokens, 17 s of prefill
    for name in "abc":
        machine.handle(scrape(name, waiting=9, running=8), 0.0)
    for n, name in enumerate("ab"):
        asked = arrives(n, prompt_bytes=long, subset=(address(name),), max_tokens=1)
        machine.handle(asked, 0.1)
    whole, part = arrives(3, objective="batch"), arrives(4, objective="batch", subset=(address("a"),))
    assert refused(machine, whole, 0.2).retry_after_s == 1, "c is full, but has little to compute"
    assert refused(machine, part, 0.2).retry_after_s == 17
    machine.handle(no_scrape("c"), 0.3)
    assert refused(machine, whole, 0.4).retry_after_s == 17, "one that is down brings no relief"


def test_a_pool_with_a_fallback_refuses_when_all_are_down_and_another_one_tries(machine: PoolMachine) -> None:
    for name in "abc":
        machine.handle(no_scrape(name), 0.1)
    assert short(machine.handle(arrives(1), 0.2))[0].startswith("route")
    pool = msgspec.structs.replace(machine.pool, has_fallback=True)
    machine.handle(PoolChanged(pool), 0.3)
    assert short(machine.handle(arrives(2), 0.4))[0] == "reject 503 no-endpoints"
    machine.handle(scrape("b", waiting=0, running=0), 0.5)
    assert short(machine.handle(arrives(3), 0.6))[0].startswith("route b")


def refused(machine: PoolMachine, asked: Event, now: float) -> Reject:
    (reject,) = [one for one in machine.handle(asked, now) if isinstance(one, Reject)]
    return reject


def test_a_burst_between_scrapes_is_seen() -> None:
    machine = a_machine("a")
    machine.handle(a_pool("a", objectives={"batch": -1}), 0.0)
    machine.handle(scrape("a", waiting=1, running=4), 0.0)
    answers = [short(machine.handle(arrives(n, "x", objective="batch"), 0.05))[0] for n in range(8)]
    assert answers == ["route a"] * 4 + ["reject 429 saturated"] * 4


def test_a_scrape_that_shows_foreign_load_moves_traffic_away(machine: PoolMachine) -> None:
    run(machine, [(0.0, scrape("a", waiting=20, running=60), []), (0.0, scrape("b", running=50), [])])
    assert {pick(machine, arrives(n, chr(200 + n) * 4), 0.1) for n in range(3)} == {"c"}


def test_a_stale_scrape_is_not_believed(machine: PoolMachine) -> None:
    for name in "abc":
        machine.handle(scrape(name, waiting=20 if name != "c" else 0, running=60), 0.0)
    assert {pick(machine, arrives(n, chr(200 + n) * 4), 10.0) for n in range(3)} == {"a", "b", "c"}
    assert [one.load for one in machine.view(10.0).endpoints] == [None] * 3


def test_own_requests_in_a_scrape_are_no_extra_load(machine: PoolMachine) -> None:
    for n in range(4):
        machine.handle(arrives(n, "x", subset=("10.0.0.1",)), 0.0)
    run(machine, [(0.1, ends(0), ["complete 200"]), (0.2, scrape("a", waiting=1, running=3), [])])
    assert machine.view(0.3).endpoints[0].extra_requests == 0
    machine.handle(scrape("a", waiting=1, running=3), 0.4)
    assert machine.view(0.5).endpoints[0].extra_requests == 1


def test_an_engine_that_restarted_has_no_prefixes(machine: PoolMachine) -> None:
    run(
        machine,
        [
            (0.0, scrape("a", progress=500.0), []),
            (0.1, arrives(1, "abcd", subset=("10.0.0.1",)), ["route a"]),
        ],
    )
    assert machine.view(0.2).endpoints[0].prefix_blocks == 4
    machine.handle(scrape("a", progress=600.0), 0.3)
    assert machine.view(0.3).endpoints[0].prefix_blocks == 4
    machine.handle(scrape("a", progress=3.0), 0.4)
    assert machine.view(0.4).endpoints[0].prefix_blocks == 0
    assert machine.view(0.4).endpoints[0].ramp < 1.0


@pytest.mark.parametrize(
    ("details", "blocks"),
    [
        ("upstream_reset_before_response_started{remote_connection_failure|Connection refused}", 0),
        ("no_healthy_upstream{delayed connect error: Connection refused}", 0),
        ("upstream_reset_before_response_started{connection_timeout}", 4),
        ("upstream_reset_before_response_started{connection_termination}", 4),
    ],
)
def test_a_refused_connection_shows_that_the_engine_has_ended(
    machine: PoolMachine, details: str, blocks: int
) -> None:
    run(
        machine,
        [
            (0.0, scrape("a", progress=500.0), []),
            (0.1, arrives(1, "abcd", subset=("10.0.0.1",)), ["route a"]),
            (0.2, token(1), []),
            (0.3, arrives(2, "xyz", subset=("10.0.0.1",)), ["route a"]),
            (0.4, RequestEnded(StreamId(2), "failed", 503, details=details), ["failed 503"]),
        ],
    )
    assert machine.view(0.4).endpoints[0].prefix_blocks == blocks


def test_an_engine_that_restarted_within_a_scrape_interval_is_told_by_its_processs_age(
    machine: PoolMachine,
) -> None:
    """It computes more than before the crash until it is scraped: its counters say nothing."""
    run(
        machine,
        [
            (0.0, scrape("a", progress=0.0, started=1.7e9), []),
            (0.1, arrives(1, "abcd", subset=("10.0.0.1",)), ["route a"]),
            (0.2, token(1), []),
            (0.5, scrape("a", progress=100.0, started=1.7e9), []),
        ],
    )
    assert machine.view(0.5).endpoints[0].prefix_blocks == 4
    machine.handle(scrape("a", progress=100.0, started=1.7e9 + 3), 1.0)
    assert machine.view(1.0).endpoints[0].prefix_blocks == 0


def test_adapters_are_used_where_they_are_loaded(machine: PoolMachine) -> None:
    for name, loaded in (("a", ("l1", "l2")), ("b", ("l3",)), ("c", ("l1", "l2"))):
        machine.handle(scrape(name, loras_running=loaded, lora_limit=2), 0.0)
    assert [pick(machine, arrives(n, model="l3"), 0.1) for n in range(3)] == ["b"] * 3


def test_an_idle_adapter_stays_loaded_until_its_place_is_needed(machine: PoolMachine) -> None:
    """Engines list adapters of running and waiting requests only."""

    def goes(stream: int, model: str, now: float) -> str:
        where = pick(machine, arrives(stream, chr(200 + stream), model=model), now)
        machine.handle(token(stream), now)
        machine.handle(ends(stream), now)
        return where

    machine.handle(scrape("a", loras_running=("l1",), lora_limit=2), 0.0)
    machine.handle(scrape("b", loras_running=("l2",), loras_waiting=("l3",), lora_limit=2), 0.0)
    machine.handle(scrape("c"), 0.0)
    for name in "ab":
        machine.handle(scrape(name, lora_limit=2), 1.0)
    assert [goes(n, "l1", 1.0 + n) for n in range(1, 4)] == ["a"] * 3, (
        "c, which says nothing, does not have it"
    )
    assert goes(4, "l2", 4.0) == "b"
    machine.handle(scrape("a", loras_running=("l4",), loras_waiting=("l5",), lora_limit=2), 5.0)
    machine.handle(scrape("a", lora_limit=2), 5.2)
    machine.handle(scrape("b", loras_running=("l1",), lora_limit=2), 5.2)
    assert goes(5, "l1", 5.3) == "b", "two others took its places at a"
    machine.handle(no_scrape("b", "refused"), 5.4)
    machine.handle(scrape("b", lora_limit=2), 5.5)
    machine.handle(scrape("a", loras_running=("l1",), lora_limit=2), 5.6)
    assert goes(6, "l1", 20.0) == "a", "a new process has none"
    machine.handle(lists("a", ModelCard("m")), 20.1)
    for name in "bc":
        machine.handle(lists(name, ModelCard("m"), ModelCard("l1", parent="m")), 20.1)
    assert goes(7, "l1", 20.2) in "bc", "it was unloaded at a"


def test_an_adapter_is_loaded_where_its_requests_were_sent(machine: PoolMachine) -> None:
    for name in "abc":
        machine.handle(lists(name, ModelCard("m"), ModelCard("l1", parent="m")), 0.0)
    first = pick(machine, arrives(1, "x", model="l1"), 0.1)
    assert {pick(machine, arrives(n, chr(200 + n), model="l1"), 0.1) for n in range(2, 6)} == {first}


def test_a_newcomer_does_not_take_the_burst(machine: PoolMachine) -> None:
    for n in range(30):
        machine.handle(arrives(n, chr(200 + n) * 4), 0.0)
    run(machine, [(0.1, a_pool("abcd"), []), (0.1, scrape("d"), [])])
    early = Counter(pick(machine, arrives(n, chr(300 + n) * 4), 0.2) for n in range(100, 112))
    assert early["d"] <= 2
    late = Counter(pick(machine, arrives(n, chr(300 + n) * 4), 11.0) for n in range(200, 212))
    assert late["d"] >= 10


def test_wakes_are_asked_for_once_and_only_while_needed(machine: PoolMachine) -> None:
    def wakes(actions: list[object]) -> list[float]:
        return [one.at for one in actions if isinstance(one, WakeAt)]

    assert wakes(list(machine.handle(scrape("a"), 0.0))) == []
    (at,) = wakes(list(machine.handle(arrives(1, "x"), 0.01)))
    assert 0.01 < at <= 0.11 + 1e-9
    assert wakes(list(machine.handle(arrives(2, "x"), 0.02))) == []
    assert len(wakes(list(machine.handle(Woken(), at)))) == 1
    for stream in (1, 2):
        machine.handle(token(stream), 0.15)
    assert wakes(list(machine.handle(Woken(), 0.3))) == []


def test_an_error_tells_its_story(machine: PoolMachine) -> None:
    machine.handle(arrives(1, "x"), 0.0)
    with pytest.raises(ValueError, match="already") as caught:
        machine.handle(arrives(1, "x"), 0.1)
    assert any("RequestArrived" in note for note in caught.value.__notes__)
    assert [type(event) for _, event in machine.story[-3:]] == [
        PoolChanged,
        type(arrives(1)),
        type(arrives(1)),
    ]


def test_estimates_follow_reported_usage(machine: PoolMachine) -> None:
    for n in range(100):
        machine.handle(arrives(n, "a" * 10), n)
        machine.handle(ends(n, usage=Usage(640, 50, 320)), n + 0.5)
    assert routed(machine, arrives(200, "a" * 10), 200.0).decision.placement.prompt_tokens == pytest.approx(
        640, rel=0.05
    )
    view = machine.view(200.0)
    assert view.reported_hit_rate == pytest.approx(0.5)
    assert view.hit_rate > 0.9


@pytest.mark.parametrize(("policy", "most"), [("round-robin", 4), ("least-requests", 4), ("random", 9)])
def test_the_plain_policies_spread(policy: str, most: int) -> None:
    machine = a_machine("abc", policy)
    picks = Counter(pick(machine, arrives(n, "same prompt"), 0.01 * n) for n in range(12))
    assert max(picks.values()) <= most
    assert sum(picks.values()) == 12
    assert len(picks) == 3
    machine.check()


def test_equal_machines_fed_equal_events_decide_alike() -> None:
    def decide() -> list[str]:
        machine = a_machine("abcdef")
        return [pick(machine, arrives(n, chr(100 + n % 7) * 5), 0.02 * n) for n in range(60)]

    assert decide() == decide()
    assert StreamId(1) == 1


@pytest.mark.parametrize(
    ("script", "after_s"),
    [
        ([Woken()], 60.0),  # the scrape is too old to be believed
        ([no_scrape("a")], 0.0),
        ([scrape("a", progress=1.0)], 0.0),
        ([scrape("a", kv_blocks=16, block_tokens=16, progress=9.0)], 0.0),
        ([token(1), ends(1)], 0.0),
        ([ends(1)], 0.0),
        ([ends(1, served="b")], 0.0),
        ([a_pool("bc"), a_pool("ab")], 0.0),
    ],
)
def test_what_changes_an_endpoint_is_seen_at_the_next_decision(script: list[Event], after_s: float) -> None:
    machine = a_machine("ab")
    machine.handle(scrape("a", 3, 2, progress=5.0), 0.0)
    machine.handle(arrives(1, "abcd", subset=(address("a"),)), 0.1)
    elsewhere = (address("b"),)
    before = routed(machine, arrives(2, subset=elsewhere), 0.2).decision.candidates[0]
    assert (before.endpoint, before.in_flight, before.pending_tokens) == (address("a"), 1, 128)
    assert machine._fleet.states[0].seen is not None, "nothing has changed there since"
    for number, event in enumerate(script):
        machine.handle(event, 0.3 + after_s)
        machine.check()
        machine.handle(arrives(3 + number, subset=elsewhere), 0.4 + after_s)
        machine.check()
        after_s += 1.0


def session_of(machine: PoolMachine, stream: int, session: str | None, now: float) -> tuple[str, str | None]:
    route = routed(machine, arrives(stream, session=session), now)
    machine.handle(ends(stream), now)
    return letter(route.endpoints[0]), route.decision.session


def test_a_session_stays_at_its_endpoint_and_others_spread(machine: PoolMachine) -> None:
    home, first = session_of(machine, 1, "s", 0.0)
    assert first == "new"
    assert {session_of(machine, 2 + number, "s", 1.0) for number in range(20)} == {(home, "kept")}
    strangers = {session_of(machine, 100 + number, None, 2.0) for number in range(40)}
    assert strangers == {("a", None), ("b", None), ("c", None)}


def test_a_session_leaves_an_endpoint_that_is_clearly_busier(machine: PoolMachine) -> None:
    home, _ = session_of(machine, 1, "s", 0.0)
    machine.handle(scrape(home, waiting=0, running=0), 0.5)
    for number in range(200):
        crowd = routed(machine, arrives(10 + number, subset=(address(home),), prompt_bytes=12_800), 1.0)
        assert letter(crowd.endpoints[0]) == home
    other, became = session_of(machine, 2, "s", 1.0)
    assert became == "moved"
    assert other != home
    assert session_of(machine, 3, "s", 1.0) == (other, "kept")


def test_a_session_whose_endpoint_is_gone_moves(machine: PoolMachine) -> None:
    home, _ = session_of(machine, 1, "s", 0.0)
    machine.handle(a_pool("abc".replace(home, "")), 1.0)
    other, became = session_of(machine, 2, "s", 2.0)
    assert became == "moved"
    assert other != home


def test_a_session_is_forgotten_in_time() -> None:
    machine = a_machine("abc", settings=MachineSettings(session_idle_s=10.0, most_sessions=2))
    assert session_of(machine, 1, "s", 0.0)[1] == "new"
    assert session_of(machine, 2, "s", 10.0)[1] == "kept"
    assert session_of(machine, 3, "s", 20.5)[1] == "new"
    assert session_of(machine, 4, "t", 21.0)[1] == "new"
    assert session_of(machine, 5, "u", 22.0)[1] == "new"
    assert session_of(machine, 6, "s", 23.0)[1] == "new"
    machine.check()


@pytest.mark.parametrize("source", ["header:x-a", "cookie:sid", "body:user", "body:prompt_cache_key"])
def test_a_session_by_any_source_keeps_its_endpoint_and_its_target(source: str) -> None:
    targets = (TargetModel("x", 1), TargetModel("y", 1))
    machine = a_machine("abc")
    rules = FlowRules("d/p", sessions=("header:x-none", source))
    pool = a_pool("abc", models=[ModelRule("m", "d/m", 0, targets)]).pool
    machine.handle(PoolChanged(msgspec.structs.replace(pool, flow=rules)), 0.0)
    ways = set()
    for number in range(20):
        told = (("header:x-session-id", f"other-{number}"), (source, "s"))
        route = routed(machine, arrives(number, sessions=tuple(sorted(told))), float(number))
        ways.add((route.endpoints[0], route.target_model))
        machine.handle(ends(number), number + 0.5)
    assert len(ways) == 1
    machine.handle(PoolChanged(msgspec.structs.replace(pool, flow=FlowRules("d/p", sessions=()))), 30.0)
    strangers = [
        routed(machine, arrives(100 + number, sessions=((source, "s"),)), 31.0) for number in range(20)
    ]
    assert all(route.decision.session is None for route in strangers)
    assert {route.target_model for route in strangers} == {"x", "y"}
    machine.check()


def test_the_view_shows_how_many_sessions_and_answers_are_remembered() -> None:
    machine = a_machine("abc", settings=MachineSettings(most_sessions=2, most_answers=3))
    for number in range(5):
        routed(machine, arrives(number, session=f"s{number}"), 0.0)
    machine.handle(AnswerStored(StreamId(1), "p"), 0.1)
    view = machine.view(0.2)
    assert view.sessions == HeldView(2, 2)
    assert view.kept_answers == HeldView(1, 3)


def test_the_summary_and_the_record_say_what_became_of_a_session(machine: PoolMachine) -> None:
    choice = routed(machine, arrives(1, session="s"), 0.0).decision
    assert "; session=new" in choice.summary()
    assert choice.written().session == "new"
    assert "session" not in routed(machine, arrives(2), 0.0).decision.summary()
