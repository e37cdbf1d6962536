"""The metrics page after some decisions."""

import re
from pathlib import Path

import msgspec
from msgspec.structs import replace
from prometheus_client.metrics_core import Metric
from prometheus_client.parser import text_string_to_metric_families

from headgate.flow.tally import BOUNDS
from headgate.flow.view import BandView, EndedView, FlowView, QueueView, WaitsView
from headgate.io.web.metrics import PickerMetrics, Reading, resident_bytes
from headgate.model.decisions import Decision
from headgate.model.ids import EndpointId, PoolKey, RequestId, StreamId
from headgate.model.load import Load
from headgate.model.requests import InferenceRequest, Outcome, Usage
from headgate.picker.view import EndpointView, HeldView, PoolView

KEY = PoolKey("default/p")
STREAM = StreamId(1)
REQUEST = InferenceRequest(id=RequestId("r"), api="chat", body_bytes=100)


def endpoint(number: int, waiting: int, condition: str = "up") -> EndpointView:
    return EndpointView(
        endpoint=EndpointId(f"10.0.0.{number}:80"),
        name=f"pod-{number}",
        condition=condition,  # type: ignore[arg-type]
        reason="",
        leaving=False,
        in_flight=number,
        pending_tokens=0,
        context_tokens=0,
        extra_requests=0,
        load=Load("vllm", waiting=waiting, running=2, kv_used=0.5),
        scrape_age_s=0.1,
        scrape_error=None,
        models_error=None,
        prefix_blocks=0,
        prefix_fill=0.0,
        ramp=1.0,
        models=(),
    )


POOL = PoolView(
    pool=KEY,
    policy="default",
    endpoints=(endpoint(1, 4), endpoint(2, 0, "down")),
    saturation=0.25,
    in_flight=3,
    decided=1,
    refused=0,
    prompt_tokens=0,
    matched_tokens=0,
    hit_rate=0.5,
    reported_hit_rate=0.75,
    sessions=HeldView(1, 100),
    kept_answers=HeldView(0, 100),
)


QUEUE = QueueView(
    queued=1,
    bytes=10,
    drain_per_s=None,
    bands=(BandView(band=0, queued=1, bytes=10, oldest_s=0.5),),
    flows=(FlowView(id="a", band=0, queued=1, bytes=10, tokens=5.0, quota_left=7.0),),
    dropped={},
    evicted={-10: 1},
    ended=(EndedView(outcome="Dispatched", band=0, count=1),),
    waits=(WaitsView(id="a", band=0, outcome="Dispatched", counts=(1, *[0] * len(BOUNDS)), total_s=0.001),),
)


def decision(model: str, *, refused: str | None = None) -> Decision:
    chosen = () if refused else (EndpointId("10.0.0.1:80"),)
    return Decision(
        request_id=RequestId("r"), pool=KEY, policy="x", at=0.0, model=model, chosen=chosen, refused=refused
    )


def metrics() -> PickerMetrics:
    return PickerMetrics(
        lambda: Reading((msgspec.structs.replace(POOL, queue=QUEUE),), 3, 1, "python"),
        lambda pool, name: True,
        lambda pool, name: name == "known",
    )


def test_requests_and_outcomes() -> None:
    work = metrics()
    work.counts.decided(STREAM, REQUEST, decision("m"), 0.0005)
    work.counts.decided(StreamId(2), REQUEST, decision("m", refused="saturated"), 0.0005)
    outcome = Outcome(ending="failed", status=502, ttft_s=0.1, duration_s=1.0, usage=Usage(10, 5, 8))
    work.counts.concluded(STREAM, outcome)
    lines = work.page().decode().splitlines()
    labels = 'model_name="m",target_model_name="m"'
    for line in (
        f"inference_objective_request_total{{{labels}}} 2.0",
        f'inference_objective_request_error_total{{error_code="saturated",{labels}}} 1.0',
        f'inference_objective_request_error_total{{error_code="ModelServerError",{labels}}} 1.0',
        f"inference_objective_running_requests{{{labels}}} 0.0",
        f"inference_objective_input_tokens_sum{{{labels}}} 10.0",
        f"inference_objective_output_tokens_sum{{{labels}}} 5.0",
        f"inference_objective_request_ttft_seconds_count{{{labels}}} 1.0",
        f"inference_objective_request_sizes_sum{{{labels}}} 200.0",
        "inference_extension_scheduler_e2e_duration_seconds_count 2.0",
        'inference_extension_scheduler_attempts_total{status="failure",target_model_name="m"} 1.0',
    ):
        assert line in lines


