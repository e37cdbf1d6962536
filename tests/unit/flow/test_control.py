"""Who waits, who goes, who is refused."""

import tracemalloc

import pytest
from msgspec.structs import replace
from tests.unit.flow.flow_builders import a_ticket, controlled, gone, refusals, waits

from headgate.flow.ordering.earliest_deadline import EarliestDeadline
from headgate.flow.settings import BandSettings, Quota, Share


def test_with_room_and_nobody_waiting_a_request_goes_at_once() -> None:
    flow = controlled()
    ticket = a_ticket(1)
    assert flow.arrive(ticket, "a", 0.0, room=True)
    assert flow.waiting == 0
    flow.check()
    [view] = flow.view(0.0).flows
    assert (view.id, view.queued, view.running, view.tokens) == ("a", 0, 1, 100.0)
    flow.ended(ticket, 70.0, 1.0)
    flow.check()
    [view] = flow.view(1.0).flows
    assert (view.running, view.tokens) == (0, 70.0)


def test_nobody_overtakes_those_that_wait() -> None:
    flow = controlled()
    waits(flow, a_ticket(1))
    assert not flow.arrive(a_ticket(2), "a", 0.0, room=True)
    assert gone(flow) == [1, 2]


def test_higher_bands_go_first_and_each_in_the_order_of_arrival() -> None:
    flow = controlled()
    for key, priority in enumerate([0, -10, 5, 0, 5, -10]):
        waits(flow, a_ticket(key, priority))
    assert gone(flow) == [2, 4, 0, 3, 1, 5]


def test_who_left_is_not_served_and_frees_its_place() -> None:
    flow = controlled(most_requests=2)
    first, second = waits(flow, a_ticket(1)), waits(flow, a_ticket(2))
    flow.forget(first, 0.1)
    flow.forget(first, 0.1)
    flow.check()
    waits(flow, a_ticket(3))
    flow.forget(second, 0.2)
    assert gone(flow) == [3]
    assert refusals(flow) == []


def test_no_room_for_one_kind_holds_up_no_other() -> None:
    flow = controlled()
    waits(flow, a_ticket(1, kind="full"))
    waits(flow, a_ticket(2, kind="free"))
    asked: list[object] = []

    def room(kind: object) -> bool:
        asked.append(kind)
        return kind == "free"

    found = flow.next(0.0, room)
    assert found is not None
    assert found.key == 2
    assert flow.next(0.0, room) is None
    assert flow.waiting == 1


def test_kinds_with_equal_priority_take_turns() -> None:
    flow = controlled()
    for key in range(6):
        waits(flow, a_ticket(key, kind="x" if key < 3 else "y"))
    assert gone(flow) == [0, 3, 1, 4, 2, 5]


def test_a_request_of_another_kind_now_is_found_there() -> None:
    flow = controlled()
    for key in range(4):
        waits(flow, a_ticket(key, kind="old"), "ab"[key % 2])
    flow.regroup(lambda ticket: "new" if ticket.key > 0 else "old")
    flow.check()
    found = []
    while (ticket := flow.next(0.0, lambda kind: kind == "new")) is not None:
        found.append(ticket.key)
    assert found == [1, 2, 3]
    assert flow.waiting == 1


def test_a_request_that_waited_too_long_is_dropped() -> None:
    flow = controlled(other_bands=BandSettings(ttl_s=60.0))
    waits(flow, a_ticket(1), now=10.0)
    assert flow.wake_at == 70.0
    flow.expire(69.9)
    assert refusals(flow) == []
    flow.expire(70.0)
    assert refusals(flow) == [(1, "ttl-expired", 5)]
    assert flow.wake_at == float("inf")
    flow.check()
    assert gone(flow, 71.0) == []


