"""A machine with flow control: who waits while every endpoint is full, and what ends the wait."""

import random
from collections.abc import Sequence

import msgspec
import pytest
from tests.unit.picker.picker_builders import (
    KEY,
    a_pool,
    address,
    arrives,
    ends,
    lists,
    no_scrape,
    scrape,
    starts,
    token,
)

from headgate.flow.ordering.earliest_deadline import EarliestDeadline
from headgate.flow.settings import BandSettings, FlowSettings, Quota, Share
from headgate.model.flow_rules import Caller, FlowRules
from headgate.model.ids import StreamId
from headgate.model.load import ModelCard
from headgate.model.objects.flow import BandSpec, DetectorSpec, QuotaSpec, ShareSpec
from headgate.model.requests import Usage
from headgate.picker.actions import Action, Reject, Route
from headgate.picker.events import (
    Event,
    ModelsListed,
    PoolChanged,
    PoolRemoved,
    RequestArrived,
    RequestEnded,
    Woken,
)
from headgate.picker.machine import PoolMachine
from headgate.picker.settings import MachineSettings
from headgate.scheduling.profiles import PROFILES


class Rig:
    """One machine; what it answers, by stream."""

    def __init__(
        self, flow: FlowSettings | None, pool: PoolChanged, hold_empty_s: float = 0.0, seats: int = 2
    ) -> None:
        """Every endpoint was seen to queue while it ran *seats* requests: one more may wait there."""
        settings = MachineSettings(flow=flow, hold_empty_s=hold_empty_s)
        self.machine = PoolMachine(KEY, PROFILES["least-requests"], settings, random.Random(1))
        self.now = 0.0
        self.answers: dict[int, Route | Reject] = {}
        self.actions: list[Action] = []
        self.tell(pool)
        for endpoint in pool.pool.endpoints:
            name = chr(int(endpoint.ip.split(".")[-1]) + ord("a") - 1)
            for _ in range(2):
                self.tell(scrape(name, 1, seats))
            self.tell(scrape(name, 0, 0))

    def tell(self, event: Event, after: float = 0.0) -> Sequence[int]:
        """Whose requests were answered."""
        self.now += after
        found = []
        self.actions = self.machine.handle(event, self.now)
        for action in self.actions:
            if isinstance(action, Route | Reject):
                assert action.stream not in self.answers
                self.answers[action.stream] = action
                found.append(action.stream)
        self.machine.check()
        return found

    def reject(self, stream: int) -> Reject:
        found = self.answers[stream]
        assert isinstance(found, Reject)
        return found

    def route(self, stream: int) -> Route:
        found = self.answers[stream]
        assert isinstance(found, Route)
        return found


def full(flow: FlowSettings | None = None, names: str = "a", **fields: object) -> Rig:
    """Every endpoint has its fill: streams 1 to 3 at the first, 4 to 6 at the second …"""
    rig = Rig(flow or FlowSettings(), a_pool(names, objectives={"batch": -10, "vip": 5}), **fields)  # type: ignore[arg-type]
    for stream in range(1, 1 + 3 * len(names)):
        assert rig.tell(arrives(stream)) == [stream]
    return rig


def test_while_an_endpoint_has_room_requests_go_at_once_and_to_one_that_has() -> None:
    rig = full(names="ab")
    assert (
        sorted(rig.route(stream).endpoints[0] for stream in range(1, 7))
        == [address("a")] * 3 + [address("b")] * 3
    )
    assert rig.tell(arrives(7)) == []


def test_who_waits_goes_when_another_ends_and_the_record_says_how_long() -> None:
    rig = full()
    assert rig.tell(arrives(4)) == []
    assert rig.tell(ends(1), 2.5) == [4]
    assert rig.route(4).decision.waited_s == 2.5
    assert "waited=2.500s" in rig.route(4).decision.summary()
    assert rig.machine.view(rig.now).in_flight == 3


def test_a_request_that_goes_late_has_its_times_from_its_arrival() -> None:
    rig = full()
    rig.tell(arrives(4))
    rig.tell(ends(1), 2.0)
    rig.tell(starts(4), 1.0)
    rig.tell(token(4), 0.5)
    rig.tell(ends(4), 1.0)
    [outcome] = [action.outcome for action in rig.actions if hasattr(action, "outcome")]
    assert (outcome.ttft_s, outcome.duration_s) == (3.5, 4.5)


