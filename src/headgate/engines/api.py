"""The contract of an engine plugin: which metric says what. Quirks are overridden methods."""

from collections.abc import Mapping, Sequence
from math import isfinite

import msgspec

from headgate.engines.exposition import Extractor, Sample
from headgate.model.load import Load

Samples = Mapping[str, list[Sample]]

MOST_REQUESTS = 1_000_000
"""Requests that an engine may claim to hold; a larger number is taken for this one."""
MOST_BLOCK_TOKENS = 1 << 16
"""Tokens that a KV block may have; a larger number is not believed."""
MOST_KV_TOKENS = 1 << 27
"""Tokens that a KV cache may hold; a larger number is taken for this one. It bounds the prefix index."""


class Metric(msgspec.Struct, frozen=True):
    """Where a number is found: a series by name, narrowed by one label, or a number written in a label."""

    name: str
    where: tuple[str, str] | None = None
    """Only series with this label and value."""
    label: str | None = None
    """Read the number from this label instead of the sample's value (the `…_info` metrics)."""

    def numbers(self, samples: Samples) -> list[float]:
        """Every finite number found, one per series (data parallelism: one series per rank)."""
        series: Sequence[Sample] = samples.get(self.name, ())
        if self.where is not None:
            key, wanted = self.where
            series = [sample for sample in series if sample.labels().get(key) == wanted]
        if self.label is None:
            return [sample.value for sample in series if isfinite(sample.value)]
        found = [_number(sample.labels().get(self.label, "")) for sample in series]
        return [number for number in found if number is not None and isfinite(number)]


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


class EngineMetrics(msgspec.Struct, frozen=True, kw_only=True):
    """One engine's metrics. A tuple lists alternatives, newest name first: the first with a series counts."""

    name: str
    """Name of the engine, as `Load.engine` has it."""
    waiting: tuple[Metric, ...]
    """Requests queued; a page without any of these is not this engine's. Series are added up."""
    running: tuple[Metric, ...] = ()
    """Requests in the batch; series are added up."""
    kv_used: tuple[Metric, ...] = ()
    """Fraction of the KV cache in use, 0..1; the mean over series."""
    block_tokens: tuple[Metric, ...] = ()
    """Tokens per KV block; the same in every series."""
    kv_blocks: tuple[Metric, ...] = ()
    """KV blocks in all; series are added up, unless `kv_blocks_whole`."""
    kv_blocks_whole: bool = False
    """Every series tells the blocks of all ranks together: the largest counts."""
    awake: tuple[Metric, ...] = ()
    """1 for an engine that is awake, 0 for one that sleeps; one rank that sleeps is enough."""
    progress: tuple[Metric, ...] = ()
    """Counters that are added to one sign of life. Only counters that move *during* a request belong here:
    one that moves at its end makes a busy engine look hung."""
    started: tuple[Metric, ...] = (Metric("process_start_time_seconds"),)
    """When its process began: what Prometheus' own libraries tell of every process, where they are let."""

    def names(self) -> tuple[str, ...]:
        """Every metric name that `load` reads."""
        every = (
            self.waiting,
            self.running,
            self.kv_used,
            self.block_tokens,
            self.kv_blocks,
            self.awake,
            self.progress,
        )
        return tuple(dict.fromkeys(metric.name for metrics in every for metric in metrics))

    def extractor(self) -> Extractor:
        """What finds this engine's series in a page."""
        return Extractor(self.names(), alone=[metric.name for metric in self.started])

    def load(self, samples: Samples) -> Load | None:
        """The load that *samples* tell; None when they are not this engine's."""
        waiting = _first(self.waiting, samples)
        if not waiting:
            return None
        kv_used = _first(self.kv_used, samples)
        block_tokens = _block_tokens(_first(self.block_tokens, samples))
        most_blocks = MOST_KV_TOKENS // (block_tokens or 1)
        kv_blocks = _first(self.kv_blocks, samples)
        if kv_blocks and self.kv_blocks_whole:
            kv_blocks = [max(kv_blocks)]
        progress = [number for metric in self.progress for number in metric.numbers(samples)]
        return Load(
            engine=self.name,
            waiting=_count(waiting, MOST_REQUESTS),
            running=_count(_first(self.running, samples), MOST_REQUESTS),
            kv_used=min(1.0, max(0.0, sum(kv_used) / len(kv_used))) if kv_used else None,
            block_tokens=block_tokens,
            kv_blocks=_count(kv_blocks, most_blocks) or None,
            asleep=0.0 in _first(self.awake, samples),
            progress=_finite(sum(progress)) if progress else None,
            started=max(_first(self.started, samples), default=None),
        )


def _first(metrics: tuple[Metric, ...], samples: Samples) -> list[float]:
    for metric in metrics:
        if numbers := metric.numbers(samples):
            return numbers
    return []


def _count(numbers: list[float], most: int) -> int:
    """The sum of finite *numbers*, which may itself be infinite, as 0..*most*."""
    return round(min(float(most), max(0.0, sum(numbers))))


def _finite(number: float) -> float | None:
    return number if isfinite(number) else None


def _block_tokens(numbers: list[float]) -> int | None:
    return int(numbers[0]) if numbers and 1 <= numbers[0] <= MOST_BLOCK_TOKENS else None
