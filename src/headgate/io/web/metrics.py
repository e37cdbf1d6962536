"""The picker's Prometheus metrics: the Inference Extension's names where they mean the same, and ours."""

import resource
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import msgspec
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from headgate import __version__
from headgate.model.decisions import Decision
from headgate.model.requests import InferenceRequest, Outcome
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


class _Series(msgspec.Struct, frozen=True):
    """The per-model series, label lookup already done."""

    total: Counter
    errors: Callable[[str], Counter]
    success: Counter
    failure: Counter
    duration: Histogram
    sizes: Histogram
    input_tokens: Histogram
    output_tokens: Histogram
    cached_tokens: Histogram
    ttft: Histogram
    running: Gauge


class PickerMetrics:
    """Counts decisions and outcomes; everything else is read when somebody scrapes."""

    def __init__(self, read: Callable[[], Reading]) -> None:
        self._registry = CollectorRegistry()
        self._series: dict[tuple[str, str], _Series] = {}
        registry, labels = self._registry, _LABELS
        objective = "inference_objective_"
        self._total = Counter(f"{objective}request", "Requests routed", labels, registry=registry)
        self._errors = Counter(
            f"{objective}request_error",
            "Requests refused or failed",
            (*labels, "error_code"),
            registry=registry,
        )
        self._running = Gauge(f"{objective}running_requests", "Requests running", labels, registry=registry)
        self._duration = self._histogram("request_duration_seconds", "Arrival to the end", LATENCY)
        self._sizes = self._histogram("request_sizes", "Request bytes", SIZES)
        self._input = self._histogram("input_tokens", "Prompt tokens as the engine counted them", TOKENS)
        self._output = self._histogram("output_tokens", "Generated tokens", TOKENS)
        self._cached = self._histogram("prompt_cached_tokens", "Prompt tokens found in a KV cache", TOKENS)
        self._ttft = self._histogram("request_ttft_seconds", "Arrival to the first body bytes", TTFT)
        self._scheduler = Histogram(
            "inference_extension_scheduler_e2e_duration_seconds",
            "Time to decide",
            buckets=SCHEDULER,
            registry=registry,
        )
        self._attempts = Counter(
            "inference_extension_scheduler_attempts",
            "Decisions",
            ("status", "target_model_name"),
            registry=registry,
        )
        registry.register(_Now(read))

    def _histogram(self, suffix: str, text: str, buckets: Sequence[float]) -> Histogram:
        return Histogram(
            f"inference_objective_{suffix}", text, _LABELS, buckets=buckets, registry=self._registry
        )

    def _of(self, decision: Decision) -> _Series:
        key = (decision.model or "", decision.target_model or decision.model or "")
        found = self._series.get(key)
        if found is None and len(self._series) >= NAMES_LIMIT:
            key = _OTHER
            found = self._series.get(key)
        if found is None:
            found = self._series[key] = self._make(*key)
        return found

    def _make(self, model: str, target: str) -> _Series:
        return _Series(
            total=self._total.labels(model, target),
            errors=lambda code: self._errors.labels(model, target, code),
            success=self._attempts.labels("success", target),
            failure=self._attempts.labels("failure", target),
            duration=self._duration.labels(model, target),
            sizes=self._sizes.labels(model, target),
            input_tokens=self._input.labels(model, target),
            output_tokens=self._output.labels(model, target),
            cached_tokens=self._cached.labels(model, target),
            ttft=self._ttft.labels(model, target),
            running=self._running.labels(model, target),
        )

    def decided(self, request: InferenceRequest, decision: Decision, took_s: float) -> None:
        """A request was routed or refused; *took_s*: seconds the machine needed."""
        series = self._of(decision)
        series.total.inc()
        series.sizes.observe(request.body_bytes)
        self._scheduler.observe(took_s)
        if decision.chosen:
            series.running.inc()
            series.success.inc()
        else:
            series.errors(decision.refused or "unknown").inc()
            series.failure.inc()

    def concluded(self, decision: Decision, outcome: Outcome) -> None:
        """What became of a routed request."""
        series = self._of(decision)
        series.running.dec()
        if outcome.duration_s is not None:
            series.duration.observe(outcome.duration_s)
        if outcome.ttft_s is not None:
            series.ttft.observe(outcome.ttft_s)
        if outcome.usage is not None:
            series.input_tokens.observe(outcome.usage.prompt_tokens)
            series.output_tokens.observe(outcome.usage.completion_tokens)
            if outcome.usage.cached_tokens is not None:
                series.cached_tokens.observe(outcome.usage.cached_tokens)
        if outcome.ending == "failed" or (outcome.status or 0) >= 400:
            series.errors("ModelServerError").inc()

    def page(self) -> bytes:
        """The metrics page, Prometheus text format."""
        return generate_latest(self._registry)


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