def test_the_most_urgent_goes_first_and_the_doomed_never() -> None:
    flow = controlled(other_bands=BandSettings(ordering=EarliestDeadline()))
    for key, deadline in enumerate([None, 9.0, 3.0, 1.0, 6.0]):
        waits(flow, a_ticket(key, deadline=deadline))
    ticket = flow.next(2.0, lambda kind: True, soonest_s=1.5)
    assert ticket is not None
    assert ticket.key == 4  # 3 is past its deadline, 2 cannot make it any more
    assert [(key, reason) for key, reason, _ in refusals(flow)] == [(3, "deadline"), (2, "deadline")]
    assert gone(flow, 2.0) == [1, 0]


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"most_requests": 2}, "2 requests with 20 bytes"),
        ({"most_bytes": 25}, "2 requests with 20 bytes"),
        ({"other_bands": BandSettings(most_requests=2)}, "2 requests of priority 0"),
        ({"other_bands": BandSettings(most_bytes=29)}, "20 bytes of priority 0"),
        ({"other_shares": Share(most_requests=2)}, "2 requests of 'a'"),
        ({"shares": {"a": Share(most_bytes=29)}}, "20 bytes of 'a'"),
    ],
)
def test_a_full_queue_refuses(settings: dict[str, object], says: str) -> None:
    flow = controlled(**settings)
    waits(flow, a_ticket(1))
    waits(flow, a_ticket(2))
    assert not flow.arrive(a_ticket(3), "a", 0.0, room=False)
    flow.check()
    [dropped] = flow.dropped()
    assert dropped.reason == "queue-full"
    assert says in dropped.message
    assert gone(flow) == [1, 2]


def test_a_more_important_request_takes_the_place_of_the_newest_of_the_least_important() -> None:
    flow = controlled(most_requests=3)
    for key, priority in enumerate([-10, -10, 0]):
        waits(flow, a_ticket(key, priority))
    assert not flow.arrive(a_ticket(3, 5), "a", 0.0, room=False)
    flow.check()
    assert [(key, reason) for key, reason, _ in refusals(flow)] == [(1, "displaced")]
    assert not flow.arrive(a_ticket(4, -10), "a", 0.0, room=False)
    assert [(key, reason) for key, reason, _ in refusals(flow)] == [(4, "queue-full")]
    assert gone(flow) == [3, 2, 0]


def test_nobody_is_displaced_for_a_request_that_finds_no_place_anyway() -> None:
    flow = controlled(most_bytes=100)
    waits(flow, a_ticket(1, -1, size=30))
    waits(flow, a_ticket(2, 5, size=60))
    assert not flow.arrive(a_ticket(3, 5, size=60), "a", 0.0, room=False)
    assert [key for key, _, _ in refusals(flow)] == [3]
    assert gone(flow) == [2, 1]


def test_retry_after_is_what_the_queue_needs_at_the_pace_it_was_seen_to_have() -> None:
    flow = controlled(most_requests=100)
    for key in range(100):
        waits(flow, a_ticket(key))
    for second in range(1, 51):
        assert len(gone(flow, float(second), most=2)) == 2
        for each in range(2):
            waits(flow, a_ticket(1000 + 2 * second + each), now=float(second))
    assert flow.view(50.0).drain_per_s == pytest.approx(2.0, rel=0.05)
    assert not flow.arrive(a_ticket(5000), "a", 50.0, room=False)
    [(_, _, retry_after_s)] = refusals(flow)
    assert retry_after_s == pytest.approx(50, abs=2)
    assert not flow.arrive(a_ticket(5001, 7, size=10**12), "a", 50.0, room=False)
    [(_, _, retry_after_s)] = refusals(flow)
    assert retry_after_s == 1  # nobody would go before it


def test_lower_bands_get_a_turn_when_they_have_waited_long_enough() -> None:
    flow = controlled(ageing_s=10.0, ageing_every=4)
    for key in range(12):
        waits(flow, a_ticket(key, 5))
    for key in range(100, 104):
        waits(flow, a_ticket(key, -10))
    waits(flow, a_ticket(200, 0), now=5.0)
    assert gone(flow, 9.9, most=4) == [0, 1, 2, 3]
    # At 10 the lowest band has waited long enough; the one in between has not.
    assert gone(flow, 10.0, most=6) == [100, 4, 5, 6, 7, 8]
    # The lowest has had its turn at 10; now the other one has waited for more than 10 s.
    assert gone(flow, 19.9) == [200, 9, 10, 11, 101, 102, 103]