def test_what_is_asked_of_pools_and_models_is_on_the_page() -> None:
    work = metrics()
    for number, name in enumerate(("known", "unknown")):
        shed = msgspec.structs.replace(decision("m", refused="saturated"), objective=name, priority=-2)
        work.counts.decided(StreamId(10 + number), REQUEST, shed, 0.0)
    for number, pool in enumerate(("default/p", "default/p", "default/q")):
        routed = msgspec.structs.replace(decision("m"), pool=PoolKey(pool), target_model=f"m-{number}")
        work.counts.decided(StreamId(number), REQUEST, routed, 0.0)
        outcome = Outcome("complete", 200 + 300 * number, None, 0.1, 1.0, Usage(10, 5, 8))
        work.counts.concluded(StreamId(number), outcome)
    lines = work.page().decode().splitlines()
    here, there = 'model="m",pool="default/p"', 'model="m",pool="default/q"'
    for line in (
        f'headgate_requests_total{{{here},status="2xx"}} 1.0',
        f'headgate_requests_total{{{here},status="5xx"}} 1.0',
        f'headgate_requests_total{{{here},status="4xx"}} 2.0',
        f'headgate_requests_total{{{there},status="none"}} 1.0',
        f'headgate_request_errors_total{{{here},reason="server-5xx"}} 1.0',
        f'headgate_request_errors_total{{{here},reason="saturated"}} 2.0',
        f"headgate_request_ttft_seconds_count{{{here}}} 2.0",
        f"headgate_request_duration_seconds_sum{{{there}}} 1.0",
        f"headgate_prompt_tokens_total{{{here}}} 20.0",
        f"headgate_cached_prompt_tokens_total{{{here}}} 16.0",
        'headgate_requests_shed_total{objective="known",pool="default/p",priority="-2",reason="saturated"} 1.0',
        'headgate_requests_shed_total{objective="other",pool="default/p",priority="-2",reason="saturated"} 1.0',
        'headgate_endpoint_state{endpoint="10.0.0.1:80",pool="default/p",state="up"} 1.0',
        'headgate_endpoint_state{endpoint="10.0.0.2:80",pool="default/p",state="up"} 0.0',
        'headgate_endpoint_state{endpoint="10.0.0.2:80",pool="default/p",state="down"} 1.0',
        'headgate_pool_reported_prefix_hit_rate{pool="default/p"} 0.75',
    ):
        assert line in lines


def test_names_of_the_inference_extension_are_sums_over_pools() -> None:
    work = metrics()
    for number, pool in enumerate(("default/p", "default/q")):
        routed = msgspec.structs.replace(decision("m"), pool=PoolKey(pool))
        work.counts.decided(StreamId(number), REQUEST, routed, 0.0)
        work.counts.concluded(StreamId(number), Outcome("complete", 200, None, 0.1, 1.0))
    lines = work.page().decode().splitlines()
    labels = 'model_name="m",target_model_name="m"'
    assert f"inference_objective_request_total{{{labels}}} 2.0" in lines
    assert f"inference_objective_request_ttft_seconds_count{{{labels}}} 2.0" in lines


