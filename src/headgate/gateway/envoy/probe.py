"""A listener for the supervisor alone: asks a pool's picker whether it answers, by Envoy's own way to it.

It stands on a private Unix socket, leads to no model server, and its path reaches no picker by any other
listener: there the health check answers it first.
"""

from collections.abc import Iterable

from headgate.gateway.envoy import asking, names
from headgate.gateway.envoy.names import Json, extension
from headgate.gateway.settings import GatewaySettings
from headgate.model import headers
from headgate.model.endpoints import Pool

NAME = "probe"
"""Of the listener and of its route configuration."""

_ROUTER = "envoy.extensions.filters.http.router.v3.Router"


def listener(path: str, settings: GatewaySettings) -> Json:
    """The listener on the Unix socket *path*."""
    manager = extension(
        "envoy.filters.network.http_connection_manager",
        "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        stat_prefix=NAME,
        codec_type="HTTP1",
        rds={"route_config_name": NAME, "config_source": {"ads": {}, "resource_api_version": "V3"}},
        http_filters=[asking.ext_proc(settings), extension("envoy.filters.http.router", _ROUTER)],
    )
    return {
        "name": NAME,
        "address": {"pipe": {"path": path, "mode": 0o600}},
        "filter_chains": [{"filters": [manager]}],
    }


def configuration(pools: Iterable[Pool]) -> Json:
    """A route for each pool of our own picker, chosen by the header `headers.POOL`; the picker answers."""
    own = [pool for pool in pools if pool.picker is None]
    host: Json = {"name": NAME, "domains": ["*"], "routes": [_route(pool) for pool in own]}
    return {"name": NAME, "validate_clusters": False, "virtual_hosts": [host]}


def _route(pool: Pool) -> Json:
    asked = asking.ask(pool)
    asked["overrides"]["failure_mode_allow"] = False
    wanted = {"name": headers.POOL, "string_match": {"exact": pool.key}}
    return {
        "name": pool.key,
        "match": {"path": headers.HEALTH_PATH, "headers": [wanted]},
        "direct_response": {"status": 502},  # a picker that lets the request pass has not understood it
        "typed_per_filter_config": {names.EXT_PROC: asked},
    }
