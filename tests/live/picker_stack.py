"""A picker process, a static Envoy in one of the two body modes, and small model servers, for live tests."""

import asyncio
import contextlib
import json
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp import web

import headgate

ENVOY = Path(sys.prefix) / "lib" / f"python{sys.version_info[0]}.{sys.version_info[1]}" / "site-packages"
ENVOY_BINARY = ENVOY / "envoy" / "_bin" / "envoy"
EXTENSIONS = "type.googleapis.com/envoy.extensions"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class ModelServer:
    """Answers completions, plain and streamed, and remembers what it was sent."""

    def __init__(self) -> None:
        self.bodies: list[bytes] = []
        self.headers: list[dict[str, str]] = []
        self.gaps_s = 0.01
        self.events = 5
        self.port = 0
        self._runner: web.AppRunner | None = None

    async def start(self) -> None:
        app = web.Application(client_max_size=1 << 30)
        app.router.add_get("/v1/models", self._models)
        app.router.add_route("*", "/{path:.*}", self._answer)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.2)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        self.port = self._runner.addresses[0][1]

    async def stop(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()

    @property
    def endpoint(self) -> str:
        return f"127.0.0.1:{self.port}"

    async def _models(self, _: web.Request) -> web.Response:
        return web.json_response({"object": "list", "data": [{"id": "m", "object": "model"}]})

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        if request.path == "/metrics":
            return web.Response(text="vllm:num_requests_waiting 0\nvllm:num_requests_running 0\n")
        body = await request.read()
        self.bodies.append(body)
        self.headers.append({name.lower(): value for name, value in request.headers.items()})
        told = json.loads(body) if body.startswith(b"{") and body.endswith(b"}") else {}
        usage = {"prompt_tokens": 11, "completion_tokens": self.events}
        model = told.get("model")
        if not told.get("stream"):
            return web.json_response({"id": "x", "model": model, "choices": [], "usage": usage})
        answer = web.StreamResponse(headers={"content-type": "text/event-stream"})
        await answer.prepare(request)
        for index in range(self.events):
            event = {"model": model, "choices": [{"index": index}]}
            await answer.write(b"data: " + json.dumps(event).encode() + b"\n\n")
            await asyncio.sleep(self.gaps_s)
        final: dict[str, Any] = {"model": model, "choices": [], "usage": usage}
        await answer.write(b"data: " + json.dumps(final).encode() + b"\n\ndata: [DONE]\n\n")
        return answer


def bootstrap(
    mode: str, port: int, picker_port: int, endpoints: list[str], *, tls: bool, fail_open: bool = False
) -> dict[str, Any]:
    """A static Envoy: *mode* is `duplex` (as foreign gateways do it), `lean` (as our own) or `skip`."""
    processing = {
        "duplex": {
            "request_header_mode": "SEND",
            "response_header_mode": "SEND",
            "request_body_mode": "FULL_DUPLEX_STREAMED",
            "response_body_mode": "FULL_DUPLEX_STREAMED",
            "request_trailer_mode": "SEND",
            "response_trailer_mode": "SEND",
        },
        "lean": {
            "request_header_mode": "SEND",
            "response_header_mode": "SEND",
            "request_body_mode": "BUFFERED",
            "response_body_mode": "STREAMED",
        },
        "skip": {
            "request_header_mode": "SEND",
            "response_header_mode": "SKIP",
            "request_body_mode": "BUFFERED",
            "response_body_mode": "NONE",
        },
    }[mode]
    service: dict[str, Any] = {"envoy_grpc": {"cluster_name": "picker"}}
    if mode == "lean":
        service["initial_metadata"] = [{"key": "x-headgate-lean", "value": "1"}]
    ext_proc = {
        "@type": f"{EXTENSIONS}.filters.http.ext_proc.v3.ExternalProcessor",
        "grpc_service": service,
        "failure_mode_allow": fail_open,
        "processing_mode": processing,
        "message_timeout": "5s",
        "status_on_error": {"code": "ServiceUnavailable"},
        "metadata_options": {
            "receiving_namespaces": {"untyped": ["envoy.lb", "headgate"]},
            "forwarding_namespaces": {"untyped": ["envoy.lb", "envoy.lb.subset_hint"]},
        },
    }
    selected = {"prompt_tokens": "prompt", "completion_tokens": "completion"}
    rules = [
        {
            "rule": {
                "selectors": [{"key": "usage"}, {"key": key}],
                "on_present": {"metadata_namespace": "headgate.usage", "type": "NUMBER", "key": name},
            }
        }
        for key, name in selected.items()
    ]
    sse: dict[str, Any] = {
        "@type": f"{EXTENSIONS}.filters.http.sse_to_metadata.v3.SseToMetadata",
        "response_rules": {
            "content_parser": {
                "name": "json",
                "typed_config": {
                    "@type": f"{EXTENSIONS}.content_parsers.json.v3.JsonContentParser",
                    "rules": rules,
                },
            }
        },
    }
    router = {"@type": f"{EXTENSIONS}.filters.http.router.v3.Router"}
    filters = [{"name": "envoy.filters.http.ext_proc", "typed_config": ext_proc}]
    if mode == "lean":
        filters.insert(0, {"name": "envoy.filters.http.sse_to_metadata", "typed_config": sse})
    filters.append({"name": "envoy.filters.http.router", "typed_config": router})
    access_log = {
        "name": "als",
        "typed_config": {
            "@type": f"{EXTENSIONS}.access_loggers.grpc.v3.HttpGrpcAccessLogConfig",
            "common_config": {
                "log_name": "headgate",
                "transport_api_version": "V3",
                "buffer_flush_interval": "0.05s",
                "buffer_size_bytes": 1,
                "grpc_service": {"envoy_grpc": {"cluster_name": "picker"}},
            },
        },
    }
    entry: dict[str, Any] = {"match": {"prefix": "/"}, "route": {"cluster": "pool", "timeout": "0s"}}
    if mode != "duplex":
        entry["request_body_buffer_limit"] = 64 << 20
    manager = {
        "@type": f"{EXTENSIONS}.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "x",
        "route_config": {"virtual_hosts": [{"name": "a", "domains": ["*"], "routes": [entry]}]},
        "access_log": [access_log] if mode == "lean" else [],
        "http_filters": filters,
    }
    key = {"key": "envoy.lb", "path": [{"key": "x-gateway-destination-endpoint"}]}
    served = {"key": "envoy.lb", "path": [{"key": "x-gateway-destination-endpoint-served"}]}
    round_robin = {
        "typed_extension_config": {
            "name": "rr",
            "typed_config": {"@type": f"{EXTENSIONS}.load_balancing_policies.round_robin.v3.RoundRobin"},
        }
    }
    override = {
        "@type": f"{EXTENSIONS}.load_balancing_policies.override_host.v3.OverrideHost",
        "override_host_sources": [{"metadata": key}],
        "selected_host_key": served,
        "fallback_policy": {"policies": [round_robin]},
    }
    picker: dict[str, Any] = {
        "name": "picker",
        "type": "STATIC",
        "typed_extension_protocol_options": {
            "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
                "@type": f"{EXTENSIONS}.upstreams.http.v3.HttpProtocolOptions",
                "explicit_http_config": {"http2_protocol_options": {}},
            }
        },
        "load_assignment": assignment("picker", [f"127.0.0.1:{picker_port}"]),
    }
    if tls:
        context = {"@type": f"{EXTENSIONS}.transport_sockets.tls.v3.UpstreamTlsContext"}
        picker["transport_socket"] = {"name": "envoy.transport_sockets.tls", "typed_config": context}
    pool = {
        "name": "pool",
        "type": "STATIC",
        "load_balancing_policy": {
            "policies": [{"typed_extension_config": {"name": "o", "typed_config": override}}]
        },
        "load_assignment": assignment("pool", endpoints),
    }
    listener = {
        "address": address(f"127.0.0.1:{port}"),
        "filter_chains": [{"filters": [{"name": "h", "typed_config": manager}]}],
        "per_connection_buffer_limit_bytes": 32768,
    }
    return {"static_resources": {"listeners": [listener], "clusters": [pool, picker]}}