FAMILIES = {
    "inference_objective_request": "counter",
    "inference_objective_request_error": "counter",
    "inference_objective_running_requests": "gauge",
    "inference_objective_request_duration_seconds": "histogram",
    "inference_objective_request_sizes": "histogram",
    "inference_objective_input_tokens": "histogram",
    "inference_objective_output_tokens": "histogram",
    "inference_objective_prompt_cached_tokens": "histogram",
    "inference_objective_request_ttft_seconds": "histogram",
    "inference_extension_scheduler_e2e_duration_seconds": "histogram",
    "inference_extension_scheduler_attempts": "counter",
    "inference_pool_average_kv_cache_utilization": "gauge",
    "inference_pool_average_queue_size": "gauge",
    "inference_pool_average_running_requests": "gauge",
    "inference_pool_ready_pods": "gauge",
    "inference_pool_ready_endpoints": "gauge",
    "inference_pool_per_pod_queue_size": "gauge",
    "headgate_requests": "counter",
    "headgate_request_errors": "counter",
    "headgate_request_ttft_seconds": "histogram",
    "headgate_request_duration_seconds": "histogram",
    "headgate_prompt_tokens": "counter",
    "headgate_cached_prompt_tokens": "counter",
    "headgate_requests_shed": "counter",
    "headgate_session_requests": "counter",
    "headgate_prior_requests": "counter",
    "headgate_endpoint_state": "gauge",
    "headgate_endpoint_in_flight": "gauge",
    "headgate_pool_reported_prefix_hit_rate": "gauge",
    "headgate_pool_saturation": "gauge",
    "headgate_pool_prefix_hit_rate": "gauge",
    "headgate_pool_queued_requests": "gauge",
    "headgate_flow_quota_left_tokens": "gauge",
    "headgate_flow_evicted_requests": "counter",
    "inference_extension_flow_control_queue_size": "gauge",
    "inference_extension_flow_control_queue_bytes": "gauge",
    "inference_extension_flow_control_requests": "counter",
    "inference_extension_flow_control_request_queue_duration_seconds": "histogram",
    "inference_extension_flow_control_pool_saturation": "gauge",
    "llm_d_epp_flow_control_queue_size": "gauge",
    "llm_d_epp_flow_control_queue_bytes": "gauge",
    "llm_d_epp_flow_control_requests": "counter",
    "llm_d_epp_flow_control_request_queue_duration_seconds": "histogram",
    "llm_d_epp_flow_control_pool_saturation": "gauge",
    "llm_d_epp_flow_control_capacity_utilization_requests": "gauge",
    "llm_d_epp_flow_control_capacity_utilization_bytes": "gauge",
    "llm_d_epp_flow_control_global_capacity_utilization_requests": "gauge",
    "llm_d_epp_flow_control_global_capacity_utilization_bytes": "gauge",
    "inference_extension_flow_control_dispatch_cycle_duration_seconds": "histogram",
    "llm_d_epp_flow_control_dispatch_cycle_duration_seconds": "histogram",
    "headgate_extproc_streams": "gauge",
    "headgate_info": "gauge",
    "process_resident_memory_bytes": "gauge",
}
"""What dashboards and alerts are built on."""


def test_names_and_types_are_kept() -> None:
    work = metrics()
    empty = {family.name: family.type for family in parsed(work)}
    work.counts.decided(STREAM, REQUEST, decision("m"), 0.0005)
    assert {family.name: family.type for family in parsed(work)} == empty == FAMILIES


def test_the_documentation_has_every_family_with_its_type_and_labels() -> None:
    text = (Path(__file__).parents[4] / "docs" / "metrics.md").read_text().split("## Answers that")[0]
    rows = re.findall(r"^\| `(\w+)` \| (\w+) \|([\w, ]*)\|", text, re.MULTILINE)
    work = metrics()
    work.counts.decided(STREAM, REQUEST, decision("m"), 0.0005)
    work.counts.decided(StreamId(2), REQUEST, decision("m", refused="saturated"), 0.0005)
    work.counts.decided(StreamId(3), REQUEST, replace(decision("m"), session="new", prior="held"), 0.0005)
    work.counts.concluded(STREAM, Outcome("complete", 500, usage=Usage(10, 5, 8)))
    real = {
        family.name + ("_total" if family.type == "counter" else ""): (
            family.type,
            {name for sample in family.samples for name in sample.labels} - {"le"},
        )
        for family in parsed(work)
    }
    documented = {
        name: (type_, set(filter(None, labels.strip().split(", ")))) for name, type_, labels in rows
    }
    assert documented == real