def test_first_tokens_make_room_where_nothing_waits_in_the_engine() -> None:
    rig = full()
    rig.tell(arrives(4))
    assert [rig.tell(token(stream)) for stream in (1, 2)] == [[], []]
    assert rig.tell(token(3)) == [4]


def test_a_client_that_leaves_while_waiting_is_forgotten_at_once() -> None:
    rig = full()
    rig.tell(arrives(4))
    rig.tell(arrives(5))
    assert rig.tell(ends(4, "aborted")) == []
    assert rig.actions == []
    queue = rig.machine.view(rig.now).queue
    assert queue is not None
    assert queue.queued == 1
    assert rig.tell(ends(1)) == [5]
    assert 4 not in rig.answers


def test_more_important_requests_go_first_and_unimportant_ones_wait_too() -> None:
    rig = full()
    for stream, objective in ((4, "batch"), (5, None), (6, "vip")):
        assert rig.tell(arrives(stream, objective=objective)) == []
    assert [rig.tell(ends(stream)) for stream in (1, 2, 3, 5)] == [[6], [5], [], [4]]


def test_requests_of_negative_priority_leave_the_places_in_an_engines_queue_to_others() -> None:
    rig = Rig(FlowSettings(), a_pool("ab", objectives={"batch": -10}))
    sent = [stream for stream in range(1, 9) for _ in rig.tell(arrives(stream, objective="batch"))]
    assert len(sent) == 4, "two seats each"
    assert rig.tell(arrives(20)) == [20]
    assert rig.tell(arrives(21)) == [21]
    assert rig.tell(arrives(22)) == [], "one more each may wait there"


def test_a_ceiling_keeps_seats_free_for_other_priorities() -> None:
    half = FlowSettings(bands={-10: BandSettings(ceiling=0.5)})
    rig = Rig(half, a_pool("ab", objectives={"batch": -10}), seats=4)
    sent = [stream for stream in range(1, 9) for _ in rig.tell(arrives(stream, objective="batch"))]
    assert len(sent) == 4, "half of four seats each"
    assert [rig.route(stream).endpoints[0] for stream in sent].count(address("a")) == 2
    for stream in range(20, 24):
        assert rig.tell(arrives(stream)) == [stream], "before those that came first"
    assert rig.tell(ends(20)) == [], "three are there, two may be"


def test_a_server_with_nothing_to_do_takes_a_request_whatever_the_ceiling() -> None:
    low = FlowSettings(bands={-10: BandSettings(ceiling=0.01)})
    rig = Rig(low, a_pool("a", objectives={"batch": -10}))
    assert rig.tell(arrives(1, objective="batch")) == [1]
    assert rig.tell(arrives(2, objective="batch")) == []
    assert rig.tell(ends(1)) == [2]


def test_a_policys_other_ceiling_counts_for_those_that_wait() -> None:
    pool = a_pool("a", objectives={"batch": -10})
    rig = Rig(FlowSettings(bands={-10: BandSettings(ceiling=0.25)}), pool, seats=4)
    for stream in range(1, 5):
        rig.tell(arrives(stream, objective="batch"))
    rules = FlowRules("default/fair", bands={-10: BandSpec(ceiling=0.75)})
    changed = PoolChanged(msgspec.structs.replace(pool.pool, flow=rules))
    assert rig.tell(changed) == [2, 3]


@pytest.mark.parametrize(
    ("detector", "fits"),
    [
        (DetectorSpec("Concurrency", max_concurrency=10), 5),
        (DetectorSpec("Utilization", queue_depth=10), 12),
    ],
)
def test_a_ceiling_is_a_part_of_what_the_detector_calls_full(detector: DetectorSpec, fits: int) -> None:
    pool = a_pool("a", objectives={"batch": -10})
    rig = Rig(FlowSettings(), pool)
    rules = FlowRules("default/fair", detector=detector, bands={-10: BandSpec(ceiling=0.5)})
    rig.tell(PoolChanged(msgspec.structs.replace(pool.pool, flow=rules)))
    sent = [stream for stream in range(1, 13) for _ in rig.tell(arrives(stream, objective="batch"))]
    assert len(sent) == fits
    rig.tell(scrape("a", 6, 2))
    assert rig.tell(arrives(20, objective="batch")) == []
    assert rig.tell(arrives(21)) == [21]


