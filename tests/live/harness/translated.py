"""Manifests translated by the gateway half and run on a real Envoy, without a controller."""

import contextlib
import json
from collections.abc import AsyncIterator
from pathlib import Path

from tests.live.harness.envoy import Json, running_envoy

from headgate.gateway.settings import GatewaySettings
from headgate.gateway.translate import Translation, translate
from headgate.model.snapshot import Snapshot


def written_out(translation: Translation) -> tuple[list[Json], list[Json]]:
    """Listeners and clusters in which what ADS would deliver stands where it is asked for."""
    resources = json.loads(json.dumps(translation.resources))
    for listener in resources["listener"].values():
        manager = listener["filter_chains"][0]["filters"][0]["typed_config"]
        if "rds" in manager:
            manager["route_config"] = resources["route"][manager.pop("rds")["route_config_name"]]
        else:
            manager["scoped_routes"] = {
                "name": "hosts",
                "scope_key_builder": manager["scoped_routes"]["scope_key_builder"],
                "scoped_route_configurations_list": {
                    "scoped_route_configurations": list(resources["scope"].values())
                },
            }
    for name, cluster in resources["cluster"].items():
        if cluster["type"] == "EDS":
            del cluster["eds_cluster_config"]
            cluster |= {"type": "STATIC", "load_assignment": resources["endpoint"][name]}
    return list(resources["listener"].values()), list(resources["cluster"].values())


@contextlib.asynccontextmanager
async def translated_envoy(found: Snapshot, settings: GatewaySettings, folder: Path) -> AsyncIterator[str]:
    """The gateway's URL while Envoy runs the snapshot's configuration."""
    async with running_envoy(*written_out(translate(found, settings, with_secrets=True)), folder):
        yield f"http://127.0.0.1:{settings.port}"