def test_over_quota_is_refused_until_there_are_tokens_for_it() -> None:
    share = Share(quota=Quota(tokens_per_minute=600, burst_tokens=1000))
    flow = controlled(shares={"a": share})
    first = a_ticket(1, tokens=900)
    assert flow.arrive(first, "a", 0.0, room=True)
    assert not flow.arrive(a_ticket(2, tokens=300), "a", 0.0, room=True)
    [dropped] = flow.dropped()
    assert (dropped.reason, dropped.retry_after_s) == ("over-quota", 20)  # 200 are missing, 10 come a second
    assert "600 tokens a minute" in dropped.message
    assert flow.arrive(a_ticket(3, tokens=300), "b", 0.0, room=True)
    assert not flow.arrive(a_ticket(4, tokens=300), "a", 19.0, room=True)
    assert refusals(flow) == [(4, "over-quota", 1)]
    assert flow.arrive(a_ticket(5, tokens=300), "a", 20.0, room=True)
    # The real usage counts: what the first one did not use can be used again, what it used too much cannot.
    flow.ended(first, 100.0, 20.0)
    assert flow.view(20.0).flows[0].quota_left == pytest.approx(800.0)
    assert flow.arrive(a_ticket(6, tokens=800), "a", 20.0, room=True)
    flow.check()


def test_a_request_larger_than_the_burst_goes_when_the_bucket_is_full_and_is_paid_for_later() -> None:
    flow = controlled(other_shares=Share(quota=Quota(tokens_per_minute=60)))
    ticket = a_ticket(1, tokens=600)
    assert flow.arrive(ticket, "a", 0.0, room=True)
    assert not flow.arrive(a_ticket(2, tokens=1), "a", 0.0, room=True)
    assert refusals(flow) == [(2, "over-quota", 541)]  # known, however long; that of a queue is a guess
    flow.ended(ticket, 600.0, 100.0)
    assert flow.view(540.0).flows[0].quota_left == pytest.approx(0.0)


def test_who_was_dropped_or_left_gets_its_tokens_back() -> None:
    flow = controlled(other_shares=Share(quota=Quota(tokens_per_minute=60)), most_requests=1)
    first = waits(flow, a_ticket(1, tokens=30))
    assert not flow.arrive(a_ticket(2, tokens=30), "a", 0.0, room=False)
    assert [reason for _, reason, _ in refusals(flow)] == ["queue-full"]
    flow.forget(first, 0.0)
    assert flow.arrive(a_ticket(3, tokens=60), "a", 0.0, room=True)


def test_other_shares_hold_from_now_on() -> None:
    flow = controlled()
    waits(flow, a_ticket(1, tokens=500), "a")
    shares = {"a": Share(quota=Quota(tokens_per_minute=60))}
    flow.configure(replace(flow.settings, shares=shares, other_shares=Share(weight=3.0)), 1.0)
    assert not flow.arrive(a_ticket(2, tokens=500), "b", 1.0, room=False)
    views = {view.id: view for view in flow.view(1.0).flows}
    assert views["a"].quota_left == 60.0
    assert (views["a"].weight, views["b"].weight) == (1.0, 3.0)
    flow.check()


def test_other_bands_hold_for_those_that_wait_too() -> None:
    flow = controlled()
    waits(flow, a_ticket(1, deadline=90.0))
    waits(flow, a_ticket(2, deadline=10.0))
    bands = {0: BandSettings(ordering=EarliestDeadline(), most_requests=1)}
    flow.configure(replace(flow.settings, bands=bands), 1.0)
    flow.check()
    assert not flow.arrive(a_ticket(3), "a", 1.0, room=False)
    assert [reason for _, reason, _ in refusals(flow)] == ["queue-full"]
    assert gone(flow, 1.0) == [2, 1]