def test_flows_share() -> None:
    rig = full()
    for stream in range(10, 20):
        rig.tell(arrives(stream, fairness_id="greedy"))
    rig.tell(arrives(30, fairness_id="modest"))
    assert [rig.tell(ends(stream)) for stream in (1, 2)] == [[10], [30]]
    queue = rig.machine.view(rig.now).queue
    assert queue is not None
    flows = {view.id: view for view in queue.flows}
    assert (flows["greedy"].queued, flows["greedy"].running, flows["modest"].queued) == (9, 1, 0)


def test_without_flow_control_nobody_waits() -> None:
    settings = MachineSettings()
    assert settings.flow is None
    machine = PoolMachine(KEY, PROFILES["default"], settings, random.Random(1))
    machine.handle(a_pool("a"), 0.0)
    for _ in range(3):
        machine.handle(scrape("a", 50, 2), 0.0)
    for stream in range(20):
        assert isinstance(machine.handle(arrives(stream), 0.0)[0], Route)
    assert machine.view(0.0).queue is None


def test_without_metrics_nobody_waits() -> None:
    rig = Rig(FlowSettings(), PoolChanged(a_pool("").pool))
    rig.tell(a_pool("a"))
    for stream in range(50):
        assert rig.tell(arrives(stream)) == [stream]


def test_an_engine_whose_metrics_fail_is_not_flooded() -> None:
    rig = full()
    rig.tell(arrives(4))
    rig.tell(arrives(5))
    rig.tell(no_scrape("a", "timeout"), 1.0)
    assert rig.tell(Woken(), 10.0) == []
    assert rig.tell(ends(1)) == [4]


def test_an_unwell_engine_is_not_flooded_and_one_that_is_well_is_not_passed_over_for_it() -> None:
    rig = full(names="ab")
    served = {stream: rig.route(stream).endpoints[0] for stream in range(1, 7)}
    for stream in [stream for stream, where in served.items() if where == address("b")]:
        rig.tell(ends(stream, "failed", 500))  # b is down now and has room
    assert rig.tell(arrives(7)) == []
    at_a = next(stream for stream, where in served.items() if where == address("a"))
    assert rig.tell(ends(at_a)) == [7]
    assert rig.route(7).endpoints[0] == address("a")


def test_who_waits_too_long_is_refused() -> None:
    rig = full(FlowSettings(other_bands=BandSettings(ttl_s=30.0)))
    rig.tell(arrives(4))
    for stream in (1, 2, 3):
        rig.tell(starts(stream))
    rig.tell(scrape("a", 1, 2), 29.0)
    assert 4 not in rig.answers
    assert rig.tell(scrape("a", 1, 2), 1.0) == [4]
    refused = rig.reject(4)
    assert (refused.status, refused.reason) == (429, "ttl-expired")
    assert refused.retry_after_s is not None
    assert refused.decision.waited_s == 30.0


def test_whose_deadline_cannot_be_met_is_refused() -> None:
    rig = full(FlowSettings(other_bands=BandSettings(ordering=EarliestDeadline())))
    rig.tell(arrives(4, slo_ttft_ms=1500.0))
    rig.tell(arrives(5))
    assert rig.tell(ends(1), 1.499) == [5, 4]
    assert rig.reject(4).reason == "deadline"


def test_a_full_queue_refuses() -> None:
    rig = full(FlowSettings(most_requests=1))
    rig.tell(arrives(4))
    assert rig.tell(arrives(5)) == [5]
    assert (rig.reject(5).status, rig.reject(5).reason) == (429, "queue-full")
    assert rig.tell(arrives(6, objective="vip")) == [4]
    assert rig.reject(4).reason == "displaced"
    assert rig.machine.view(rig.now).refused == 2


def test_quotas_count_what_was_used() -> None:
    share = Share(quota=Quota(tokens_per_minute=60, burst_tokens=1000))
    rig = Rig(FlowSettings(shares={"a": share}), a_pool("a"))
    assert rig.tell(arrives(1, fairness_id="a", max_tokens=100)) == [1]
    rig.tell(ends(1, "complete", 200, Usage(400, 550, None)))
    assert rig.tell(arrives(2, fairness_id="a", max_tokens=100)) == [2]
    refused = rig.reject(2)
    assert (refused.status, refused.reason) == (429, "over-quota")
    assert refused.retry_after_s is not None
    assert 40 <= refused.retry_after_s <= 60
    assert rig.tell(arrives(3, fairness_id="b")) == [3]
    assert isinstance(rig.answers[3], Route)
    assert rig.tell(arrives(4, fairness_id="a", max_tokens=100), refused.retry_after_s) == [4]
    assert isinstance(rig.answers[4], Route)


