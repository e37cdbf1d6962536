"""Triton Inference Server: with the TensorRT-LLM backend, and with any other one.

Classic Triton counts executions at their end only: its running requests and progress are unknown.
"""

from headgate.engines.api import EngineMetrics, Metric

_REQUESTS = "nv_trt_llm_request_metrics"
_BLOCKS = "nv_trt_llm_kv_cache_block_metrics"
_KIND = "kv_cache_block_type"

TRITON = EngineMetrics(
    name="triton",
    waiting=(
        Metric(_REQUESTS, where=("request_type", "waiting")),
        Metric("nv_inference_pending_request_count"),
    ),
    running=(Metric(_REQUESTS, where=("request_type", "scheduled")),),
    kv_used=(Metric(_BLOCKS, where=(_KIND, "fraction")),),
    block_tokens=(Metric(_BLOCKS, where=(_KIND, "tokens_per")),),
    kv_blocks=(Metric(_BLOCKS, where=(_KIND, "max")),),
)
