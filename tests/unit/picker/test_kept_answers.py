"""Where requests go that go on with an answer that a server keeps."""

from collections.abc import Iterator

import pytest
from msgspec.structs import replace
from tests.unit.picker.picker_builders import (
    a_machine,
    a_pool,
    address,
    arrives,
    ends,
    no_scrape,
    pick,
    routed,
    scrape,
    starts,
)

from headgate.flow.settings import FlowSettings
from headgate.model.flow_rules import FlowRules
from headgate.model.ids import StreamId
from headgate.model.objects.flow import DetectorSpec
from headgate.picker.actions import Route
from headgate.picker.events import AnswerStored, PoolChanged
from headgate.picker.machine import PoolMachine
from headgate.picker.settings import MachineSettings

ONE_EACH = DetectorSpec(type="Concurrency", max_concurrency=1)


@pytest.fixture
def machine() -> Iterator[PoolMachine]:
    """Endpoints a, b, c in a pool that has been idle for long."""
    made = a_machine("abc")
    yield made
    made.check()


def stores(stream: int, prior: str, served: str | None = None) -> AnswerStored:
    return AnswerStored(StreamId(stream), prior, address(served) if served else None)


def test_what_goes_on_with_an_answer_goes_where_that_is_kept(machine: PoolMachine) -> None:
    home = pick(machine, arrives(1), 0.0)
    machine.handle(stores(1, "p"), 0.1)
    for number in range(2, 60):
        route = routed(machine, arrives(number, prior="p", api="other", model=None), 0.2)
        assert route.endpoints == (address(home),), "whatever runs there, and nobody else if it fails"
        assert route.decision.prior == "held"
    others = {one.filtered_by for one in route.decision.candidates if one.endpoint != address(home)}
    assert others == {"keeps-answer"}
    assert "; prior=held" in route.decision.summary()


def test_the_server_that_is_said_to_have_answered_keeps_it(machine: PoolMachine) -> None:
    home = pick(machine, arrives(1), 0.0)
    other = next(name for name in "abc" if name != home)
    machine.handle(stores(1, "p", served=other), 0.1)
    assert pick(machine, arrives(2, prior="p"), 0.2) == other
    machine.handle(stores(99, "q", served=other), 0.3)
    assert routed(machine, arrives(3, prior="q"), 0.3).decision.prior == "unknown"


def test_an_answer_that_nobody_keeps_any_more_is_asked_for_anywhere(machine: PoolMachine) -> None:
    home = pick(machine, arrives(1), 0.0)
    machine.handle(stores(1, "p"), 0.1)
    machine.handle(a_pool("abc".replace(home, "")), 0.2)
    route = routed(machine, arrives(2, prior="p"), 0.3)
    assert (route.decision.prior, len(route.endpoints)) == ("gone", 2)
    assert routed(machine, arrives(3, prior="never"), 0.3).decision.prior == "unknown"


def test_a_server_that_starts_anew_keeps_nothing(machine: PoolMachine) -> None:
    home = pick(machine, arrives(1), 0.0)
    machine.handle(stores(1, "p"), 0.1)
    machine.handle(scrape(home, progress=10), 0.2)
    machine.handle(scrape(home, progress=0), 0.4)
    assert routed(machine, arrives(2, prior="p"), 0.5).decision.prior == "unknown"


def test_a_good_answer_shows_who_keeps_what_it_goes_on_with(machine: PoolMachine) -> None:
    home = pick(machine, arrives(1, prior="p"), 0.0)
    machine.handle(ends(1, status=404), 0.1)
    assert routed(machine, arrives(2, prior="p"), 0.2).decision.prior == "unknown"
    machine.handle(ends(2, served=home), 0.3)
    assert pick(machine, arrives(3, prior="p"), 0.4) == home


def test_whoever_may_not_serve_is_not_asked_for_its_answer(machine: PoolMachine) -> None:
    home = pick(machine, arrives(1), 0.0)
    machine.handle(stores(1, "p"), 0.1)
    other = next(name for name in "abc" if name != home)
    route = routed(machine, arrives(2, prior="p", subset=(address(other),)), 0.2)
    assert (route.endpoints, route.decision.prior) == ((address(other),), "gone")


def test_a_down_servers_answer_is_asked_for_anywhere(machine: PoolMachine) -> None:
    home = pick(machine, arrives(1), 0.0)
    machine.handle(stores(1, "p"), 0.1)
    machine.handle(starts(1, 503, local=True), 0.2)
    machine.handle(no_scrape(home), 0.3)
    route = routed(machine, arrives(2, prior="p"), 0.4)
    assert route.decision.prior == "down"
    assert address(home) not in route.endpoints[:1]


def test_it_waits_for_the_server_that_keeps_the_answer() -> None:
    machine = a_machine("ab", settings=MachineSettings(flow=FlowSettings()))
    machine.handle(PoolChanged(replace(machine.pool, flow=FlowRules("d/p", detector=ONE_EACH))), 0.0)
    home = pick(machine, arrives(1), 0.0)
    machine.handle(stores(1, "p"), 0.1)
    assert not any(isinstance(each, Route) for each in machine.handle(arrives(2, prior="p"), 0.2))
    assert pick(machine, arrives(3), 0.3) != home
    (route,) = [each for each in machine.handle(ends(1), 0.4) if isinstance(each, Route)]
    assert (route.stream, route.endpoints) == (2, (address(home),))
    machine.handle(arrives(4, prior="p"), 0.5)
    left = tuple(each for each in machine.pool.endpoints if each.id != address(home))
    answers = machine.handle(PoolChanged(replace(machine.pool, endpoints=left)), 0.6)
    assert not any(isinstance(each, Route) for each in answers), "the other one is full, too"
    (route,) = [each for each in machine.handle(ends(3), 0.7) if isinstance(each, Route)]
    assert (route.stream, route.decision.prior) == (4, "gone")
    machine.check()