def test_what_failed_costs_nothing() -> None:
    share = Share(quota=Quota(tokens_per_minute=60, burst_tokens=300))
    rig = Rig(FlowSettings(other_shares=share), a_pool("a"))
    assert rig.tell(arrives(1, max_tokens=290)) == [1]
    rig.tell(ends(1, "failed", 500))
    assert rig.tell(arrives(2, max_tokens=290)) == [2]
    assert isinstance(rig.answers[2], Route)


def test_a_full_endpoint_holds_up_only_the_models_that_it_serves_alone() -> None:
    rig = Rig(FlowSettings(), a_pool("ab"))
    rig.tell(ModelsListed(address("a"), (ModelCard("x"),)))
    rig.tell(ModelsListed(address("b"), (ModelCard("y"),)))
    for stream in range(1, 6):
        rig.tell(arrives(stream, model="x"))
    assert set(rig.answers) == {1, 2, 3}
    assert rig.tell(arrives(6, model="y")) == [6]
    # Now b serves x too.
    assert rig.tell(ModelsListed(address("b"), (ModelCard("x"), ModelCard("y")))) == [4, 5]


def test_a_model_that_goes_while_its_requests_wait_is_told() -> None:
    rig = Rig(FlowSettings(), a_pool("a"))
    rig.tell(ModelsListed(address("a"), (ModelCard("x"),)))
    for stream in range(1, 5):
        rig.tell(arrives(stream, model="x"))
    rig.tell(ModelsListed(address("a"), (ModelCard("y"),)))
    assert rig.tell(ends(1)) == [4] or 4 in rig.answers
    assert rig.reject(4).reason == "unknown-model"


def test_a_subset_waits_for_its_own_endpoints() -> None:
    rig = full(names="ab")
    rig.tell(arrives(7, subset=(address("b"),)))
    served = {stream: rig.route(stream).endpoints[0] for stream in range(1, 7)}
    at_a = next(stream for stream, where in served.items() if where == address("a"))
    at_b = next(stream for stream, where in served.items() if where == address("b"))
    assert rig.tell(ends(at_a)) == []
    assert rig.tell(arrives(8)) == [8]
    assert rig.tell(ends(at_b)) == [7]


def test_a_new_endpoint_takes_those_that_wait() -> None:
    rig = full()
    for stream in range(4, 10):
        rig.tell(arrives(stream))
    assert rig.tell(a_pool("ab")) == [], "nobody has seen it alive"
    went = [*rig.tell(scrape("b"))]
    assert 1 <= len(went) <= 2, "it starts slowly"
    for _ in range(40):
        went += rig.tell(scrape("b", 0, len(went)), 0.25)
    assert went == list(range(4, 10)), "it runs all that come and queues none"
    assert {rig.route(stream).endpoints[0] for stream in went} == {address("b")}


def test_a_pool_without_endpoints_refuses_unless_it_is_to_hold_requests() -> None:
    rig = Rig(FlowSettings(), a_pool(""))
    assert rig.tell(arrives(1)) == [1]
    assert (rig.reject(1).status, rig.reject(1).reason) == (503, "no-endpoints")
    rig = Rig(FlowSettings(), a_pool(""), hold_empty_s=60.0)
    assert rig.tell(arrives(1)) == []
    assert rig.tell(arrives(2), 30.0) == []
    assert rig.tell(Woken(), 29.9) == []
    assert rig.tell(Woken(), 0.2) == [1]
    assert (rig.reject(1).status, rig.reject(1).reason) == (503, "no-endpoints")
    assert rig.tell(a_pool("a"), 10.0) == [], "nobody has seen it alive"
    assert rig.tell(scrape("a"), 1.0) == [2]
    assert rig.route(2).decision.waited_s == pytest.approx(41.1)


