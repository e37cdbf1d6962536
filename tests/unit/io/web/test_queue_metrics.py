"""What flow control did, on the metrics page."""

from msgspec.structs import replace
from prometheus_client.metrics_core import Metric
from tests.unit.flow.flow_builders import a_ticket, controlled, gone, waits
from tests.unit.io.web.test_picker_metrics import POOL

from headgate.flow.control import FlowControl
from headgate.flow.settings import Quota, Share
from headgate.flow.tally import MOST_IDS, OTHER
from headgate.io.web import queue_metrics


def sampled(flow: FlowControl, now: float) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    found: list[Metric] = list(queue_metrics.families([replace(POOL, queue=flow.view(now))]))
    return {
        (each.name, frozenset(each.labels.items())): each.value for family in found for each in family.samples
    }


def labels(**found: str) -> frozenset[tuple[str, str]]:
    return frozenset({**found, "inference_pool": "default/p"}.items())


def test_who_waits_who_went_who_was_refused_and_how_long_it_took() -> None:
    flow = controlled(most_requests=3)
    flow.arrive(a_ticket(1), "a", 0.0, room=True)
    waits(flow, a_ticket(2), "a")
    waits(flow, a_ticket(3), "b")
    leaver = waits(flow, a_ticket(4), "b")
    assert not flow.arrive(a_ticket(5), "b", 0.0, room=False)
    flow.forget(leaver, 0.5)
    assert gone(flow, 2.0, most=1) == [2]
    found = sampled(flow, 2.0)
    for prefix in ("inference_extension_flow_control_", "llm_d_epp_flow_control_"):
        waiting = labels(fairness_id="b", priority="0")
        assert found[f"{prefix}queue_size", waiting] == 1
        assert found[f"{prefix}queue_bytes", waiting] == 10
        ended = {
            outcome: found[f"{prefix}requests_total", labels(outcome=outcome, priority="0")]
            for outcome in ("Dispatched", "RejectedCapacity", "EvictedContextCancelled")
        }
        assert ended == {"Dispatched": 2, "RejectedCapacity": 1, "EvictedContextCancelled": 1}
        went = labels(fairness_id="a", priority="0", outcome="Dispatched")
        name = f"{prefix}request_queue_duration_seconds"
        assert (found[f"{name}_count", went], found[f"{name}_sum", went]) == (1, 2.0)
        assert found[f"{prefix}pool_saturation", labels()] == POOL.saturation
    assert found["headgate_pool_queued_requests", frozenset({("pool", "default/p")})] == 1
    used = "capacity_utilization"
    assert found[f"llm_d_epp_flow_control_{used}_requests", labels(priority="0")] == 1 / 5000
    assert found[f"llm_d_epp_flow_control_global_{used}_requests", labels()] == 1 / 3
    assert found[f"llm_d_epp_flow_control_{used}_bytes", labels(priority="0")] == 10 / 1_000_000_000
    assert found[f"llm_d_epp_flow_control_global_{used}_bytes", labels()] == 10 / 2_000_000_000


def test_an_empty_pool_reads_as_full_and_its_queue_is_shown_while_nobody_waits() -> None:
    empty = replace(POOL, endpoints=(), queue=controlled().view(0.0))
    families = {each.name: each for each in queue_metrics.families([empty])}
    assert families["inference_extension_flow_control_pool_saturation"].samples[0].value == 1.0
    assert families["headgate_pool_queued_requests"].samples[0].value == 0


def test_what_is_left_of_a_quota_is_shown() -> None:
    flow = controlled(other_shares=Share(quota=Quota(tokens_per_minute=600)))
    flow.arrive(a_ticket(1, tokens=100), "a", 0.0, room=True)
    where = frozenset({("pool", "default/p"), ("fairness_id", "a")})
    assert sampled(flow, 5.0)["headgate_flow_quota_left_tokens", where] == 550


def test_names_of_clients_are_labels_up_to_a_bound() -> None:
    flow = controlled()
    for number in range(MOST_IDS + 5):
        waits(flow, a_ticket(number), f"id-{number}")
    gone(flow, 1.0)
    assert {each.id for each in flow.view(1.0).waits} == {
        *(f"id-{number}" for number in range(MOST_IDS)),
        OTHER,
    }
