"""Model servers that cost nothing to speak of: an Envoy that answers from its configuration.

For measuring what stands in front of them. They never wait, and their metrics never change.
"""

import json
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.live.harness.envoy import Json, envoy_ready, listener, start_envoy, typed
from tests.live.harness.processes import eventually, free_port

MODEL = "bench-model"

ANSWER = json.dumps(
    {
        "id": "cmpl-1",
        "object": "text_completion",
        "created": 1,
        "model": MODEL,
        "choices": [{"index": 0, "text": " word" * 16, "finish_reason": "length", "logprobs": None}],
        "usage": {"prompt_tokens": 256, "completion_tokens": 16, "total_tokens": 272},
    }
)

STREAM_HEADER = "x-bench-stream"
"""A request that has it is answered by `EVENTS`, a kilobyte each sixteenth of a second."""

EVENTS = "".join(
    f"data: {json.dumps({'model': MODEL, 'choices': [{'index': 0, 'text': f' word {number}'}]})}\n\n"
    for number in range(32)
)
EVENTS += 'data: {"choices":[],"usage":{"prompt_tokens":256,"completion_tokens":32}}\n\ndata: [DONE]\n\n'

MODELS = json.dumps({"object": "list", "data": [{"id": MODEL, "object": "model", "owned_by": "vllm"}]})


def metrics_page(padding_kb: int, kv_blocks: int = 27_000) -> str:
    """A page with vLLM's names, made as long as real ones by histogram buckets."""
    lines = [
        f'vllm:num_requests_running{{engine="0",model_name="{MODEL}"}} 3.0',
        f'vllm:num_requests_waiting{{engine="0",model_name="{MODEL}"}} 0.0',
        f'vllm:kv_cache_usage_perc{{engine="0",model_name="{MODEL}"}} 0.25',
        f'vllm:prompt_tokens_total{{engine="0",model_name="{MODEL}"}} 123456.0',
        f'vllm:generation_tokens_total{{engine="0",model_name="{MODEL}"}} 65432.0',
        f'vllm:cache_config_info{{block_size="16",engine="0",num_gpu_blocks="{kv_blocks}"}} 1.0',
    ]
    bucket = 'vllm:padding_seconds_bucket{engine="0",le="%d.0",model_name="%s"} 17.0'
    page = "\n".join(lines)
    number = 0
    while len(page) < padding_kb * 1024:
        page += "\n" + bucket % (number, MODEL)
        number += 1
    return page + "\n"


def _direct(path: Json, body: str, kind: str, **more: Json) -> Json:
    return {
        **more,
        "match": path,
        "direct_response": {"status": 200, "body": {"inline_string": body}},
        "response_headers_to_add": [
            {"header": {"key": "content-type", "value": kind}, "append_action": "OVERWRITE_IF_EXISTS_OR_ADD"}
        ],
    }


def _server(port: int, page: str) -> Json:
    """A listener that reads each request whole and answers it."""
    slow = {"fixed_limit": {"limit_kbps": 16}, "percentage": {"numerator": 100}}
    slowly = {"envoy.filters.http.fault": typed("filters.http.fault.v3.HTTPFault", response_rate_limit=slow)}
    asks_stream = {"prefix": "/", "headers": [{"name": STREAM_HEADER, "present_match": True}]}
    routes = [
        _direct({"path": "/metrics"}, page, "text/plain; version=0.0.4"),
        _direct({"path": "/v1/models"}, MODELS, "application/json"),
        _direct(asks_stream, EVENTS, "text/event-stream", typed_per_filter_config=slowly),
        _direct({"prefix": "/"}, ANSWER, "application/json"),
    ]
    filters = {
        "fault": typed("filters.http.fault.v3.HTTPFault"),
        "buffer": typed("filters.http.buffer.v3.Buffer", max_request_bytes=64 << 20),
        "router": typed("filters.http.router.v3.Router"),
    }
    manager = {
        "route_config": {
            "max_direct_response_body_size_bytes": 1 << 20,
            "virtual_hosts": [{"name": "all", "domains": ["*"], "routes": routes}],
        },
        "http_filters": [
            {"name": f"envoy.filters.http.{name}", "typed_config": config} for name, config in filters.items()
        ],
    }
    return listener(port, manager)


@contextmanager
def model_servers(count: int, padding_kb: int = 20, kv_blocks: int = 27_000) -> Iterator[list[str]]:
    """The URLs of *count* servers with KV caches of so many blocks of 16 tokens, up until the block ends."""
    ports = [free_port() for _ in range(count)]
    page = metrics_page(padding_kb, kv_blocks)
    with tempfile.TemporaryDirectory() as folder:
        child, admin = start_envoy([_server(port, page) for port in ports], [], Path(folder))
        try:
            eventually(lambda: envoy_ready(child, admin))
            yield [f"http://127.0.0.1:{port}" for port in ports]
        finally:
            child.stop()
