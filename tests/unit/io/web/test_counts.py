"""What is counted of requests, beside the library's own histogram."""

import hypothesis.strategies as st
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
    counts = Counts(everything)
    choice = a_choice(model="m", target_model="m-lora")
    counts.decided(STREAM, REQUEST, choice, 0.0005)
    series = counts.series["m", "m-lora"]
    assert (series.routed, series.refused, series.running, dict(series.errors)) == (1, 0, 1, {})
    assert totals(series.sizes) == (1, 100.0)
    assert totals(counts.scheduler) == (1, 0.0005)
    counts.concluded(STREAM, Outcome("complete", 200, None, 0.1, 1.0, Usage(10, 5, 8)))
    assert (series.routed, series.running, dict(series.errors)) == (1, 0, {})
    assert [totals(each) for each in (series.ttft, series.duration)] == [(1, 0.1), (1, 1.0)]
    tokens = (series.input_tokens, series.output_tokens, series.cached_tokens)
    assert [totals(each) for each in tokens] == [(1, 10.0), (1, 5.0), (1, 8.0)]


def test_what_nobody_told_is_not_counted() -> None:
    counts = Counts(everything)
    counts.decided(STREAM, REQUEST, a_choice(model="m"), 0.0)
    counts.concluded(STREAM, Outcome("lost", usage=Usage(10, 5)))
    series = counts.series["m", "m"]
    assert [totals(each)[0] for each in (series.ttft, series.duration, series.cached_tokens)] == [0, 0, 0]
    assert totals(series.input_tokens) == (1, 10.0)


def test_a_refused_request_never_runs() -> None:
    counts = Counts(everything)
    for reason in ("saturated", "saturated", None):
        counts.decided(STREAM, REQUEST, refused(None, reason), 0.0)
    series = counts.series["", ""]
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
    ],
)
def test_a_servers_errors(outcome: Outcome, errors: int) -> None:
    counts = Counts(everything)
    counts.decided(STREAM, REQUEST, a_choice(model="m"), 0.0)
    counts.concluded(STREAM, outcome)
    assert counts.series["m", "m"].errors["ModelServerError"] == errors


def test_series_have_an_end() -> None:
    counts = Counts(everything)
    for number in range(SERIES_LIMIT + 50):
        counts.decided(StreamId(number), REQUEST, a_choice(model=f"m{number}"), 0.0)
    assert len(counts.series) == SERIES_LIMIT + 1
    assert counts.series[OTHER].routed == 50
    counts.concluded(StreamId(SERIES_LIMIT + 7), Outcome("complete", 200))
    assert counts.series[OTHER].running == 49


def test_names_that_clients_invent_get_no_labels() -> None:
    known = {("d/p", "m"), ("d/p", "m-lora")}
    counts = Counts(lambda pool, name: (pool, name) in known)
    for number in range(100):
        counts.decided(STREAM, REQUEST, refused(f"invented-{number}"), 0.0)
    counts.decided(STREAM, REQUEST, refused(None), 0.0)
    counts.decided(StreamId(1), REQUEST, a_choice(pool="d/p", model="m", target_model="m-lora"), 0.0)
    counts.decided(StreamId(2), REQUEST, a_choice(pool="d/p", model="m", target_model="forced"), 0.0)
    counts.decided(StreamId(3), REQUEST, a_choice(pool="d/other", model="m"), 0.0)
    assert {key: series.routed for key, series in counts.series.items()} == {
        OTHER: 2,
        ("", ""): 0,
        ("m", "m-lora"): 1,
    }


@given(
    st.lists(st.tuples(st.integers(0, 5), st.sampled_from(["route", "refuse", "end", "list"])), max_size=60)
)
def test_running_requests_are_those_routed_and_not_concluded(story: list[tuple[int, str]]) -> None:
    known: set[str] = set()
    counts = Counts(lambda pool, name: name in known)
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
