"""Model servers that cost nothing to speak of: an Envoy that answers from its configuration.

For measuring what stands in front of them. They never wait, and their metrics never change.
"""

import json
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.live.harness import Child, eventually, free_port, get_json

from headgate.io.envoy.binary import find_envoy

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

MODELS = json.dumps({"object": "list", "data": [{"id": MODEL, "object": "model", "owned_by": "vllm"}]})


def metrics_page(padding_kb: int) -> str:
    """A page with vLLM's names, made as long as real ones by histogram buckets."""
    lines = [
        f'vllm:num_requests_running{{engine="0",model_name="{MODEL}"}} 3.0',
        f'vllm:num_requests_waiting{{engine="0",model_name="{MODEL}"}} 0.0',
        f'vllm:kv_cache_usage_perc{{engine="0",model_name="{MODEL}"}} 0.25',
        f'vllm:prompt_tokens_total{{engine="0",model_name="{MODEL}"}} 123456.0',
        f'vllm:generation_tokens_total{{engine="0",model_name="{MODEL}"}} 65432.0',
        'vllm:cache_config_info{block_size="16",engine="0",num_gpu_blocks="27000"} 1.0',
    ]
    bucket = 'vllm:padding_seconds_bucket{engine="0",le="%d.0",model_name="%s"} 17.0'
    page = "\n".join(lines)
    number = 0
    while len(page) < padding_kb * 1024:
        page += "\n" + bucket % (number, MODEL)
        number += 1
    return page + "\n"


def _direct(path: dict[str, Any], body: str, kind: str) -> dict[str, Any]:
    return {
        "match": path,
        "direct_response": {"status": 200, "body": {"inline_string": body}},
        "response_headers_to_add": [
            {"header": {"key": "content-type", "value": kind}, "append_action": "OVERWRITE_IF_EXISTS_OR_ADD"}
        ],
    }


def _listener(port: int, page: str) -> dict[str, Any]:
    routes = [
        _direct({"path": "/metrics"}, page, "text/plain; version=0.0.4"),
        _direct({"path": "/v1/models"}, MODELS, "application/json"),
        _direct({"prefix": "/"}, ANSWER, "application/json"),
    ]
    manager = {
        "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "server",
        "route_config": {
            "max_direct_response_body_size_bytes": 1 << 20,
            "virtual_hosts": [{"name": "all", "domains": ["*"], "routes": routes}],
        },
        "http_filters": [
            {
                "name": "envoy.filters.http.buffer",
                "typed_config": {
                    "@type": "type.googleapis.com/envoy.extensions.filters.http.buffer.v3.Buffer",
                    "max_request_bytes": 64 << 20,
                },
            },
            {
                "name": "envoy.filters.http.router",
                "typed_config": {
                    "@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"
                },
            },
        ],
    }
    return {
        "name": f"server-{port}",
        "address": {"socket_address": {"address": "127.0.0.1", "port_value": port}},
        "filter_chains": [{"filters": [{"name": "http", "typed_config": manager}]}],
    }


@contextmanager
def model_servers(count: int, padding_kb: int = 20) -> Iterator[list[str]]:
    """The URLs of *count* servers, up until the block ends."""
    ports = [free_port() for _ in range(count)]
    page = metrics_page(padding_kb)
    config = {"static_resources": {"listeners": [_listener(port, page) for port in ports]}}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "servers.json"
        path.write_text(json.dumps(config))
        args = [
            str(find_envoy()),
            "-c",
            str(path),
            "--concurrency",
            "1",
            "--disable-hot-restart",
            "--log-level",
            "error",
        ]
        child = Child(args)
        try:
            eventually(lambda: get_json(f"http://127.0.0.1:{ports[-1]}/v1/models"))
            yield [f"http://127.0.0.1:{port}" for port in ports]
        finally:
            child.stop()