def test_a_policy_says_whether_requests_wait_for_the_first_endpoint() -> None:
    def pool(ids: str, hold_empty_s: float | None) -> PoolChanged:
        rules = FlowRules("default/p", hold_empty_s=hold_empty_s)
        return PoolChanged(msgspec.structs.replace(a_pool(ids).pool, flow=rules))

    rig = Rig(FlowSettings(), pool("", 30.0))
    assert rig.tell(arrives(1)) == []
    assert rig.tell(pool("", 0.0)) == [], "it has been told that it may wait"
    assert rig.tell(arrives(2)) == [2]
    assert (rig.reject(2).status, rig.reject(2).reason) == (503, "no-endpoints")
    assert rig.tell(Woken(), 30.1) == [1]
    assert (rig.reject(1).status, rig.reject(1).reason) == (503, "no-endpoints")
    assert rig.tell(pool("", 30.0)) == [] and rig.tell(arrives(3)) == []
    assert rig.tell(pool("a", 30.0), 10.0) == []
    assert rig.tell(scrape("a")) == [3]

    rig = Rig(FlowSettings(), pool("", None), hold_empty_s=60.0)
    assert rig.tell(arrives(1)) == [], "as configured"
    rig = Rig(FlowSettings(), pool("", 0.0), hold_empty_s=60.0)
    assert rig.tell(arrives(1)) == [1]
    short = FlowSettings(other_bands=BandSettings(ttl_s=5.0))
    rig = Rig(short, pool("", 30.0))
    assert rig.tell(arrives(1)) == [] and rig.tell(Woken(), 5.1) == [1], "not longer than others"
    assert rig.reject(1).reason == "no-endpoints"


def test_who_was_held_waits_as_long_as_others_once_an_endpoint_is_there() -> None:
    def pool(ids: str) -> PoolChanged:
        detector = DetectorSpec("Concurrency", max_concurrency=2)
        rules = FlowRules("default/p", hold_empty_s=10.0, detector=detector)
        return PoolChanged(msgspec.structs.replace(a_pool(ids).pool, flow=rules))

    rig = Rig(FlowSettings(other_bands=BandSettings(ttl_s=60.0)), pool(""))
    for stream in range(1, 6):
        assert rig.tell(arrives(stream)) == []
    assert rig.tell(pool("a"), 8.0) == []
    assert rig.tell(scrape("a"), 1.0) == [1, 2]
    assert rig.tell(Woken(), 6.0) == [], "they waited for an endpoint, and there is one"
    assert rig.tell(ends(1)) == [3]
    assert isinstance(rig.answers[3], Route)
    assert rig.tell(pool(""), 1.0) == [] and rig.tell(arrives(7), 5.0) == []
    assert rig.tell(Woken(), 4.9) == []
    assert rig.tell(Woken(), 0.2) == [4, 5], "held since the last endpoint went"
    assert rig.tell(pool("ab"), 4.0) == []
    assert rig.tell(scrape("b")) == [7]


REFUSED = (503, "no-endpoints", 5)


def refused(rig: Rig, *streams: int) -> None:
    for stream in streams:
        found = rig.reject(stream)
        assert (found.status, found.reason, found.retry_after_s) == REFUSED


GONE = [a_pool(""), no_scrape("a", "refused"), no_scrape("a", "unreachable"), scrape("a", asleep=True)]


@pytest.mark.parametrize("gone", GONE)
def test_who_waits_when_the_last_endpoint_goes_is_refused_at_once(gone: Event) -> None:
    rig = full()
    assert rig.tell(arrives(4)) == rig.tell(arrives(5, objective="batch")) == []
    assert sorted(rig.tell(gone, 1.0)) == [4, 5]
    refused(rig, 4, 5)
    for stream in (1, 2, 3):
        rig.tell(ends(stream))
    rig.tell(a_pool("a"))
    rig.tell(scrape("a"))
    assert rig.tell(arrives(6)) == [6]
    assert isinstance(rig.answers[6], Route)


@pytest.mark.parametrize("gone", GONE)
def test_with_hold_empty_who_waits_when_the_last_endpoint_goes_is_held_as_long_as_that(gone: Event) -> None:
    rig = full(hold_empty_s=10.0)
    assert rig.tell(arrives(4)) == []
    assert rig.tell(gone, 7.0) == []
    assert rig.tell(arrives(5), 6.0) == []
    assert rig.tell(Woken(), 3.9) == []
    assert rig.tell(Woken(), 0.2) == [4]
    refused(rig, 4)
    assert rig.tell(Woken(), 5.7) == []
    assert rig.tell(Woken(), 0.3) == [5]
    refused(rig, 5)


def test_while_one_endpoint_is_there_those_that_wait_may_wait_for_it() -> None:
    rig = full(names="ab")
    rig.tell(arrives(7))
    for stream in range(1, 7):
        rig.tell(starts(stream))
    assert rig.tell(no_scrape("a"), 1.0) == []
    assert rig.tell(a_pool("b")) == []
    assert rig.tell(no_scrape("b"), 1.0) == [7]
    refused(rig, 7)


