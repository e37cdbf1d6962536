"""Metrics of flow control, by the names of the Inference Extension 1.5 and by those that llm-d has now."""

import itertools
from collections.abc import Iterable, Sequence

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.utils import floatToGoString

from headgate.flow.tally import BOUNDS
from headgate.flow.view import QueueView
from headgate.picker.view import PoolView

PREFIXES = ("inference_extension_flow_control_", "llm_d_epp_flow_control_")

_FLOW = ("fairness_id", "priority", "inference_pool")


def families(pools: Sequence[PoolView]) -> Iterable[Metric]:
    """The families now; those of requests are without samples where nothing ever waits."""
    queues = [(pool.pool, pool.queue) for pool in pools if pool.queue is not None]
    yield _held(queues)
    yield _quota(queues)
    yield _evicted(queues)
    yield from _used(queues)
    for prefix in PREFIXES:
        yield from _of_requests(prefix, queues)
        saturation = GaugeMetricFamily(
            f"{prefix}pool_saturation", "1: every endpoint has its fill", labels=("inference_pool",)
        )
        for pool in pools:
            saturation.add_metric((pool.pool,), pool.saturation if pool.endpoints else 1.0)
        yield saturation


def _held(queues: Sequence[tuple[str, QueueView]]) -> Metric:
    family = GaugeMetricFamily(
        "headgate_pool_queued_requests",
        "Requests that wait in the picker; what autoscalers read, from zero endpoints too",
        labels=("pool",),
    )
    for pool, queue in queues:
        family.add_metric((pool,), queue.queued)
    return family


def _quota(queues: Sequence[tuple[str, QueueView]]) -> Metric:
    family = GaugeMetricFamily(
        "headgate_flow_quota_left_tokens", "Tokens that may be used at once", labels=("pool", "fairness_id")
    )
    for pool, queue in queues:
        found = {each.id: each.quota_left for each in queue.flows if each.quota_left is not None}
        for who, left in found.items():
            family.add_metric((pool, who), left)
    return family


def _evicted(queues: Sequence[tuple[str, QueueView]]) -> Metric:
    family = CounterMetricFamily(
        "headgate_flow_evicted_requests",
        "Running requests that were ended for more important ones",
        labels=("pool", "priority"),
    )
    for pool, queue in queues:
        for priority, count in queue.evicted.items():
            family.add_metric((pool, str(priority)), count)
    return family


def _used(queues: Sequence[tuple[str, QueueView]]) -> Iterable[Metric]:
    """How full queues are, by the names that llm-d alone has."""
    prefix = PREFIXES[1]
    for unit, text in (("requests", "requests"), ("bytes", "bytes of bodies")):
        of_band = GaugeMetricFamily(
            f"{prefix}capacity_utilization_{unit}",
            f"Part of the {text} that may wait in a band",
            labels=("priority", "inference_pool"),
        )
        of_pool = GaugeMetricFamily(
            f"{prefix}global_capacity_utilization_{unit}",
            f"Part of the {text} that may wait",
            labels=("inference_pool",),
        )
        for pool, queue in queues:
            here = (queue.queued, queue.most_requests), (queue.bytes, queue.most_bytes)
            of_pool.add_metric((pool,), _part(*here[unit == "bytes"]))
            for band in queue.bands:
                own = (band.queued, band.most_requests), (band.bytes, band.most_bytes)
                of_band.add_metric((str(band.band), pool), _part(*own[unit == "bytes"]))
        yield from (of_band, of_pool)


def _part(used: int, most: int) -> float:
    return used / most if most else 0.0


def _of_requests(prefix: str, queues: Sequence[tuple[str, QueueView]]) -> Iterable[Metric]:
    size = GaugeMetricFamily(f"{prefix}queue_size", "Requests that wait", labels=_FLOW)
    size_bytes = GaugeMetricFamily(f"{prefix}queue_bytes", "Bytes of their bodies", labels=_FLOW)
    total = CounterMetricFamily(
        f"{prefix}requests",
        "Requests whose time in flow control ended",
        labels=("outcome", "priority", "inference_pool"),
    )
    duration = HistogramMetricFamily(
        f"{prefix}request_queue_duration_seconds",
        "Time in the queue of requests that waited",
        labels=("fairness_id", "priority", "outcome", "inference_pool"),
    )
    bounds = [*map(floatToGoString, BOUNDS), "+Inf"]
    for pool, queue in queues:
        for flow in queue.flows:
            if flow.queued:
                size.add_metric((flow.id, str(flow.band), pool), flow.queued)
                size_bytes.add_metric((flow.id, str(flow.band), pool), flow.bytes)
        for each in queue.ended:
            total.add_metric((each.outcome, str(each.band), pool), each.count)
        for wait in queue.waits:
            totals = itertools.accumulate(wait.counts)
            labels = (wait.id, str(wait.band), wait.outcome, pool)
            duration.add_metric(labels, list(zip(bounds, totals, strict=True)), wait.total_s)
    yield from (size, size_bytes, total, duration)