def address(endpoint: str) -> dict[str, Any]:
    host, _, port = endpoint.rpartition(":")
    return {"socket_address": {"address": host, "port_value": int(port)}}


def assignment(name: str, endpoints: list[str]) -> dict[str, Any]:
    hosts = [{"endpoint": {"address": address(each)}} for each in endpoints]
    return {"cluster_name": name, "endpoints": [{"lb_endpoints": hosts}]}


@contextlib.asynccontextmanager
async def process(*command: str, log: Path) -> AsyncIterator[asyncio.subprocess.Process]:
    """A child process that ends with the block; its output goes to *log*."""
    environment = {**os.environ, "PYTHONPATH": str(Path(headgate.__file__).parents[1])}
    with log.open("wb") as out:
        child = await asyncio.create_subprocess_exec(*command, stdout=out, stderr=out, env=environment)
    try:
        yield child
    finally:
        if child.returncode is None:
            child.send_signal(signal.SIGKILL)
        await child.wait()


async def until_listening(port: int, child: asyncio.subprocess.Process, read_log: Callable[[], str]) -> None:
    for _ in range(300):
        if child.returncode is not None:
            break
        with contextlib.suppress(OSError):
            _, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.close()
            await writer.wait_closed()
            return
        await asyncio.sleep(0.05)
    raise AssertionError(f"nothing listens on {port}: {read_log()[-3000:]}")