def test_only_those_are_refused_whom_nobody_else_may_serve() -> None:
    rig = Rig(FlowSettings(), a_pool("ab"))
    rig.tell(lists("a", ModelCard("x")))
    rig.tell(lists("b", ModelCard("y")))
    for stream in range(1, 9):
        rig.tell(arrives(stream, model="x" if stream % 2 else "y"))
    assert set(rig.answers) == set(range(1, 7))
    assert rig.tell(no_scrape("a"), 1.0) == [7]
    refused(rig, 7)
    assert rig.tell(arrives(9, subset=(address("b"),), model="y")) == []


def test_an_endpoint_that_answers_badly_is_there() -> None:
    rig = full(hold_empty_s=10.0)
    for stream in range(4, 8):
        assert rig.tell(arrives(stream)) == []
    went = [each for stream in (1, 2, 3) for each in rig.tell(ends(stream, "failed", 500))]
    assert went == [4, 5, 6], "it is the only one"


@pytest.mark.parametrize("hold_empty_s", [0.0, 30.0])
def test_a_server_whose_answers_break_off_gets_nobody_who_waits_until_it_was_scraped(
    hold_empty_s: float,
) -> None:
    rig = full(hold_empty_s=hold_empty_s)
    for stream in range(4, 9):
        rig.tell(arrives(stream))
    for stream in (1, 2, 3):
        rig.tell(starts(stream))
        rig.tell(token(stream))
    went = [stream for stream in range(4, 9) if stream in rig.answers]
    for stream in (1, 2, 3, *went):
        assert rig.tell(ends(stream, "failed")) == []
    rest = [stream for stream in range(4, 9) if stream not in went]
    if hold_empty_s:
        assert rig.tell(no_scrape("a"), 0.1) == []
        assert rig.tell(Woken(), 10.0) == []
        [trial] = rig.tell(scrape("a"), 1.0)
        assert trial == rest[0]
        assert rig.tell(token(trial)) == rest[1:2], "a slow start"
    else:
        assert sorted(rig.tell(no_scrape("a"), 0.1)) == rest
        refused(rig, *rest)


def test_one_answer_that_breaks_off_holds_up_those_that_wait_for_a_moment() -> None:
    rig = full()
    rig.tell(arrives(4))
    rig.tell(starts(1))
    assert rig.tell(ends(1, "failed")) == []
    assert rig.tell(scrape("a", 0, 1), 0.2) == [4]
    assert rig.tell(arrives(5)) == []
    rig.tell(starts(2))
    assert rig.tell(ends(2, "failed")) == []
    assert rig.tell(Woken(), 0.9) == []
    assert rig.tell(Woken(), 0.2) == [5], "nobody scrapes it"


def test_a_connection_that_could_not_be_made_is_no_bad_answer() -> None:
    """The data plane tells it at the end, with its own 503."""
    rig = full(hold_empty_s=30.0)
    for stream in range(4, 7):
        rig.tell(arrives(stream))
    refusal = "no_healthy_upstream{delayed connect error: Connection refused}"
    for stream in (1, 2, 3):
        ended = RequestEnded(StreamId(stream), "failed", 503, details=refusal, attempts=2)
        assert rig.tell(ended) == []
    assert rig.tell(no_scrape("a"), 0.1) == []
    assert rig.tell(scrape("a"), 20.0) == [4]


def test_a_server_that_vanished_is_tried_with_one_of_those_that_wait() -> None:
    """What it had breaks off before any scrape tells."""
    rig = full()
    for stream in range(4, 8):
        rig.tell(arrives(stream))
    for stream in (1, 2, 3):
        assert rig.tell(ends(stream, "failed", None)) == []
    assert rig.tell(Woken(), 0.9) == []
    assert rig.tell(Woken(), 0.2) == [4]
    assert rig.tell(Woken(), 1.0) == []
    assert rig.tell(token(4)) == [5], "a slow start"


def test_a_trial_that_nobody_refuses_holds_up_nobody_for_long() -> None:
    rig = full()
    for stream in range(4, 8):
        rig.tell(arrives(stream))
    for stream in (1, 2, 3):
        rig.tell(ends(stream, "failed", None))
    assert rig.tell(Woken(), 1.1) == [4]
    assert rig.tell(Woken(), 4.8) == []
    assert rig.tell(Woken(), 0.3) == [5, 6]


