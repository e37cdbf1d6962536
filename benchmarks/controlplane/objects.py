"""Objects of a cluster with many routes, as manifests and as the values that a source hands over."""

from collections.abc import Mapping, Sequence
from typing import Any

from tests import manifests as manifest

from headgate.manifests.decode import decode
from headgate.model.objects import Object, Pod

ENDPOINTS = 10
"""Of each pool."""

ROUTES_TO_A_POOL = 5
CHANGES_A_SECOND = 50

LIVE = "live"
"""The ModelServer that answers."""


def host_name(number: int | str) -> str:
    """The host of a route."""
    return f"h{number}.example.com"


def address(pool: int, number: int) -> str:
    """Of an endpoint that nobody asks."""
    return f"10.{pool >> 8}.{pool & 255}.{number + 1}:8000"


def of_cluster(routes: int, pools: int, server: str, one_host: bool) -> list[Object]:
    """A Gateway, *pools* pools of `ENDPOINTS` ModelServers, and *routes* routes to them, on as many hosts or on
    one; and the ModelServer *server* (a URL), for requests that are to be answered, with a first route to it."""
    found = [manifest.gateway(), manifest.model_server(LIVE, server, LIVE)]
    for pool in range(pools):
        found.append(manifest.pool(f"p{pool}"))
        found += manifest.model_servers([address(pool, each) for each in range(ENDPOINTS)], f"p{pool}")
    for number in range(routes):
        rule = manifest.rule(f"p{number % pools}", path=f"/v1/{number}" if one_host else "/v1")
        found.append(_route(number, rule, one_host))
    return sorted([*decoded(found), answered_route("first", one_host)], key=lambda each: each.identity)


def answered_route(number: str, one_host: bool) -> Object:
    """A route whose requests are answered by the ModelServer `LIVE`."""
    rule = {
        "matches": [{"path": {"type": "PathPrefix", "value": path_of(number, one_host)}}],
        "backendRefs": [{"group": "headgate.dev", "kind": "ModelServer", "name": LIVE}],
    }
    return decoded([_route(number, rule, one_host)])[0]


def host_of(number: str, one_host: bool) -> str:
    """The host that an answered route takes."""
    return host_name("all" if one_host else number)


def path_of(number: str, one_host: bool) -> str:
    """The path that an answered route takes."""
    return f"/v1/{number}" if one_host else "/v1"


def _route(number: int | str, rule: Mapping[str, Any], one_host: bool) -> manifest.Manifest:
    route = manifest.route(rule, name=f"r{number}")
    route["spec"]["hostnames"] = [host_name("all" if one_host else number)]
    return route


def pods(pools: int) -> list[Object]:
    """*pools* pools and `ENDPOINTS` ready pods of each."""
    found = [pod(pool, number) for pool in range(pools) for number in range(ENDPOINTS)]
    return sorted(
        [*decoded([manifest.pool(f"p{each}") for each in range(pools)]), *found],
        key=lambda each: each.identity,
    )


def pod(pool: int, number: int, **labels: str) -> Object:
    """A ready pod of a pool."""
    written = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": f"p{pool}-{number}",
            "namespace": "default",
            "labels": {"app": f"p{pool}", **labels},
        },
        "status": {
            "podIP": address(pool, number).partition(":")[0],
            "phase": "Running",
            "conditions": [{"type": "Ready", "status": "True"}],
        },
    }
    made = decoded([written])[0]
    assert isinstance(made, Pod)
    return made


def decoded(found: Sequence[Mapping[str, Any]]) -> list[Object]:
    """The objects that manifests say."""
    made = [decode(each, "bench.yaml", lambda _: 0) for each in found]
    wrong = [str(problem) for each in made for problem in each.problems]
    assert not wrong, wrong[:3]
    return [each.object for each in made if each.object is not None]
