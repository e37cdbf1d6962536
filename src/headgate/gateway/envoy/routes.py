"""Route configurations (RDS): matches, weighted clusters with their pickers, retries, timeouts."""

from collections.abc import Sequence
from typing import Any, assert_never

import msgspec

from headgate.gateway.api import Effect, HostsTarget, PoolTarget, Target
from headgate.gateway.envoy import model_routing, names, second_chance
from headgate.gateway.envoy.header_options import header
from headgate.gateway.envoy.names import Json, duration, typed
from headgate.gateway.envoy.replies import NO_BACKEND, NO_ROUTE, error_body
from headgate.gateway.settings import GatewaySettings
from headgate.model import headers
from headgate.model.durations import seconds
from headgate.model.endpoints import Pool
from headgate.model.objects import RouteMatch, RouteRule, ValueMatch

_EXT_PROC_PER_ROUTE = "envoy.extensions.filters.http.ext_proc.v3.ExtProcPerRoute"

RETRIES = 3
"""Attempts after the first one; each takes the next endpoint of the picker's list."""

BUFFERED_MODE: Json = {
    "request_header_mode": "SEND",
    "request_body_mode": "BUFFERED",
    "request_trailer_mode": "SKIP",
    "response_header_mode": "SEND",
    "response_body_mode": "STREAMED",
    "response_trailer_mode": "SKIP",
}
"""Our own picker: with a buffered body, message timeout and fail-open really work."""

UNCHANGED_MODE: Json = BUFFERED_MODE | {"response_header_mode": "SKIP"}
"""The same for a pool that renames no model: its answers never need a change.

While the picker looks at response headers, Envoy holds them back and can no longer retry: a server that died
in that moment would cost the request.
"""

DUPLEX_MODE: Json = {
    "request_header_mode": "SEND",
    "request_body_mode": "FULL_DUPLEX_STREAMED",
    "request_trailer_mode": "SEND",
    "response_header_mode": "SEND",
    "response_body_mode": "FULL_DUPLEX_STREAMED",
    "response_trailer_mode": "SEND",
}
"""What every conformant picker speaks."""


class Share(msgspec.Struct, frozen=True):
    """One backend of a rule and its part of the requests."""

    weight: int
    target: Target | None
    """None: it cannot be served, and its part is answered with 500."""
    effect: Effect


def configuration(
    name: str,
    virtual_hosts: Sequence[tuple[str, Sequence[Json]]],
    settings: GatewaySettings,
    by_model: bool = False,
) -> Json:
    """A route configuration from (domain, routes in order) pairs; hosts that are not named get 404.

    *by_model*: some route matches the model's name. The header goes no further, as it may hold any text.
    """
    more: Json = {}
    if by_model:
        more["typed_per_filter_config"] = model_routing.switched_on()
        more["request_headers_to_remove"] = [headers.MODEL_NAME]
    last = [_nowhere()] if by_model else []
    return {
        "name": name,
        "ignore_port_in_host_matching": True,
        "validate_clusters": False,
        "virtual_hosts": [
            {
                "name": domain,
                "domains": [domain],
                "request_body_buffer_limit": settings.body_limit_bytes,
                "include_request_attempt_count": True,
                "routes": [*routes, *last],
            }
            for domain, routes in virtual_hosts
        ],
        **more,
    }


def _nowhere() -> Json:
    """Answers as if there were no route, which is how a request must not begin where models are matched."""
    return {
        "name": "no-route",
        "match": {"prefix": "/"},
        **fail(NO_ROUTE.reason, NO_ROUTE.message, 404, NO_ROUTE.type),
    }


def match(wanted: RouteMatch) -> Json:
    """An Envoy RouteMatch. Of two headers of one name only the first counts, as Gateway API says."""
    found = _path(wanted)
    conditions = [_value(each, "name") for each in _distinct(wanted.headers)]
    if wanted.method is not None:
        conditions.insert(0, {"name": ":method", "string_match": {"exact": wanted.method}})
    if conditions:
        found["headers"] = conditions
    if wanted.query_params:
        found["query_parameters"] = [_value(each, "name") for each in wanted.query_params]
    return found


def action(rule: RouteRule, effect: Effect, shares: Sequence[Share], settings: GatewaySettings) -> Json:
    """The rest of an Envoy Route: where the requests go and what happens to their headers."""
    if effect.redirect is not None:
        return {"redirect": dict(effect.redirect), **_headers(effect)}
    served = [share for share in shares if share.weight]
    if not any(share.target is not None for share in served):
        message = (
            "No backend of this route's rule can be served."
            if shares
            else "This route's rule has no backend."
        )
        return fail(NO_BACKEND, message)
    pools = [share.target.pool for share in served if isinstance(share.target, PoolTarget)]
    hosts = any(isinstance(share.target, HostsTarget) for share in served)
    forward: Json = {
        "weighted_clusters": {"clusters": [_weighted(share) for share in served]},
        "cluster_not_found_response_code": "INTERNAL_SERVER_ERROR",
        "timeout": duration(seconds(rule.timeouts.request or "0s")),
        "retry_policy": _retries(rule, settings, pools=bool(pools), hosts=hosts),
    }
    if any(endpoint.scheme == "https" for share in served for endpoint in _endpoints(share.target)):
        forward["auto_host_rewrite"] = True
    forward |= effect.action
    if "host_rewrite_literal" in forward:
        forward.pop("auto_host_rewrite", None)
    removed = Effect(request_remove=headers.NEVER_TO_SERVERS if pools else (headers.DESTINATION,))
    return {"route": forward, **_headers(effect.then(removed))}


