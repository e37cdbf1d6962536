"""SGLang, started with `--enable-metrics`."""

from headgate.engines.api import EngineMetrics, Metric

_CACHE = "sglang:cache_config_info"

SGLANG = EngineMetrics(
    name="sglang",
    waiting=(Metric("sglang:num_queue_reqs"),),
    running=(Metric("sglang:num_running_reqs"),),
    kv_used=(Metric("sglang:token_usage"),),
    block_tokens=(Metric(_CACHE, label="page_size"),),
    kv_blocks=(Metric(_CACHE, label="num_pages"),),
    progress=(Metric("sglang:prompt_tokens_total"), Metric("sglang:generation_tokens_total")),
)
