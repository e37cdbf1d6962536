"""The picker's Prometheus metrics: the Inference Extension's names where they mean the same, and ours."""

import itertools
import resource
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import get_args

import msgspec
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

from headgate import __version__, compiled
from headgate.io.web import queue_metrics
from headgate.io.web.counts import Counts, Histogram, Key, Series
from headgate.model.ids import PoolKey
from headgate.model.printable import printable_metrics
from headgate.picker.health import Condition
from headgate.picker.view import EndpointView, PoolView

_LABELS = ("model_name", "target_model_name")


class Reading(msgspec.Struct, frozen=True):
    """What is read from the process at every scrape of the metrics."""

    pools: tuple[PoolView, ...]
    open_streams: int
    left_streams: int
    wire: str
    """Which wire is in use: `native` or `portable`."""


class PickerMetrics:
    """The page: `counts`, which whoever decides keeps, and what is read when somebody scrapes."""

    def __init__(
        self,
        read: Callable[[], Reading],
        knows: Callable[[PoolKey, str], bool],
        knows_objective: Callable[[PoolKey, str], bool],
    ) -> None:
        """*knows* and *knows_objective*: see `Counts`."""
        self.counts = Counts(knows, knows_objective)
        self._registry = CollectorRegistry()
        self._registry.register(_Counted(self.counts))
        self._registry.register(_Now(read))

    def page(self) -> bytes:
        """The metrics page, Prometheus text format."""
        return printable_metrics(generate_latest(self._registry))


class _Counted(Collector):
    """What was counted of requests, as families."""

    def __init__(self, counts: Counts) -> None:
        self._counts = counts

    def collect(self) -> Iterable[Metric]:
        """The families as they are now."""
        every = _grouped(self._counts.series, lambda key: key[1:])
        name = "inference_objective_"
        total = CounterMetricFamily(f"{name}request", "Requests routed or refused", labels=_LABELS)
        errors = CounterMetricFamily(
            f"{name}request_error", "Requests refused or failed", labels=(*_LABELS, "error_code")
        )
        running = GaugeMetricFamily(f"{name}running_requests", "Requests running", labels=_LABELS)
        attempts: Counter[tuple[str, str]] = Counter()
        for labels, group in every.items():
            total.add_metric(labels, sum(each.routed + each.refused for each in group))
            running.add_metric(labels, sum(each.running for each in group))
            for code, count in _sum(each.errors for each in group).items():
                errors.add_metric((*labels, code), count)
            attempts["success", labels[1]] += sum(each.routed for each in group)
            attempts["failure", labels[1]] += sum(each.refused for each in group)
        yield from (total, errors, running)
        yield from self._histograms(name, every)
        family = CounterMetricFamily(
            "inference_extension_scheduler_attempts", "Decisions", labels=("status", "target_model_name")
        )
        for both, count in attempts.items():
            family.add_metric(both, count)
        yield family
        yield from self._of_pools()
        yield self._shed()
        yield self._by_result(
            "headgate_session_requests",
            "Requests of a session: new, kept (at the endpoint of its last one), moved (at another one)",
            self._counts.sessions,
        )
        yield self._by_result(
            "headgate_prior_requests",
            "Requests that go on with a kept answer: held, or its endpoint is down, gone or unknown",
            self._counts.priors,
        )

    def _of_pools(self) -> Iterable[Metric]:
        """By pool and model name, whatever the target."""
        labels = ("pool", "model")
        requests = CounterMetricFamily(
            "headgate_requests",
            "Requests that have ended, by class of the answer's status; none: there was no answer",
            labels=(*labels, "status"),
        )
        errors = CounterMetricFamily(
            "headgate_request_errors",
            "Requests refused, failed, aborted by clients or lost, by reason",
            labels=(*labels, "reason"),
        )
        prompt = CounterMetricFamily(
            "headgate_prompt_tokens", "Prompt tokens of answers that also tell cached ones", labels=labels
        )
        cached = CounterMetricFamily(
            "headgate_cached_prompt_tokens", "Of these, found in a KV cache by the engine", labels=labels
        )
        ttft = HistogramMetricFamily(
            "headgate_request_ttft_seconds", "Arrival to the first token", labels=labels
        )
        duration = HistogramMetricFamily(
            "headgate_request_duration_seconds", "Arrival to the end", labels=labels
        )
        for values, group in _grouped(self._counts.series, lambda key: key[:2]).items():
            for status, count in _sum(each.statuses for each in group).items():
                requests.add_metric((*values, status), count)
            for reason, count in _sum(each.ended for each in group).items():
                errors.add_metric((*values, reason), count)
            prompt.add_metric(values, sum(each.prompt_tokens for each in group))
            cached.add_metric(values, sum(each.reused_tokens for each in group))
            _add(ttft, values, _merged([each.ttft for each in group]))
            _add(duration, values, _merged([each.duration for each in group]))
        yield from (requests, errors, prompt, cached, ttft, duration)

    def _shed(self) -> Metric:
        family = CounterMetricFamily(
            "headgate_requests_shed",
            "Requests refused by the picker, by who was asked for",
            labels=("pool", "priority", "objective", "reason"),
        )
        for (pool, priority, objective, reason), count in self._counts.shed.items():
            family.add_metric((pool, str(priority), objective, reason), count)
        return family

    def _by_result(self, name: str, text: str, counted: Counter[tuple[str, str]]) -> Metric:
        family = CounterMetricFamily(name, text, labels=("pool", "result"))
        for labels, count in counted.items():
            family.add_metric(labels, count)
        return family

    def _histograms(self, name: str, every: Mapping[Sequence[str], Sequence[Series]]) -> Iterable[Metric]:
        which: tuple[tuple[str, str, Callable[[Series], Histogram]], ...] = (
            ("request_duration_seconds", "Arrival to the end", lambda series: series.duration),
            ("request_sizes", "Request bytes", lambda series: series.sizes),
            ("input_tokens", "Prompt tokens as the engine counted them", lambda series: series.input_tokens),
            ("output_tokens", "Generated tokens", lambda series: series.output_tokens),
            (
                "prompt_cached_tokens",
                "Prompt tokens found in a KV cache",
                lambda series: series.cached_tokens,
            ),
            ("request_ttft_seconds", "Arrival to the first token", lambda series: series.ttft),
        )
        for suffix, text, of in which:
            family = HistogramMetricFamily(name + suffix, text, labels=_LABELS)
            for labels, group in every.items():
                _add(family, labels, _merged([of(each) for each in group]))
            yield family
        decided = "inference_extension_scheduler_e2e_duration_seconds"
        family = HistogramMetricFamily(decided, "Time to decide", labels=())
        _add(family, (), self._counts.scheduler)
        yield family
        for prefix in queue_metrics.PREFIXES:
            name = f"{prefix}dispatch_cycle_duration_seconds"
            family = HistogramMetricFamily(name, "Time to look who may go, while requests wait", labels=())
            _add(family, (), self._counts.cycles)
            yield family