def held(names: str = "a", count: int = 4) -> Rig:
    """So many requests wait for the first endpoint, and these have come without anybody having seen them alive."""
    rig = Rig(FlowSettings(), a_pool(""), hold_empty_s=60.0)
    for stream in range(1, count + 1):
        assert rig.tell(arrives(stream)) == []
    assert rig.tell(a_pool(names), 1.0) == []
    return rig


def test_held_requests_wait_for_an_endpoint_to_be_seen_alive() -> None:
    rig = held()
    assert rig.tell(no_scrape("a"), 0.1) == []
    assert rig.tell(Woken(), 20.0) == [], "nobody listens"
    assert rig.tell(arrives(5)) == [], "who comes now waits with them"
    assert rig.tell(scrape("a"), 1.0) == [1], "its trial"
    assert rig.tell(starts(1)) == [2, 3, 4, 5]


def test_held_requests_go_at_once_where_the_first_scrape_gets_through() -> None:
    rig = held()
    assert rig.tell(scrape("a"), 0.1) == [1, 2, 3, 4]


@pytest.mark.parametrize("said", [None, "timeout", "not-sent"])
def test_where_nobody_can_say_whether_an_endpoint_is_alive_one_request_tries_it(said: str | None) -> None:
    rig = held()
    for _ in range(9):
        assert rig.tell(Woken() if said is None else no_scrape("a", said), 0.5) == []
    assert rig.tell(Woken(), 0.6) == [1]
    assert rig.tell(Woken(), 1.0) == []
    assert rig.tell(starts(1)) == [2, 3, 4]


def test_a_trial_that_fails_costs_one_held_request() -> None:
    rig = held()
    assert rig.tell(Woken(), 5.1) == [1]
    assert rig.tell(starts(1, 503, local=True), 0.1) == []
    assert rig.tell(ends(1, "failed", 503)) == []
    assert rig.tell(Woken(), 1.9) == [], "its rest doubles"
    assert rig.tell(Woken(), 0.2) == [2]


def test_trials_that_fail_make_nobody_wait_longer() -> None:
    rig = held(count=9)
    went: list[int] = []
    while rig.now < 61.5:
        went += rig.tell(Woken(), 0.5)
        for stream in went:
            if isinstance(rig.answers[stream], Route):
                rig.tell(ends(stream, "failed", None))
    assert sorted(went) == list(range(1, 10))
    assert [isinstance(rig.answers[stream], Route) for stream in went] == [True] * 5 + [False] * 4
    refused(rig, *went[5:])


def test_others_are_preferred_to_one_that_nobody_has_seen_alive() -> None:
    rig = full(names="a")
    assert rig.tell(a_pool("ab")) == []
    assert rig.tell(arrives(4)) == []
    assert rig.tell(ends(1)) == [4]
    assert rig.route(4).endpoints == (address("a"), address("b"))


def test_with_a_fallback_nobody_waits_for_a_full_pool() -> None:
    rig = Rig(FlowSettings(), PoolChanged(msgspec.structs.replace(a_pool("a").pool, has_fallback=True)))
    for stream in range(1, 5):
        assert rig.tell(arrives(stream)) == [stream]
    assert (rig.reject(4).status, rig.reject(4).reason) == (429, "saturated")


def test_what_headers_claim_counts_only_where_it_is_trusted() -> None:
    settings = MachineSettings(flow=FlowSettings(), trusted=frozenset({"objective"}))
    machine = PoolMachine(KEY, PROFILES["default"], settings, random.Random(1))
    machine.handle(a_pool("a", objectives={"vip": 5}), 0.0)
    claiming = arrives(1, objective="vip", fairness_id="somebody", slo_ttft_ms=5.0, slo_tpot_ms=5.0)
    [routed, *_] = machine.handle(claiming, 0.0)
    assert isinstance(routed, Route)
    assert (routed.decision.objective, routed.decision.priority) == ("vip", 5)
    queue = machine.view(0.0).queue
    assert queue is not None
    assert [flow.id for flow in queue.flows] == ["m"], "its model stands in for who asks"


def test_a_removed_pool_lets_its_queue_go() -> None:
    rig = full()
    rig.tell(arrives(4))
    assert rig.tell(PoolRemoved()) == []
    assert 4 not in rig.answers  # the hub refuses it


