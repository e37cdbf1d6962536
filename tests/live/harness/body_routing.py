"""An Envoy with the gateway's body-reading filters in front of routes that answer with what was read."""

import io
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
from tests.live.harness.envoy import Json, listener, running_envoy, typed
from tests.live.harness.processes import free_port

from headgate.gateway.envoy import body_script, model_routing, names
from headgate.gateway.settings import GatewaySettings
from headgate.model import headers

ROUTER = {"name": "router", "typed_config": typed("filters.http.router.v3.Router")}


def without_ext_proc(switched_on: Json) -> Json:
    """What `model_routing.switched_on` gave, for a chain without pickers."""
    return {name: each for name, each in switched_on.items() if name != names.EXT_PROC}


def echo(name: str, **match: Any) -> Json:
    """A route that answers with its name, the two headers and why nothing was read."""
    said = {
        "route": name,
        "model": f"%REQ({headers.MODEL_NAME})%",
        "base": f"%REQ({headers.BASE_MODEL_NAME})%",
        "unread": f"%DYNAMIC_METADATA({body_script.NAMESPACE}:{body_script.UNREAD})%",
        "mark": f"%REQ({body_script.READ_MARK})%",
    }
    answer = {"status": 200, "body_format": {"json_format": said}}
    return {"name": name, "match": match or {"prefix": "/"}, "direct_response": answer}


def named(model: str, header_name: str = headers.MODEL_NAME) -> Json:
    """The header matches of a route for one model."""
    return {"headers": [{"name": header_name, "string_match": {"exact": model}}]}


class BodyRouting:
    """A running one."""

    def __init__(self, port: int, http: aiohttp.ClientSession) -> None:
        self.url = f"http://127.0.0.1:{port}"
        self._http = http

    def raw(
        self, body: Any, content_type: str | None = "application/json", path: str = "/", **more: Any
    ) -> Any:
        """One POST, or what *method* says: the context of its answer."""
        sent = {} if content_type is None else {"content-type": content_type}
        sent |= more.pop("headers", {})
        return self._http.request(
            more.pop("method", "POST"),
            self.url + path,
            data=io.BytesIO(body) if isinstance(body, bytes) else body,
            headers=sent,
            skip_auto_headers=["content-type"],
            **more,
        )

    async def ask(self, *request: Any, **more: Any) -> tuple[aiohttp.ClientResponse, Any]:
        """The same, and the JSON of its answer."""
        async with self.raw(*request, **more) as answer:
            return answer, json.loads(await answer.read())


@asynccontextmanager
async def body_routing(
    routes: Sequence[Json], folder: Path, switched_on: Json | None = None, limit: int = 64 << 20
) -> AsyncIterator[BodyRouting]:
    """Serves *routes* on one host, the filters switched on by *switched_on* (the usual way)."""
    port = free_port()
    on = without_ext_proc(model_routing.switched_on() if switched_on is None else switched_on)
    hosts = [{"name": "all", "domains": ["*"], "routes": list(routes)}]
    manager = {
        "route_config": {"virtual_hosts": hosts, "typed_per_filter_config": on},
        "http_filters": [*model_routing.filters(GatewaySettings(body_limit_bytes=limit)), ROUTER],
    }
    async with running_envoy([listener(port, manager)], [], folder), aiohttp.ClientSession() as http:
        yield BodyRouting(port, http)