class Picker:
    """A running picker process."""

    def __init__(self, child: asyncio.subprocess.Process, ports: dict[str, int], log: Path) -> None:
        self.child = child
        self.grpc, self.health, self.metrics, self.admin = (
            ports[name] for name in ("grpc", "health", "metrics", "admin")
        )
        self.log = log

    async def get(self, path: str, port: int | None = None) -> tuple[int, str]:
        url = f"http://127.0.0.1:{port or self.admin}{path}"
        async with aiohttp.ClientSession() as session, session.get(url) as answer:
            return answer.status, await answer.text()

    async def status(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((await self.get("/v1/status"))[1])
        return found

    async def in_flight(self) -> int:
        return sum(pool["in_flight"] for pool in (await self.status())["pools"])

    async def last(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((await self.get("/v1/decisions/last"))[1])
        return found

    async def concluded(self) -> dict[str, Any]:
        """The last decision, once its outcome is known."""
        for _ in range(100):
            record = await self.last()
            if record["outcome"] is not None:
                return record
            await asyncio.sleep(0.02)
        raise AssertionError(f"no outcome: {record}")


@contextlib.asynccontextmanager
async def picker(folder: Path, *arguments: str) -> AsyncIterator[Picker]:
    """`headgate picker` with free ports."""
    ports = {name: free_port() for name in ("grpc", "health", "metrics", "admin")}
    log = folder / "picker.log"
    command = [sys.executable, "-m", "headgate", "picker", "--host", "127.0.0.1"]
    command += ["--grpc-port", str(ports["grpc"]), "--grpc-health-port", str(ports["health"])]
    command += ["--metrics-port", str(ports["metrics"]), "--admin-port", str(ports["admin"])]
    async with process(*command, *arguments, log=log) as child:
        await until_listening(ports["admin"], child, log.read_text)
        yield Picker(child, ports, log)


@contextlib.asynccontextmanager
async def envoy(folder: Path, config: dict[str, Any], port: int) -> AsyncIterator[str]:
    """An Envoy with a static configuration; yields its URL."""
    file, log = folder / "envoy.json", folder / "envoy.log"
    file.write_text(json.dumps(config))
    command = [str(ENVOY_BINARY), "-c", str(file), "--concurrency", "1", "--use-dynamic-base-id"]
    async with process(*command, "--log-level", "warning", log=log) as child:
        await until_listening(port, child, log.read_text)
        yield f"http://127.0.0.1:{port}"