def test_the_same_stream_does_not_come_twice() -> None:
    rig = full()
    rig.tell(arrives(4))
    try:
        rig.machine.handle(RequestArrived(StreamId(4), arrives(4).request), rig.now)
    except ValueError as error:
        assert "already" in str(error)
    else:
        raise AssertionError("taken twice")


def test_with_as_many_seats_as_requests_all_sixty_clients_are_answered() -> None:
    """A closed loop on an engine of 4 seats, in steps: everybody gets through, nobody waits for ever."""
    rig = Rig(FlowSettings(), a_pool("a"), seats=4)
    running: list[int] = []
    for stream in range(1, 61):
        running += rig.tell(arrives(stream))
    done, most = 0, 0
    while running:
        most = max(most, len(running))
        stream = running.pop(0)
        rig.tell(token(stream), 0.5)
        running += rig.tell(ends(stream, "complete", 200, Usage(10, 10, None)), 0.5)
        done += 1
    assert done == 60
    assert most <= 6


def test_a_policy_says_whom_verified_clients_count_as_and_what_they_may_use() -> None:
    rig = full()
    rules = FlowRules(
        "default/fair",
        callers={"alice": Caller("team", 7), "bob": Caller("team", None)},
        shares={"team": ShareSpec(quota=QuotaSpec(60.0, 40.0))},
    )
    pool = a_pool("a", objectives={"batch": -10})
    rig.tell(PoolChanged(msgspec.structs.replace(pool.pool, flow=rules)))
    for stream, client in ((4, "alice"), (5, "bob"), (6, "carol"), (7, None)):
        assert rig.tell(arrives(stream, client=client, max_tokens=10)) == []
    found = rig.machine.view(rig.now).queue
    assert found is not None
    bands = {(each.id, each.band): each.queued for each in found.flows if each.queued}
    assert bands == {("team", 7): 1, ("team", 0): 1, ("carol", 0): 1, ("m", 0): 1}
    assert rig.tell(arrives(8, client="bob", max_tokens=100_000)) == [8]
    refused = rig.reject(8)
    assert (refused.status, refused.reason) == (429, "over-quota")
    assert refused.retry_after_s is not None
    assert rig.tell(arrives(9, client="bob", objective="batch", max_tokens=10)) == []
    rig.tell(PoolChanged(pool.pool))
    assert rig.tell(arrives(10, client="bob", max_tokens=100_000)) == []


def test_a_policy_decides_what_is_believed_of_headers() -> None:
    rig = full()
    pool = a_pool("a", objectives={"vip": 5})
    rules = FlowRules("default/fair", trusted=frozenset({"objective"}))
    rig.tell(PoolChanged(msgspec.structs.replace(pool.pool, flow=rules)))
    rig.tell(arrives(4, client="alice", fairness_id="made-up", objective="vip"))
    found = rig.machine.view(rig.now).queue
    assert found is not None
    assert [(each.id, each.band) for each in found.flows if each.queued] == [("alice", 5)]


def test_the_record_says_how_many_were_before_it() -> None:
    rig = full()
    rig.tell(arrives(4))
    rig.tell(arrives(5, objective="batch"))
    rig.tell(arrives(6, objective="vip"))
    for stream in (1, 2, 3, 4):
        rig.tell(ends(stream), 1.0)
    assert rig.route(1).decision.queued_behind is None
    assert [rig.route(stream).decision.written().queued_behind for stream in (4, 5, 6)] == [0, 1, 0]


def test_a_policy_says_when_an_endpoint_has_its_fill() -> None:
    rig = full()
    rig.tell(arrives(4))
    pool = a_pool("a")
    wide = FlowRules("default/fair", detector=DetectorSpec("Concurrency", max_concurrency=4))
    assert rig.tell(PoolChanged(msgspec.structs.replace(pool.pool, flow=wide))) == [4]
    assert rig.tell(arrives(5)) == []
    queue = FlowRules("default/fair", detector=DetectorSpec("Utilization", queue_depth=2))
    assert rig.tell(PoolChanged(msgspec.structs.replace(pool.pool, flow=queue))) == [5]
    rig.tell(scrape("a", 2, 4))
    assert rig.tell(arrives(6)) == []
    assert rig.tell(scrape("a", 1, 4)) == [6]
    assert rig.tell(PoolChanged(pool.pool)) == []
    assert rig.tell(arrives(7)) == []