def test_a_queue_that_is_stopped_drops_everybody() -> None:
    flow = controlled()
    waits(flow, a_ticket(1))
    waits(flow, a_ticket(2, 5))
    flow.stop(1.0)
    assert sorted(refusals(flow)) == [(1, "stopped", None), (2, "stopped", None)]
    assert flow.view(1.0).dropped == {"stopped": 2}
    flow.check()


def test_idle_flows_are_forgotten() -> None:
    flow = controlled(most_accounts=10)
    for key in range(100):
        ticket = a_ticket(key)
        assert flow.arrive(ticket, f"client-{key}", float(key), room=True)
        flow.ended(ticket, None, float(key))
    flow.check()
    assert [view.id for view in flow.view(100.0).flows] == sorted(f"client-{key}" for key in range(90, 100))


def test_what_a_named_flow_used_is_not_forgotten_however_many_others_come() -> None:
    quota = Quota(tokens_per_minute=60, burst_tokens=100)
    flow = controlled(most_accounts=10, shares={"a": Share(quota=quota), "b": Share(quota=quota)})
    for key, who in enumerate(["a", "b", *(f"client-{number}" for number in range(1000))]):
        ticket = a_ticket(key)
        assert flow.arrive(ticket, who, 0.0, room=True)
        flow.ended(ticket, None, 0.0)
        flow.check()
    for who in ("a", "b"):
        assert not flow.arrive(a_ticket(5000), who, 0.0, room=True)
        assert refusals(flow) == [(5000, "over-quota", 100)]
    assert len(flow.view(0.0).flows) == 10


def test_nobody_there_is_no_contention() -> None:
    """Requests that wait for the first endpoint are refused for want of one, whatever was full."""
    flow = controlled(most_requests=2)
    tickets = [a_ticket(number) for number in range(3)]
    for ticket in tickets:
        ticket.bound = True
        assert not flow.arrive(ticket, "a", 0.0, room=False)
    assert [reason for _, reason, _ in refusals(flow)] == ["no-endpoints"]
    assert not flow.arrive(a_ticket(4, priority=1), "a", 0.0, room=False)
    assert [(key, reason) for key, reason, _ in refusals(flow)] == [(1, "no-endpoints")]
    flow.expire(61.0)
    assert [(key, reason) for key, reason, _ in refusals(flow)] == [
        (0, "no-endpoints"),
        (4, "ttl-expired"),
    ]
    ended = {(each.outcome, each.band): each.count for each in flow.view(61.0).ended}
    assert ended == {
        ("RejectedNoEndpoints", 0): 1,
        ("EvictedNoEndpoints", 0): 2,
        ("EvictedTTL", 1): 1,
    }
    flow.check()


def test_one_flow_of_many_kinds_keeps_few_of_them() -> None:
    flow = controlled()
    waits(flow, a_ticket(0, kind="never served"))
    for key in range(1, 500):
        waits(flow, a_ticket(key, kind=key))
        ticket = flow.next(0.0, lambda kind: kind != "never served")
        assert ticket is not None
    flow.check()
    assert len(flow._lanes) <= 65


def test_queued_requests_cost_little_memory() -> None:
    flow = controlled()
    tracemalloc.start()
    try:
        for key in range(5000):
            flow.arrive(a_ticket(key), f"client-{key % 500}", 0.001 * key, room=False)
        used, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert flow.waiting == 5000
    assert used / 5000 < 1000


def test_many_that_leave_are_not_kept() -> None:
    flow = controlled()
    stays = waits(flow, a_ticket(0), now=0.0)
    for key in range(1, 5000):
        ticket = a_ticket(key)
        flow.arrive(ticket, "a", 0.0, room=False)
        flow.forget(ticket, 0.0)
    flow.check()
    assert stays.flow is not None
    assert stays.flow.heap.size() < 100
    assert flow._expiry.size() < 100
