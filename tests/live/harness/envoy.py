"""A real Envoy with a configuration written out in full, and the pieces such configurations are made of."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from tests.live.harness.processes import Child, eventually, free_port, get_json

from headgate.io.envoy.binary import find_envoy

Json = dict[str, Any]


def typed(name: str, **content: Any) -> Json:
    """A message of Envoy's extensions packed into an Any, such as `filters.http.router.v3.Router`."""
    return {"@type": f"type.googleapis.com/envoy.extensions.{name}", **content}


def address(endpoint: str) -> Json:
    """`ip:port` as Envoy writes it."""
    host, _, port = endpoint.rpartition(":")
    return {"socket_address": {"address": host, "port_value": int(port)}}


def assignment(name: str, endpoints: list[str]) -> Json:
    """The endpoints of a cluster of fixed addresses."""
    hosts = [{"endpoint": {"address": address(each)}} for each in endpoints]
    return {"cluster_name": name, "endpoints": [{"lb_endpoints": hosts}]}


def listener(port: int, manager: Json) -> Json:
    """A loopback listener whose connections *manager* serves: the fields of an HttpConnectionManager."""
    whole = typed(
        "filters.network.http_connection_manager.v3.HttpConnectionManager", stat_prefix="test", **manager
    )
    return {
        "name": f"http-{port}",
        "address": address(f"127.0.0.1:{port}"),
        "filter_chains": [{"filters": [{"name": "http", "typed_config": whole}]}],
    }


def start_envoy(listeners: list[Json], clusters: list[Json], folder: Path) -> tuple[Child, int]:
    """Start an Envoy of one worker; it and its admin port. *folder* keeps the configuration."""
    admin = free_port()
    config = folder / "bootstrap.json"
    resources = {"listeners": listeners, "clusters": clusters}
    whole = {
        "node": {"id": "test", "cluster": "test"},
        "admin": {"address": address(f"127.0.0.1:{admin}")},
        "static_resources": resources,
        "bootstrap_extensions": [
            {
                "name": "envoy.bootstrap.internal_listener",
                "typed_config": typed("bootstrap.internal_listener.v3.InternalListener"),
            }
        ],
    }
    config.write_text(json.dumps(whole))
    options = ("--concurrency", "1", "--disable-hot-restart", "--log-level", "warning")
    return Child([str(find_envoy()), "-c", str(config), *options]), admin


def envoy_ready(child: Child, admin: int) -> bool:
    """Whether it serves; OSError while it does not answer."""
    assert child.process.poll() is None, f"Envoy ended: {child}"
    return bool(get_json(f"http://127.0.0.1:{admin}/server_info")["state"] == "LIVE")


@asynccontextmanager
async def running_envoy(listeners: list[Json], clusters: list[Json], folder: Path) -> AsyncIterator[None]:
    """An Envoy that serves until the block ends."""
    child, admin = start_envoy(listeners, clusters, folder)
    try:
        await asyncio.to_thread(eventually, lambda: envoy_ready(child, admin))
        yield
    finally:
        await asyncio.to_thread(child.stop)
