"""The picker's Prometheus metrics: the Inference Extension's names where they mean the same, and ours."""

import itertools
import resource
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

import msgspec
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

from headgate import __version__
from headgate.model.decisions import Decision
from headgate.model.requests import InferenceRequest, Outcome
from headgate.picker.choice import Choice
from headgate.picker.view import PoolView

LATENCY = (0.005, 0.025, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 1, 1.25, 1.5, 2, 3, 4, 5, 6, 8, 10, 15, 20, 30, 45, 60, 120, 300, 600, 1200, 3600)  # fmt: skip  # noqa: E501
TTFT = (0.005, 0.01, 0.025, 0.05, 0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 12.8, 30, 60, 300)
SIZES = tuple(4.0**power for power in range(3, 16))
TOKENS = tuple(2.0**power for power in range(0, 21, 2))
SCHEDULER = (0.0001, 0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1)

NAMES_LIMIT = 1000
"""Distinct model names that get labels of their own; clients choose them, so later ones are `other`."""

_LABELS = ("model_name", "target_model_name")
_OTHER = ("other", "other")


class Reading(msgspec.Struct, frozen=True):
    """What is read from the process at every scrape of the metrics."""

    pools: tuple[PoolView, ...]
    open_streams: int
    left_streams: int
    wire: str
    """Which wire is in use: `native` or `portable`."""


class _Histogram:
    """Counts between bounds; adding a value costs a quarter of what the library's own class takes."""

    __slots__ = ("_bounds", "_counts", "_sum")

    def __init__(self, bounds: Sequence[float]) -> None:
        self._bounds = bounds
        self._counts = [0] * (len(bounds) + 1)
        self._sum = 0.0

    def observe(self, value: float) -> None:
        """One more."""
        self._counts[bisect_left(self._bounds, value)] += 1
        self._sum += value

    def add_to(self, family: HistogramMetricFamily, labels: Sequence[str]) -> None:
        """A series of *family*."""
        bounds = [*map(floatToGoString, self._bounds), "+Inf"]
        totals = itertools.accumulate(self._counts)
        family.add_metric(labels, list(zip(bounds, totals, strict=True)), self._sum)


class _Series:
    """What was counted of one model name and its target."""

    __slots__ = (
        "cached_tokens",
        "duration",
        "errors",
        "input_tokens",
        "output_tokens",
        "refused",
        "routed",
        "running",
        "sizes",
        "ttft",
    )

    def __init__(self) -> None:
        self.routed = 0
        self.refused = 0
        self.running = 0
        self.errors: Counter[str] = Counter()
        self.duration = _Histogram(LATENCY)
        self.sizes = _Histogram(SIZES)
        self.input_tokens = _Histogram(TOKENS)
        self.output_tokens = _Histogram(TOKENS)
        self.cached_tokens = _Histogram(TOKENS)
        self.ttft = _Histogram(TTFT)


class PickerMetrics:
    """Counts decisions and outcomes; everything else is read when somebody scrapes."""

    def __init__(self, read: Callable[[], Reading]) -> None:
        self._series: dict[tuple[str, str], _Series] = {}
        self._scheduler = _Histogram(SCHEDULER)
        self._registry = CollectorRegistry()
        self._registry.register(_Counted(self._series, self._scheduler))
        self._registry.register(_Now(read))

    def _of(self, decision: Choice | Decision) -> _Series:
        model = decision.model or ""
        key = (model, decision.target_model or model)
        found = self._series.get(key)
        if found is None and len(self._series) >= NAMES_LIMIT:
            key = _OTHER
            found = self._series.get(key)
        if found is None:
            found = self._series[key] = _Series()
        return found

    def decided(self, request: InferenceRequest, decision: Choice | Decision, took_s: float) -> None:
        """A request was routed or refused; *took_s*: seconds the machine needed."""
        series = self._of(decision)
        series.sizes.observe(request.body_bytes)
        self._scheduler.observe(took_s)
        if decision.chosen:
            series.running += 1
            series.routed += 1
        else:
            series.refused += 1
            series.errors[decision.refused or "unknown"] += 1

    def concluded(self, decision: Choice | Decision, outcome: Outcome) -> None:
        """What became of a routed request."""
        series = self._of(decision)
        series.running -= 1
        if outcome.duration_s is not None:
            series.duration.observe(outcome.duration_s)
        if outcome.ttft_s is not None:
            series.ttft.observe(outcome.ttft_s)
        usage = outcome.usage
        if usage is not None:
            series.input_tokens.observe(usage.prompt_tokens)
            series.output_tokens.observe(usage.completion_tokens)
            if usage.cached_tokens is not None:
                series.cached_tokens.observe(usage.cached_tokens)
        if outcome.ending == "failed" or (outcome.status or 0) >= 400:
            series.errors["ModelServerError"] += 1

    def page(self) -> bytes:
        """The metrics page, Prometheus text format."""
        return generate_latest(self._registry)


