"""What is counted of requests, beside the library's own histogram."""

from typing import get_args

import hypothesis.strategies as st
import msgspec
import pytest
from hypothesis import given
from prometheus_client import CollectorRegistry
from prometheus_client import Histogram as LibraryHistogram
from tests.choices import a_choice

from headgate.io.web.counts import (
    LATENCY,
    OTHER,
    SCHEDULER,
    SERIES_LIMIT,
    SIZES,
    TOKENS,
    TTFT,
    Counts,
    Histogram,
)
from headgate.model.decisions import Decision
from headgate.model.ids import PoolKey, RequestId, StreamId
from headgate.model.requests import InferenceRequest, Outcome, Usage
from headgate.picker.actions import Reason

REQUEST = InferenceRequest(id=RequestId("r"), api="chat", body_bytes=100)
STREAM = StreamId(0)
EVERY = (LATENCY, TTFT, SIZES, TOKENS, SCHEDULER)


def everything(pool: PoolKey, name: str) -> bool:
    """Every name is known."""
    return True


def refused(model: str | None, reason: str | None = "saturated") -> Decision:
    return Decision(
        request_id=RequestId("r"), pool=PoolKey("d/p"), policy="x", at=0.0, model=model, refused=reason
    )


def totals(histogram: Histogram) -> tuple[int, float]:
    return sum(histogram.counts), histogram.total


@given(
    bounds=st.sampled_from(EVERY),
    values=st.lists(st.sampled_from([bound for each in EVERY for bound in each]) | st.floats(-1.0, 1e9)),
)
def test_values_are_counted_where_the_library_counts_them(
    bounds: tuple[float, ...], values: list[float]
) -> None:
    registry = CollectorRegistry()
    library = LibraryHistogram("h", "x", buckets=bounds, registry=registry)
    ours = Histogram(bounds)
    for value in values:
        library.observe(value)
        ours.observe(value)
    (family,) = registry.collect()
    cumulative = [sample.value for sample in family.samples if sample.name == "h_bucket"]
    assert [sum(ours.counts[: end + 1]) for end in range(len(ours.counts))] == cumulative
    assert ours.total == registry.get_sample_value("h_sum")


@pytest.mark.parametrize("bounds", EVERY)
def test_bounds_grow(bounds: tuple[float, ...]) -> None:
    assert list(bounds) == sorted(set(bounds))


def test_a_routed_request_runs_until_it_is_concluded() -> None:
    counts = Counts(everything, everything)
    choice = a_choice(model="m", target_model="m-lora")
    counts.decided(STREAM, REQUEST, choice, 0.0005)
    series = counts.series["default/p", "m", "m-lora"]
    assert (series.routed, series.refused, series.running, dict(series.errors)) == (1, 0, 1, {})
    assert totals(series.sizes) == (1, 100.0)
    assert totals(counts.scheduler) == (1, 0.0005)
    counts.concluded(STREAM, Outcome("complete", 200, None, 0.1, 1.0, Usage(10, 5, 8)))
    assert (series.routed, series.running, dict(series.errors)) == (1, 0, {})
    assert [totals(each) for each in (series.ttft, series.duration)] == [(1, 0.1), (1, 1.0)]
    tokens = (series.input_tokens, series.output_tokens, series.cached_tokens)
    assert [totals(each) for each in tokens] == [(1, 10.0), (1, 5.0), (1, 8.0)]


def test_what_nobody_told_is_not_counted() -> None:
    counts = Counts(everything, everything)
    counts.decided(STREAM, REQUEST, a_choice(model="m"), 0.0)
    counts.concluded(STREAM, Outcome("lost", usage=Usage(10, 5)))
    series = counts.series["default/p", "m", "m"]
    assert [totals(each)[0] for each in (series.ttft, series.duration, series.cached_tokens)] == [0, 0, 0]
    assert totals(series.input_tokens) == (1, 10.0)


def test_a_refused_request_never_runs() -> None:
    counts = Counts(everything, everything)
    for reason in ("saturated", "saturated", None):
        counts.decided(STREAM, REQUEST, refused(None, reason), 0.0)
    series = counts.series["d/p", "", ""]
    assert (series.routed, series.refused, series.running) == (0, 3, 0)
    assert dict(series.errors) == {"saturated": 2, "unknown": 1}


@pytest.mark.parametrize(
    ("outcome", "errors"),
    [
        (Outcome("complete", 200), 0),
        (Outcome("complete", 500), 1),
        (Outcome("complete", 429), 1),
        (Outcome("failed"), 1),
        (Outcome("aborted", 200), 0),
        (Outcome("lost"), 0),
        (Outcome("evicted", 429), 0),
    ],
)
def test_a_servers_errors(outcome: Outcome, errors: int) -> None:
    counts = Counts(everything, everything)
    counts.decided(STREAM, REQUEST, a_choice(model="m"), 0.0)
    counts.concluded(STREAM, outcome)
    assert counts.series["default/p", "m", "m"].errors["ModelServerError"] == errors


