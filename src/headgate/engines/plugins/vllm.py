"""vLLM, V1 engine and the older one. Names: vLLM's metrics loggers and GIE's model server protocol."""

from functools import lru_cache
from math import isfinite

import msgspec

from headgate.engines.api import EngineMetrics, Metric, Samples
from headgate.model.bounds import MODEL_NAME_BYTES, fits
from headgate.model.load import Load

_LORA = "vllm:lora_requests_info"
_CACHE = "vllm:cache_config_info"

MOST_ADAPTERS = 1000
"""Adapters that one series may list; those after are left out."""


class Vllm(EngineMetrics, frozen=True, kw_only=True):
    """vLLM with its LoRA gauge: the lists are labels, and the value is the time they were written."""

    def names(self) -> tuple[str, ...]:
        """The mapped names and the LoRA gauge."""
        return (*EngineMetrics.names(self), _LORA)

    def load(self, samples: Samples) -> Load | None:
        """As mapped, plus the adapters of the newest LoRA series (absent until an adapter was used).

        Where stamps are whole seconds several series may be the newest: all their names count.
        """
        load = EngineMetrics.load(self, samples)
        series = samples.get(_LORA)
        if load is None or not series:
            return load
        stamp = max((sample.value for sample in series if isfinite(sample.value)), default=None)
        newest = [sample.labels() for sample in series if sample.value == stamp]
        running = {name for labels in newest for name in _adapters(labels.get("running_lora_adapters", ""))}
        waiting = {name for labels in newest for name in _adapters(labels.get("waiting_lora_adapters", ""))}
        limits = [
            min(int(limit), MOST_ADAPTERS)
            for labels in newest
            if (limit := labels.get("max_lora", "")).isdecimal() and len(limit) < 10
        ]
        return msgspec.structs.replace(
            load,
            loras_running=tuple(sorted(running)[:MOST_ADAPTERS]),
            loras_waiting=tuple(sorted(waiting)[:MOST_ADAPTERS]),
            lora_limit=max(limits, default=None),
        )


@lru_cache(maxsize=1024)  # the text is one label of a line, whose length `exposition` bounds
def _adapters(text: str) -> tuple[str, ...]:
    names = {name for each in text.split(",") if fits(name := each.strip(), MODEL_NAME_BYTES)}
    return tuple(sorted(names - {""})[:MOST_ADAPTERS])


VLLM = Vllm(
    name="vllm",
    waiting=(Metric("vllm:num_requests_waiting"),),
    running=(Metric("vllm:num_requests_running"),),
    kv_used=(Metric("vllm:kv_cache_usage_perc"), Metric("vllm:gpu_cache_usage_perc")),
    block_tokens=(Metric(_CACHE, label="block_size"),),
    kv_blocks=(Metric(_CACHE, label="num_gpu_blocks"),),
    kv_blocks_whole=True,
    awake=(Metric("vllm:engine_sleep_state", where=("sleep_state", "awake")),),
    progress=(Metric("vllm:prompt_tokens_total"), Metric("vllm:generation_tokens_total")),
)
