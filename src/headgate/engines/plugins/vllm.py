"""vLLM, V1 engine and the older one. Names: vLLM's metrics loggers and GIE's model server protocol."""

from functools import lru_cache

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
        """As mapped, plus the adapters of the newest LoRA series (absent until an adapter was used)."""
        load = EngineMetrics.load(self, samples)
        series = samples.get(_LORA)
        if load is None or not series:
            return load
        newest = max(series, key=lambda sample: sample.value).labels()
        limit = newest.get("max_lora", "")
        return msgspec.structs.replace(
            load,
            loras_running=_adapters(newest.get("running_lora_adapters", "")),
            loras_waiting=_adapters(newest.get("waiting_lora_adapters", "")),
            lora_limit=min(int(limit), MOST_ADAPTERS) if limit.isdecimal() and len(limit) < 10 else None,
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
    progress=(Metric("vllm:prompt_tokens_total"), Metric("vllm:generation_tokens_total")),
)
