"""TensorRT-LLM under `trtllm-serve`. It publishes no token counter, so its progress is unknown."""

from headgate.engines.api import EngineMetrics, Metric

TRTLLM = EngineMetrics(
    name="trtllm-serve",
    waiting=(Metric("trtllm_num_requests_waiting"),),
    running=(Metric("trtllm_num_requests_running"),),
    kv_used=(Metric("trtllm_kv_cache_utilization"),),
    block_tokens=(Metric("trtllm_kv_cache_tokens_per_block"),),
    kv_blocks=(Metric("trtllm_kv_cache_max_blocks"),),
)
