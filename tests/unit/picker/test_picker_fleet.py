"""Endpoints that come, go and come back; the prefix index goes with them."""

import random

import pytest
from tests.unit.picker.picker_builders import (
    address,
    an_endpoint,
    arrives,
    blocks,
    booking,
    lists,
    no_scrape,
    scrape,
    tracking,
)

from headgate.model.load import ModelCard
from headgate.picker.events import ModelsListed, Scraped
from headgate.picker.fleet import Fleet
from headgate.picker.member import Member
from headgate.picker.settings import MachineSettings
from headgate.picker.tracked import Booking
from headgate.scheduling.api import Ask
from headgate.scheduling.profiles import PROFILES
from headgate.scheduling.scheduler import Scheduler

PROMPT = blocks("abcdef")


@pytest.fixture
def fleet() -> Fleet:
    made = Fleet(MachineSettings())
    change(made, "ab")
    return made


def change(fleet: Fleet, names: str, now: float = 0.0, serving: bool = False) -> None:
    fleet.change([an_endpoint(name) for name in names], now, serving)
    fleet.check()


def holding(member: Member) -> Booking:
    made = booking(1)
    member.book(made, 0.0)
    return made


def remember(fleet: Fleet, name: str) -> None:
    """The endpoint computed PROMPT."""
    member = fleet.members[address(name)]
    tracked = tracking(arrives(77), blocks=PROMPT)
    booked = tracked.booking
    member.book(booked, 0.0)
    fleet.expect(tracked, booked)
    fleet.conclude_prompt(booked, computed=True)
    member.release(booked)


def matched(fleet: Fleet, name: str) -> int:
    """Blocks of PROMPT that the index believes at an endpoint."""
    return fleet.index.match(PROMPT).get(fleet.members[address(name)].state.slot, 0)


def test_members_are_ordered_by_id_whatever_order_they_come_in(fleet: Fleet) -> None:
    change(fleet, "cab")
    assert [state.id for state in fleet.states] == [address(name) for name in "abc"]


def test_a_member_that_stays_keeps_what_is_known_of_it(fleet: Fleet) -> None:
    before = fleet.members[address("a")]
    remember(fleet, "a")
    change(fleet, "ac")
    assert fleet.members[address("a")] is before
    assert matched(fleet, "a") == len(PROMPT) // 8


def test_a_member_that_leaves_idle_is_gone_and_its_slot_is_free(fleet: Fleet) -> None:
    slot = fleet.members[address("b")].state.slot
    change(fleet, "a")
    assert fleet.find(address("b")) is None
    change(fleet, "ac")
    assert fleet.members[address("c")].state.slot == slot
    assert matched(fleet, "c") == 0


def test_a_member_that_leaves_busy_stays_until_its_last_request_ends(fleet: Fleet) -> None:
    member = fleet.members[address("b")]
    booked = holding(member)
    change(fleet, "a")
    assert fleet.find(address("b")) is member
    member.release(booked)
    fleet.left(member)
    fleet.check()
    assert fleet.find(address("b")) is None


def test_a_member_that_returns_while_draining_is_the_same_one_with_an_empty_cache(fleet: Fleet) -> None:
    member = fleet.members[address("b")]
    remember(fleet, "b")
    holding(member)
    change(fleet, "a")
    change(fleet, "ab")
    assert fleet.members[address("b")] is member
    assert member.state.in_flight == 1
    assert matched(fleet, "b") == 0


def test_newcomers_start_slowly_only_where_others_serve_already() -> None:
    made = Fleet(MachineSettings())
    change(made, "a", serving=True)
    made.settle(0.0)
    assert made.members[address("a")].state.ramp == 1.0
    change(made, "ab", now=1.0, serving=True)
    made.settle(1.0)
    assert made.members[address("a")].state.ramp == 1.0
    assert made.members[address("b")].health.condition == "new"
    made.scraped(scrape("b"), 2.0, 0.0, 0.0)
    made.settle(2.0)
    assert made.members[address("b")].health.condition == "up"
    assert made.members[address("b")].state.ramp < 1.0


@pytest.mark.parametrize(
    "sign", [scrape("a"), no_scrape("a", "http-404"), lists("a"), ModelsListed(address("a"), (), "http-500")]
)
def test_a_first_endpoint_is_believed_alive_unless_requests_are_held_for_it(
    sign: Scraped | ModelsListed,
) -> None:
    made = Fleet(MachineSettings())
    made.change([an_endpoint("a")], 0.0, serving=False)
    assert made.members[address("a")].health.condition == "up"
    made = Fleet(MachineSettings())
    made.change([an_endpoint("a")], 0.0, serving=False, held=True)
    health = made.members[address("a")].health
    for silent in (
        no_scrape("a", "timeout"),
        no_scrape("a", "not-sent"),
        ModelsListed(address("a"), (), "reset"),
    ):
        tell(made, silent)
        assert health.condition == "new"
    tell(made, sign)
    assert health.condition == "up"
    made.settle(0.0)
    assert made.members[address("a")].state.ramp == 1.0, "nobody else bears the load meanwhile"


def tell(fleet: Fleet, event: Scraped | ModelsListed) -> None:
    if isinstance(event, Scraped):
        fleet.scraped(event, 0.0, 0.0, 0.0)
    else:
        fleet.listed(event, 0.0)


