"""SGLang, started with `--enable-metrics`.

Its `prompt_tokens_total` and `generation_tokens_total` move when a request has ended, so they are no sign of
life; `realtime_tokens_total` moves with every prefill batch and every few decode steps. Releases that lack it
are judged without a progress counter.
"""

from headgate.engines.api import EngineMetrics, Metric

_CACHE = "sglang:cache_config_info"

SGLANG = EngineMetrics(
    name="sglang",
    waiting=(Metric("sglang:num_queue_reqs"),),
    running=(Metric("sglang:num_running_reqs"),),
    kv_used=(Metric("sglang:token_usage"),),
    block_tokens=(Metric(_CACHE, label="page_size"),),
    kv_blocks=(Metric(_CACHE, label="num_pages"),),
    progress=(Metric("sglang:realtime_tokens_total"),),
)