def _grouped(
    series: Mapping[Key, Series], labels: Callable[[Key], tuple[str, ...]]
) -> Mapping[Sequence[str], Sequence[Series]]:
    found: dict[Sequence[str], list[Series]] = {}
    for key, each in series.items():
        found.setdefault(labels(key), []).append(each)
    return found


def _sum(counters: Iterable[Counter[str]]) -> Counter[str]:
    total: Counter[str] = Counter()
    for each in counters:
        total.update(each)
    return total


def _merged(histograms: Sequence[Histogram]) -> Histogram:
    """The sum of histograms with the same bounds."""
    if len(histograms) == 1:
        return histograms[0]
    merged = Histogram(histograms[0].bounds)
    merged.counts = [sum(column) for column in zip(*(each.counts for each in histograms), strict=True)]
    merged.total = sum(each.total for each in histograms)
    return merged


def _add(family: HistogramMetricFamily, labels: Sequence[str], histogram: Histogram) -> None:
    bounds = [*map(floatToGoString, histogram.bounds), "+Inf"]
    totals = itertools.accumulate(histogram.counts)
    family.add_metric(labels, list(zip(bounds, totals, strict=True)), histogram.total)


def _gauge(
    name: str, text: str, labels: Sequence[str], rows: Iterable[tuple[Sequence[str], float]]
) -> Metric:
    family = GaugeMetricFamily(name, text, labels=labels)
    for values, value in rows:
        family.add_metric(values, value)
    return family


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else 0.0


LEAVING = "leaving"
STATES = (*get_args(Condition), LEAVING)
"""An endpoint is in one of these."""


def _state(endpoint: EndpointView) -> str:
    return LEAVING if endpoint.leaving else endpoint.condition


class _Now(Collector):
    """Gauges that are computed when the page is asked for."""

    def __init__(self, read: Callable[[], Reading]) -> None:
        self._read = read

    def collect(self) -> Iterable[Metric]:
        """The families, freshly read."""
        reading = self._read()
        yield from self._pools(reading.pools)
        yield from queue_metrics.families(reading.pools)
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
        yield _gauge(
            "headgate_endpoint_state",
            "1 for the state that an endpoint is in, 0 for all others",
            ("pool", "endpoint", "state"),
            [
                ((pool.pool, each.endpoint, state), float(state == _state(each)))
                for pool in pools
                for each in pool.endpoints
                for state in STATES
            ],
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

        yield _gauge(
            "headgate_pool_reported_prefix_hit_rate",
            "Prompt tokens found cached as the engines counted them, recent past, 0..1",
            ("pool",),
            [((pool.pool,), pool.reported_hit_rate) for pool in pools if pool.reported_hit_rate is not None],
        )

    @staticmethod
    def _process(reading: Reading) -> Iterable[Metric]:
        streams = [(("open",), float(reading.open_streams)), (("left",), float(reading.left_streams))]
        yield _gauge("headgate_extproc_streams", "open; left to the access log", ("state",), streams)
        yield _gauge(
            "headgate_info",
            "What runs here",
            ("version", "wire", "core"),
            [((__version__, reading.wire, compiled.in_use()), 1.0)],
        )
        yield _gauge("process_resident_memory_bytes", "Resident memory", (), [((), float(resident_bytes()))])


def resident_bytes() -> int:
    """Resident memory of this process in bytes; 0 where the system does not say."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except (OSError, IndexError, ValueError):
        return 0
    return pages * resource.getpagesize()