@pytest.mark.parametrize(
    ("outcome", "status", "reasons"),
    [
        (Outcome("complete", 200), "2xx", {}),
        (Outcome("complete", 500), "5xx", {"server-5xx": 1}),
        (Outcome("complete", 429), "4xx", {"server-4xx": 1}),
        (Outcome("failed", 502), "5xx", {"failed": 1}),
        (Outcome("aborted"), "none", {"aborted": 1}),
        (Outcome("lost", 99_999), "none", {"lost": 1}),
    ],
)
def test_ends_are_counted_by_status_class_and_reason(
    outcome: Outcome, status: str, reasons: dict[str, int]
) -> None:
    counts = Counts(everything, everything)
    counts.decided(STREAM, REQUEST, a_choice(model="m"), 0.0)
    counts.concluded(STREAM, outcome)
    (series,) = counts.series.values()
    assert (dict(series.statuses), dict(series.ended)) == ({status: 1}, reasons)


def test_every_refusal_has_the_class_of_its_status() -> None:
    classes = {
        "saturated": "4xx",
        "over-quota": "4xx",
        "queue-full": "4xx",
        "displaced": "4xx",
        "evicted": "4xx",
        "ttl-expired": "4xx",
        "deadline": "4xx",
        "no-endpoints": "5xx",
        "unknown-model": "4xx",
        "no-target-model": "5xx",
        "unknown-pool": "5xx",
        "bad-request": "4xx",
        "too-large": "4xx",
    }
    for reason in get_args(Reason):
        counts = Counts(everything, everything)
        counts.decided(STREAM, REQUEST, refused("m", reason), 0.0)
        (series,) = counts.series.values()
        assert dict(series.statuses) == {classes[reason]: 1}
        assert dict(series.ended) == {reason: 1}


def test_who_was_shed_is_counted_by_priority_and_configured_objective() -> None:
    counts = Counts(everything, lambda pool, name: name == "batch")
    for objective in ("batch", "batch", None, *(f"invented-{number}" for number in range(500))):
        decision = msgspec.structs.replace(refused("m"), objective=objective, priority=-1)
        counts.decided(STREAM, REQUEST, decision, 0.0)
    assert counts.shed == {
        ("d/p", -1, "batch", "saturated"): 2,
        ("d/p", -1, "", "saturated"): 1,
        ("d/p", -1, OTHER, "saturated"): 500,
    }


def test_who_was_shed_has_an_end() -> None:
    counts = Counts(everything, everything)
    for priority in range(SERIES_LIMIT + 50):
        decision = msgspec.structs.replace(refused("m"), priority=priority)
        counts.decided(STREAM, REQUEST, decision, 0.0)
    assert len(counts.shed) == SERIES_LIMIT + 1
    assert sum(counts.shed.values()) == SERIES_LIMIT + 50


def test_hits_are_counted_of_answers_that_tell_them() -> None:
    counts = Counts(everything, everything)
    for number, cached in enumerate((8, None)):
        counts.decided(StreamId(number), REQUEST, a_choice(model="m"), 0.0)
        counts.concluded(StreamId(number), Outcome("complete", 200, usage=Usage(10, 5, cached)))
    (series,) = counts.series.values()
    assert (series.prompt_tokens, series.reused_tokens) == (10, 8)


def test_series_have_an_end() -> None:
    counts = Counts(everything, everything)
    for number in range(SERIES_LIMIT + 50):
        counts.decided(StreamId(number), REQUEST, a_choice(model=f"m{number}"), 0.0)
    assert len(counts.series) == SERIES_LIMIT + 1
    assert counts.series["", OTHER, OTHER].routed == 50
    counts.concluded(StreamId(SERIES_LIMIT + 7), Outcome("complete", 200))
    assert counts.series["", OTHER, OTHER].running == 49


def test_names_that_clients_invent_get_no_labels() -> None:
    known = {("d/p", "m"), ("d/p", "m-lora")}
    counts = Counts(lambda pool, name: (pool, name) in known, everything)
    for number in range(100):
        counts.decided(STREAM, REQUEST, refused(f"invented-{number}"), 0.0)
    counts.decided(STREAM, REQUEST, refused(None), 0.0)
    counts.decided(StreamId(1), REQUEST, a_choice(pool="d/p", model="m", target_model="m-lora"), 0.0)
    counts.decided(StreamId(2), REQUEST, a_choice(pool="d/p", model="m", target_model="forced"), 0.0)
    counts.decided(StreamId(3), REQUEST, a_choice(pool="d/other", model="m"), 0.0)
    assert {key: series.routed for key, series in counts.series.items()} == {
        ("d/p", OTHER, OTHER): 1,
        ("d/other", OTHER, OTHER): 1,
        ("d/p", "", ""): 0,
        ("d/p", "m", "m-lora"): 1,
    }


@given(
    st.lists(st.tuples(st.integers(0, 5), st.sampled_from(["route", "refuse", "end", "list"])), max_size=60)
)
def test_running_requests_are_those_routed_and_not_concluded(story: list[tuple[int, str]]) -> None:
    known: set[str] = set()
    counts = Counts(lambda pool, name: name in known, everything)
    running: set[int] = set()
    for number, what in story:
        match what:
            case "route" if number not in running:
                counts.decided(StreamId(number), REQUEST, a_choice(model=f"m{number % 2}"), 0.0)
                running.add(number)
            case "refuse" if number not in running:
                counts.decided(StreamId(number), REQUEST, refused(f"m{number % 2}"), 0.0)
            case "end":
                counts.concluded(StreamId(number), Outcome("lost"))
                running.discard(number)
            case "list":
                known.add(f"m{number % 2}")
        assert sum(series.running for series in counts.series.values()) == len(running)
        assert all(series.running >= 0 for series in counts.series.values())