def test_a_restart_empties_the_index_of_that_endpoint_only(fleet: Fleet) -> None:
    for name in "ab":
        remember(fleet, name)
        fleet.scraped(scrape(name, progress=100.0), 1.0, 0.0, 0.0)
    fleet.scraped(scrape("a", progress=3.0), 2.0, 0.0, 0.0)
    assert (matched(fleet, "a"), matched(fleet, "b")) == (0, len(PROMPT) // 8)
    assert fleet.members[address("a")].state.fill == 0.0


def test_the_index_takes_the_size_that_the_engine_tells(fleet: Fleet) -> None:
    slot = fleet.members[address("a")].state.slot
    before = fleet.index.capacity(slot)
    fleet.scraped(scrape("a", kv_blocks=100, block_tokens=16), 1.0, 0.0, 0.0)
    assert fleet.index.capacity(slot) < before
    fleet.check()


def test_the_index_follows_what_the_cache_holds_of_prompts(fleet: Fleet) -> None:
    """A block is 128 bytes: 32 tokens at first, 64 where a token has two bytes; answers stand in the cache, too."""
    slot = fleet.members[address("a")].state.slot
    fleet.scraped(scrape("a", kv_blocks=1000, block_tokens=16), 1.0, 0.0, 0.0)
    assert fleet.index.capacity(slot) == 400
    fleet.bytes_per_token, fleet.prompt_share = 2.0, 0.5
    fleet.scraped(scrape("a", kv_blocks=1000, block_tokens=16), 2.0, 0.0, 0.0)
    assert fleet.index.capacity(slot) == 125
    fleet.prompt_share = 0.505
    fleet.scraped(scrape("a", kv_blocks=1000, block_tokens=16), 3.0, 0.0, 0.0)
    assert fleet.index.capacity(slot) == 125, "not for a trifle"
    fleet.check()


def test_a_scrape_too_old_is_not_believed(fleet: Fleet) -> None:
    fleet.scraped(scrape("a", waiting=3), 1.0, 0.0, 0.0)
    state = fleet.members[address("a")].state
    fleet.tick(1.0 + MachineSettings().stale_s)
    assert state.load is not None
    fleet.tick(1.1 + MachineSettings().stale_s)
    assert state.load is None


def test_scrapes_and_models_of_strangers_are_ignored(fleet: Fleet) -> None:
    fleet.scraped(scrape("z"), 1.0, 0.0, 0.0)
    fleet.scraped(no_scrape("z"), 1.0, 0.0, 0.0)
    event = lists("z", ModelCard("adapter", parent="base"))
    fleet.listed(event, 0.0)
    assert not fleet.adapters
    fleet.check()


def test_adapters_are_those_that_any_endpoint_lists_with_a_parent(fleet: Fleet) -> None:
    event = lists("a", ModelCard("base"), ModelCard("adapter", parent="base"))
    fleet.listed(event, 0.0)
    assert fleet.adapters == {"adapter"}
    change(fleet, "b")
    assert not fleet.adapters


def answers(fleet: Fleet, name: str, ratio: float, now: float, count: int = 20) -> None:
    """So many answers came there, each token in *ratio* times the predicted time."""
    for _ in range(count):
        fleet.members[address(name)].pace.learn(0.01 * ratio, 0.01, now)
    fleet.paces_moved = True


def paces(fleet: Fleet) -> list[float]:
    return [member.state.pace for member in fleet.members.values()]


def test_paces_are_compared_at_the_next_tick_and_only_changes_are_looked_at_again(fleet: Fleet) -> None:
    scheduler = Scheduler(PROFILES["default"], random.Random(1))
    ask = Ask(arrives(1).request, 0.0, 1000, {})
    answers(fleet, "a", 1.0, 0.0)
    answers(fleet, "b", 4.0, 0.0)
    scheduler.schedule(ask, fleet.states)
    fast = fleet.states[0].seen
    assert paces(fleet) == [1.0, 1.0]
    fleet.tick(0.1)
    assert paces(fleet) == [1.0, pytest.approx(3.2, rel=0.02)]
    placed = scheduler.schedule(ask, fleet.states)
    assert [one.pace for one in placed.candidates] == paces(fleet)
    assert fleet.states[0].seen is fast
    scheduler.check(fleet.states)
    seen = [state.seen for state in fleet.states]
    answers(fleet, "b", 4.02, 0.2, count=1)
    fleet.tick(0.2)
    scheduler.schedule(ask, fleet.states)
    assert [state.seen for state in fleet.states] == seen, "too small a change to look again"


def test_a_slow_endpoint_without_answers_is_tried_again_while_others_answer(fleet: Fleet) -> None:
    answers(fleet, "a", 1.0, 0.0)
    answers(fleet, "b", 8.0, 0.0)
    fleet.tick(0.1)
    assert paces(fleet)[1] > 6
    fleet.tick(9000.0)
    assert paces(fleet)[1] > 6, "a quiet night proves nothing"
    answers(fleet, "a", 1.0, 9001.0)
    fleet.tick(9001.1)
    assert paces(fleet) == [1.0, 1.0]