def parsed(work: PickerMetrics) -> list[Metric]:
    return list(text_string_to_metric_families(work.page().decode()))


def test_histograms_are_cumulative_up_to_infinity() -> None:
    work = metrics()
    for ttft_s in (0.005, 0.3, 0.4, 1.0, 1e6):
        work.counts.decided(STREAM, REQUEST, decision("m"), ttft_s / 1000)
        work.counts.concluded(STREAM, Outcome(ending="complete", ttft_s=ttft_s, duration_s=0.0))
    found = {family.name: family for family in parsed(work)}
    samples = found["inference_objective_request_ttft_seconds"].samples
    buckets = {sample.labels["le"]: sample.value for sample in samples if sample.name.endswith("_bucket")}
    assert (buckets["0.005"], buckets["0.2"], buckets["0.4"], buckets["0.8"]) == (1, 1, 3, 3)
    assert (buckets["1.6"], buckets["300.0"], buckets["+Inf"]) == (4, 4, 5)
    for family in found.values():
        if family.type != "histogram":
            continue
        values = [sample.value for sample in family.samples if sample.name.endswith("_bucket")]
        bounds = [sample.labels["le"] for sample in family.samples if sample.name.endswith("_bucket")]
        (count,) = [sample.value for sample in family.samples if sample.name.endswith("_count")]
        assert values == sorted(values), family.name
        assert (bounds[-1], values[-1]) == ("+Inf", count), family.name
        assert list(map(float, bounds)) == sorted(map(float, bounds)), family.name
        assert len([sample for sample in family.samples if sample.name.endswith("_sum")]) == 1


def test_model_names_of_any_letters_stay_one_label() -> None:
    work = metrics()
    name = 'a"b\\c\nd é'
    work.counts.decided(STREAM, REQUEST, decision(name), 0.0)
    (total,) = [family for family in parsed(work) if family.name == "inference_objective_request"]
    assert [sample.labels["model_name"] for sample in total.samples] == [name]


def test_pools_are_read_when_asked() -> None:
    lines = metrics().page().decode().splitlines()
    pod = 'endpoint="10.0.0.1:80",model_server_pod="pod-1",name="default/p"'
    for line in (
        'inference_pool_average_queue_size{name="default/p"} 2.0',
        'inference_pool_average_kv_cache_utilization{name="default/p"} 0.5',
        'inference_pool_ready_pods{name="default/p"} 1.0',
        f"inference_pool_per_pod_queue_size{{{pod}}} 4.0",
        'headgate_endpoint_in_flight{endpoint="10.0.0.2:80",pool="default/p"} 2.0',
        'headgate_extproc_streams{state="open"} 3.0',
        'headgate_pool_saturation{pool="default/p"} 0.25',
    ):
        assert line in lines


def test_clients_cannot_make_labels() -> None:
    work = PickerMetrics(
        lambda: Reading((POOL,), 3, 1, "python"), lambda pool, name: name == "m", lambda pool, name: True
    )
    before = len(work.page())
    for number in range(200):
        work.counts.decided(STREAM, REQUEST, decision(f"invented-{number}", refused="unknown-model"), 0.0)
    page = work.page().decode()
    assert 'inference_objective_request_total{model_name="other",target_model_name="other"} 200.0' in page
    assert "invented" not in page
    assert len(page) < before + 20_000


def test_memory_is_known() -> None:
    assert resident_bytes() > 1_000_000
