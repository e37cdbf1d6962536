"""The Prometheus page of `headgate run` itself: what Envoy counts and no picker sees."""

from collections.abc import Iterable, Mapping

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from headgate.io.web.admin import Reply


class _Answers(Collector):
    def __init__(self, answers: Mapping[tuple[str, str], int]) -> None:
        self._answers = answers

    def collect(self) -> Iterable[Metric]:
        """See prometheus_client."""
        family = CounterMetricFamily(
            "headgate_gateway_errors", "Errors that no model server gave", labels=("listener", "reason")
        )
        for labels, count in sorted(self._answers.items()):
            family.add_metric(labels, count)
        yield family


def page(answers: Mapping[tuple[str, str], int]) -> Reply:
    """The page; *answers*: errors that no server gave, by listener and reason, since Envoy started."""
    registry = CollectorRegistry()
    registry.register(_Answers(answers))
    return Reply(200, generate_latest(registry), "text/plain")