def fail(reason: str, message: str, status: int = 500, type_: str = "server_error") -> Json:
    """A route that answers every request with an error."""
    return {
        "direct_response": {
            "status": status,
            "body": {"inline_string": error_body(message, type_, reason) + "\n"},
        },
        "response_headers_to_add": [
            header("content-type", "application/json"),
            header(headers.REASON, reason),
        ],
    }


def _endpoints(target: Target | None) -> tuple[Any, ...]:
    match target:
        case None:
            return ()
        case PoolTarget(pool):
            return pool.endpoints
        case HostsTarget():
            return target.endpoints
        case _:
            assert_never(target)


def _path(wanted: RouteMatch) -> Json:
    value = wanted.path.value
    match wanted.path.type:
        case "Exact":
            return {"path": value}
        case "RegularExpression":
            return {"safe_regex": {"regex": value}}
        case "PathPrefix":
            stem = value.rstrip("/")
            return {"path_separated_prefix": stem} if stem else {"prefix": "/"}


def _distinct(values: Sequence[ValueMatch]) -> list[ValueMatch]:
    first: dict[str, ValueMatch] = {}
    for each in values:
        first.setdefault(each.name.lower(), each)
    return list(first.values())


def _value(wanted: ValueMatch, key: str) -> Json:
    if wanted.type == "Exact":
        return {key: wanted.name, "string_match": {"exact": wanted.value}}
    return {key: wanted.name, "string_match": {"safe_regex": {"regex": wanted.value}}}


def _weighted(share: Share) -> Json:
    match share.target:
        case None:
            return {"name": names.NO_BACKEND, "weight": share.weight}
        case PoolTarget(pool):
            entry: Json = {"name": names.pool(pool.key), "weight": share.weight}
            entry["typed_per_filter_config"] = {names.EXT_PROC: ask(pool)}
            told = (
                header(headers.REASON, second_chance.REASON, "ADD_IF_ABSENT"),
                header(headers.ENDPOINT, _metadata(headers.LB_NAMESPACE, headers.SERVED), "ADD_IF_ABSENT"),
                header(headers.DECISION, _decision(pool), "ADD_IF_ABSENT"),
            )
            return entry | _headers(share.effect.then(Effect(response_add=told)))
        case HostsTarget(cluster):
            peer = header(headers.ENDPOINT, "%UPSTREAM_REMOTE_ADDRESS%", "ADD_IF_ABSENT")
            effect = Effect(response_add=(peer,))
            return {"name": cluster, "weight": share.weight} | _headers(share.effect.then(effect))
        case _:
            assert_never(share.target)


def _decision(pool: Pool) -> str:
    """What our picker wrote down, or `fallback`; of a foreign picker only that it picked is known."""
    if pool.picker is None:
        return _metadata(headers.OWN_NAMESPACE, "decision")
    known = "metadata.filter_metadata"
    namespace, key = headers.LB_NAMESPACE, headers.DESTINATION
    picked = f"'{namespace}' in {known} && '{key}' in {known}['{namespace}']"
    return f"%CEL({picked} ? 'picked by {pool.picker.service}' : 'fallback')%"


def _metadata(namespace: str, key: str) -> str:
    return f"%DYNAMIC_METADATA({namespace}:{key})%"


def ask(pool: Pool) -> Json:
    """Switches the picker on for one weighted cluster.

    With our own picker FailClose is the cluster's doing, which refuses what nobody picked: if ext_proc failed
    the request instead, a picker that dies would also cut the answers that it is just looking at.
    """
    own = pool.picker is None
    cluster = names.OWN_PICKER if pool.picker is None else names.picker(pool.picker.service)
    told = [{"key": headers.POOL, "value": pool.key}]
    if own:
        told.append({"key": headers.LEAN, "value": "1"})
    return typed(
        _EXT_PROC_PER_ROUTE,
        overrides={
            "grpc_service": names.grpc(cluster),
            "grpc_initial_metadata": told,
            "failure_mode_allow": own or pool.failure_mode == "FailOpen",
            "processing_mode": _mode(pool),
        },
    )


def _mode(pool: Pool) -> Json:
    if pool.picker is not None:
        return DUPLEX_MODE
    renamed = any(target.name != rule.model_name for rule in pool.models for target in rule.targets)
    return BUFFERED_MODE if renamed else UNCHANGED_MODE


def _headers(effect: Effect) -> Json:
    found: Json = {
        "request_headers_to_add": list(effect.request_add),
        "request_headers_to_remove": list(effect.request_remove),
        "response_headers_to_add": list(effect.response_add),
        "response_headers_to_remove": list(effect.response_remove),
    }
    return {key: value for key, value in found.items() if value}


def _retries(rule: RouteRule, settings: GatewaySettings, *, pools: bool, hosts: bool) -> Json:
    """Pools: the next endpoint of the list while no byte of the answer came, once at most after the request
    was sent (`second_chance`). Plain hosts have no such guard: there, and where they share a rule with pools,
    only what no server has taken, or has answered with 503, goes to the next.
    """
    policy: Json = {
        "retry_on": "connect-failure",
        "num_retries": RETRIES,
        "retry_back_off": {"base_interval": "0.005s", "max_interval": "0.050s"},
        "host_selection_retry_max_attempts": RETRIES,
        "retry_host_predicate": [
            {
                "name": "envoy.retry_host_predicates.previous_hosts",
                "typed_config": typed("envoy.extensions.retry.host.previous_hosts.v3.PreviousHostsPredicate"),
            }
        ],
    }
    if pools:
        policy["retry_on"] = "connect-failure,refused-stream,retriable-status-codes"
        policy["retriable_status_codes"] = [503]
    if pools and not hosts:
        policy["retry_on"] += ",reset"
        policy["per_try_timeout"] = duration(settings.rescue_s)
    if rule.timeouts.backend_request is not None:
        policy["per_try_timeout"] = duration(seconds(rule.timeouts.backend_request))
    return policy