class _Counted(Collector):
    """What was counted of requests, as families."""

    def __init__(self, series: Mapping[tuple[str, str], _Series], scheduler: _Histogram) -> None:
        self._series = series
        self._scheduler = scheduler

    def collect(self) -> Iterable[Metric]:
        """The families as they are now."""
        every = self._series
        name = "inference_objective_"
        total = CounterMetricFamily(f"{name}request", "Requests routed or refused", labels=_LABELS)
        errors = CounterMetricFamily(
            f"{name}request_error", "Requests refused or failed", labels=(*_LABELS, "error_code")
        )
        running = GaugeMetricFamily(f"{name}running_requests", "Requests running", labels=_LABELS)
        attempts: Counter[tuple[str, str]] = Counter()
        for labels, series in every.items():
            total.add_metric(labels, series.routed + series.refused)
            running.add_metric(labels, series.running)
            for code, count in series.errors.items():
                errors.add_metric((*labels, code), count)
            attempts["success", labels[1]] += series.routed
            attempts["failure", labels[1]] += series.refused
        yield from (total, errors, running)
        yield from self._histograms(name)
        family = CounterMetricFamily(
            "inference_extension_scheduler_attempts", "Decisions", labels=("status", "target_model_name")
        )
        for both, count in attempts.items():
            family.add_metric(both, count)
        yield family

    def _histograms(self, name: str) -> Iterable[Metric]:
        which: tuple[tuple[str, str, Callable[[_Series], _Histogram]], ...] = (
            ("request_duration_seconds", "Arrival to the end", lambda series: series.duration),
            ("request_sizes", "Request bytes", lambda series: series.sizes),
            ("input_tokens", "Prompt tokens as the engine counted them", lambda series: series.input_tokens),
            ("output_tokens", "Generated tokens", lambda series: series.output_tokens),
            (
                "prompt_cached_tokens",
                "Prompt tokens found in a KV cache",
                lambda series: series.cached_tokens,
            ),
            ("request_ttft_seconds", "Arrival to the first body bytes", lambda series: series.ttft),
        )
        for suffix, text, of in which:
            family = HistogramMetricFamily(name + suffix, text, labels=_LABELS)
            for labels, series in self._series.items():
                of(series).add_to(family, labels)
            yield family
        decided = "inference_extension_scheduler_e2e_duration_seconds"
        family = HistogramMetricFamily(decided, "Time to decide", labels=())
        self._scheduler.add_to(family, ())
        yield family


def _gauge(
    name: str, text: str, labels: Sequence[str], rows: Iterable[tuple[Sequence[str], float]]
) -> Metric:
    family = GaugeMetricFamily(name, text, labels=labels)
    for values, value in rows:
        family.add_metric(values, value)
    return family


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else 0.0


class _Now(Collector):
    """Gauges that are computed when the page is asked for."""

    def __init__(self, read: Callable[[], Reading]) -> None:
        self._read = read

    def collect(self) -> Iterable[Metric]:
        """The families, freshly read."""
        reading = self._read()
        yield from self._pools(reading.pools)
        yield from self._process(reading)

    @staticmethod
    def _pools(pools: Sequence[PoolView]) -> Iterable[Metric]:
        loads = {
            pool.pool: [each.load for each in pool.endpoints if each.load is not None and not each.leaving]
            for pool in pools
        }
        ready = {
            pool.pool: sum(1 for each in pool.endpoints if each.condition == "up" and not each.leaving)
            for pool in pools
        }
        queue = [
            ((each.name, each.endpoint, pool.pool), float(each.load.waiting))
            for pool in pools
            for each in pool.endpoints
            if each.load is not None
        ]
        flight = [
            ((pool.pool, each.endpoint), float(each.in_flight)) for pool in pools for each in pool.endpoints
        ]
        name = ("name",)
        yield _gauge(
            "inference_pool_average_kv_cache_utilization",
            "Mean KV-cache use, 0..1",
            name,
            [((key,), _mean([load.kv_used or 0.0 for load in found])) for key, found in loads.items()],
        )
        yield _gauge(
            "inference_pool_average_queue_size",
            "Mean requests waiting in an engine",
            name,
            [((key,), _mean([float(load.waiting) for load in found])) for key, found in loads.items()],
        )
        yield _gauge(
            "inference_pool_average_running_requests",
            "Mean requests running in an engine",
            name,
            [((key,), _mean([float(load.running) for load in found])) for key, found in loads.items()],
        )
        for metric in ("inference_pool_ready_pods", "inference_pool_ready_endpoints"):
            yield _gauge(metric, "Endpoints that are up", name, [((k,), float(n)) for k, n in ready.items()])
        yield _gauge(
            "inference_pool_per_pod_queue_size",
            "Requests waiting in this engine",
            ("model_server_pod", "endpoint", "name"),
            queue,
        )
        yield _gauge("headgate_endpoint_in_flight", "Requests in flight", ("pool", "endpoint"), flight)
        yield _gauge(
            "headgate_pool_saturation",
            "1: every endpoint has its fill",
            ("pool",),
            [((pool.pool,), pool.saturation) for pool in pools],
        )
        yield _gauge(
            "headgate_pool_prefix_hit_rate",
            "Prompt tokens believed cached at the chosen endpoint, recent past, 0..1",
            ("pool",),
            [((pool.pool,), pool.hit_rate) for pool in pools],
        )

    @staticmethod
    def _process(reading: Reading) -> Iterable[Metric]:
        streams = [(("open",), float(reading.open_streams)), (("left",), float(reading.left_streams))]
        yield _gauge("headgate_extproc_streams", "open; left to the access log", ("state",), streams)
        yield _gauge(
            "headgate_info", "Wire in use", ("version", "wire"), [((__version__, reading.wire), 1.0)]
        )
        yield _gauge("process_resident_memory_bytes", "Resident memory", (), [((), float(resident_bytes()))])


def resident_bytes() -> int:
    """Resident memory of this process in bytes; 0 where the system does not say."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except (OSError, IndexError, ValueError):
        return 0
    return pages * resource.getpagesize()
