"""Route configurations: matches, weighted clusters with their pickers, retries, timeouts."""

from collections.abc import Mapping, Sequence
from typing import Any, assert_never

from msgspec.structs import replace

from headgate.gateway import ir
from headgate.gateway.api import Effect, FilterPlugin, Position
from headgate.gateway.envoy import (
    access,
    fallback,
    model_routing,
    names,
    relay,
    retries,
    second_chance,
    sessions,
)
from headgate.gateway.envoy.asking import asked, picker_cluster, whole_body
from headgate.gateway.envoy.header_options import header
from headgate.gateway.envoy.names import Json, duration, typed
from headgate.gateway.envoy.replies import MISDIRECTED, error_body
from headgate.gateway.envoy.wire import Constant
from headgate.gateway.settings import GatewaySettings
from headgate.model import headers
from headgate.model.endpoints import ForeignPicker

_HEADER_MUTATION = "envoy.extensions.filters.http.header_mutation.v3.HeaderMutationPerRoute"
_BUFFER_PER_ROUTE = "envoy.extensions.filters.http.buffer.v3.BufferPerRoute"

MODELS = "/v1/models"
"""Path of lists of models."""


def configuration(
    name: str, by_model: bool, base_models: Mapping[str, str], with_fallbacks: bool = False
) -> Json:
    """A route configuration without its hosts; hosts that are not named get 404.

    *by_model*: some route matches the model's name, or that of its base as *base_models* say it. What was
    read goes no further, as it may hold any text. *with_fallbacks*: some pool has one.
    """
    more: Json = {}
    removed = [headers.DESTINATION, headers.FALLBACK, headers.FLOW]
    if by_model:
        more["typed_per_filter_config"] = model_routing.switched_on(base_models)
        removed += headers.FROM_BODY
        if with_fallbacks:
            more["typed_per_filter_config"] |= fallback.made()
    return {
        "name": name,
        "request_headers_to_remove": removed,
        "ignore_port_in_host_matching": True,
        "most_specific_header_mutations_wins": True,
        "validate_clusters": False,
        **more,
    }


def host(
    domain: str, settings: GatewaySettings, who: ir.Access | None = None, flow: str | None = None
) -> Json:
    """A virtual host without its routes; *who* may call it, None: anybody. *flow*: the FlowPolicy of its
    requests, where that of their route does not count."""
    called = Effect() if who is None else Effect(per_filter=access.per_route(who))
    return {
        "name": domain,
        "domains": [domain],
        "request_body_buffer_limit": settings.body_limit_bytes,
        "include_request_attempt_count": True,
        "retry_policy": retries.of_pools(settings),
        **_changes(called.then(_naming(flow))),
    }


def misdirected(domain: str) -> Json:
    """A host of another TLS listener, asked for on this one's connection: the client has to open its own."""
    refusal = ir.Fail(MISDIRECTED.reason, MISDIRECTED.message, 421, MISDIRECTED.type)
    route = {"name": MISDIRECTED.reason, "match": {"prefix": "/"}, **fail(refusal)}
    return {"name": f"misdirected {domain}", "domains": [domain], "routes": [route]}


def routes(
    rule: ir.Rule,
    at: Position,
    settings: GatewaySettings,
    who: ir.Access | None = None,
    flow: str | None = None,
) -> tuple[Json, ...]:
    """The Envoy Routes of a rule, on a listener at *at*, to be tried in this order.

    *who* may call it; None: whoever may call the host. *flow*: the FlowPolicy of its requests, in place of
    the host's.

    Mostly one. Backends that Envoy cannot serve as weighted clusters of one route get their parts of the
    requests by a route each; browsers' preflights, which show neither the method nor the headers of the
    request to come, get one of their own where the match asks for such things.
    """
    effect = _effect(rule.filters, at).then(_told(rule, flow))
    found = [
        {"name": each.name, "match": match(each.match) | upto, **action}
        for part in _lists_apart(rule)
        for each in _websockets_apart(part)
        for upto, action in _actions(each, effect, at, settings)
    ]
    if effect.preflights and (rule.match.method is not None or rule.match.headers):
        found.append(found[-1] | {"match": _preflight(rule.match)})
    return _for_clients(found, who)


def models(pools: Sequence[ir.PoolBackend], at: Position, settings: GatewaySettings) -> Json:
    """The Envoy Route of lists of models: our picker lists those of all these pools."""
    keys = " ".join(each.pool.key for each in pools)
    action = ir.Forward((ir.Share(weight=1, backend=pools[0]),))
    asked = Effect(request_add=(header(headers.POOLS, keys),))
    method = {"name": ":method", "string_match": {"exact": "GET"}}
    match = {"path": MODELS, "headers": [method]}
    return {"name": "models", "match": match, **_forward(action, asked, at, settings)}


def clusters_of(rule: ir.Rule) -> frozenset[str]:
    """Clusters that the route of a rule names, pickers' among them."""
    found: set[str] = set()
    shares = rule.shares
    for each in (*rule.filters, *(one for share in shares for one in share.filters)):
        found.update(backend.cluster for backend in each.backends)
    for share in shares:
        for backend in (share.backend, share.fallback):
            if backend is not None:
                found.add(backend.cluster)
            if isinstance(backend, ir.PoolBackend):
                found.add(picker_cluster(backend.pool))
        if share.is_relayed:
            found.add(names.RELAY)
    return frozenset(found)


def fallbacks(
    rule: ir.Rule,
    at: Position,
    settings: GatewaySettings,
    who: ir.Access | None = None,
    flow: str | None = None,
) -> tuple[Json, ...]:
    """The Envoy Routes of requests that the pickers of a rule's pools named nobody for. They come before all
    others of their host."""
    if not isinstance(rule.action, ir.Forward):
        return ()
    effect, told = _effect(rule.filters, at), _told(rule, flow)
    found: list[Json] = []
    for share in rule.action.shares:
        backend = share.fallback
        if backend is None:
            continue
        action = replace(rule.action, shares=(replace(share, weight=1, backend=backend),))
        mark = _mark(rule.name, share)
        done = replace(effect, request_add=(), request_remove=()) if share.is_relayed else effect
        forward = _forward(action, done.then(told), at, settings, picker=fallback.SECOND)
        json = {"name": rule.name, "match": fallback.match(mark, _path(rule.match)), **forward}
        found.append(relay.again(json, mark) if share.is_relayed else json)
    return _for_clients(found, who)


def relays(rule: ir.Rule, settings: GatewaySettings) -> tuple[Json, ...]:
    """The Envoy Routes, on the relay's listener, of a rule's pools that are reached by it.

    What is done once to a request, or to its answer, the gateway's own route does.
    """
    if not isinstance(rule.action, ir.Forward):
        return ()
    at, path = Position("http", 80), _path(rule.match)
    found: list[Json] = []
    for share in rule.action.shares:
        if share.is_relayed:
            assert isinstance(share.backend, ir.PoolBackend)
            rewrites = _effect(rule.filters, at).then(_route_part(share, at)).action
            whole = replace(share, weight=1, filters=(), backend=replace(share.backend, fallback=None))
            timeouts = replace(rule.action.timeouts, request_s=None)
            action = replace(rule.action, shares=(whole,), timeouts=timeouts)
            json = _forward(action, Effect(action=rewrites), at, settings)
            if "retry_policy" not in json["route"]:
                json["route"]["retry_policy"] = retries.of_pools(settings)
            found.append({"name": rule.name, "match": relay.match(_mark(rule.name, share), path), **json})
    return tuple(found)


def _told(rule: ir.Rule, flow: str | None) -> Effect:
    """Our own picker, where the rule has one, is told the policy."""
    backends = [backend for share in rule.shares for backend in (share.backend, share.fallback)]
    ours = any(isinstance(each, ir.PoolBackend) and each.pool.picker is None for each in backends)
    return _naming(flow if ours else None)


def _naming(flow: str | None) -> Effect:
    """Names the FlowPolicy of requests to our picker; None: there is none."""
    return Effect() if flow is None else Effect(request_add=(header(headers.FLOW, flow),))


def _mark(rule: str, share: ir.Share) -> str:
    """Tells the requests of a rule that a pool was to take from all others."""
    return "" if share.backend is None else f"{rule}/{share.backend.cluster}"


def _for_clients(found: list[Json], who: ir.Access | None) -> tuple[Json, ...]:
    if who is None:
        return tuple(found)
    told = access.per_route(who)
    return tuple(
        each | {"typed_per_filter_config": {**each.get("typed_per_filter_config", {}), **told}}
        for each in found
    )


def _lists_apart(rule: ir.Rule) -> tuple[ir.Rule, ...]:
    """The rule as one or two, the first to be tried first.

    Lists of models, which a picker gives itself, are no refusal, so that no fallback is for them.
    """
    action = rule.action
    if not isinstance(action, ir.Forward) or not any(share.fallback for share in action.shares):
        return (rule,)
    wanted = rule.match
    if wanted.kind == "regex" or not f"{MODELS}/".startswith(f"{wanted.path.rstrip('/')}/"):
        return (rule,)
    lists = replace(wanted, kind="exact", path=MODELS)
    apart = replace(rule, match=lists, action=_without_fallbacks(action))
    return (apart,) if lists == wanted else (apart, rule)


def _websockets_apart(rule: ir.Rule) -> tuple[ir.Rule, ...]:
    """The same for WebSockets, which cannot take the relay: there is nothing to begin again with."""
    if not isinstance(rule.action, ir.Forward) or not any(each.is_relayed for each in rule.shares):
        return (rule,)
    handshake = ir.Condition("upgrade", "(?i)websocket", regex=True)
    match = replace(rule.match, headers=(*rule.match.headers, handshake))
    return replace(rule, match=match, action=_without_fallbacks(rule.action)), rule


def _without_fallbacks(action: ir.Forward) -> ir.Forward:
    shares = tuple(
        replace(each, backend=replace(each.backend, fallback=None))
        if isinstance(each.backend, ir.PoolBackend)
        else each
        for each in action.shares
    )
    return replace(action, shares=shares)


def match(wanted: ir.Match) -> Json:
    """An Envoy RouteMatch."""
    found = _path(wanted)
    conditions = [_value(each) for each in wanted.headers]
    if wanted.method is not None:
        conditions.insert(0, {"name": ":method", "string_match": {"exact": wanted.method}})
    if conditions:
        found["headers"] = conditions
    if wanted.query:
        found["query_parameters"] = [_value(each) for each in wanted.query]
    return found


def fail(refusal: ir.Fail) -> Json:
    """A route that answers every request with an error."""
    return {
        "direct_response": {
            "status": refusal.status,
            "body": {"inline_string": error_body(refusal.message, refusal.type, refusal.reason) + "\n"},
        },
        "response_headers_to_add": [
            header("content-type", "application/json"),
            header(headers.REASON, refusal.reason),
        ],
    }


def _effect(filters: tuple[ir.Filter, ...], at: Position) -> Effect:
    total = Effect()
    for each in filters:
        assert isinstance(each, FilterPlugin)
        total = total.then(each.effect(at))
    return total


def _actions(
    rule: ir.Rule, effect: Effect, at: Position, settings: GatewaySettings
) -> list[tuple[Json, Json]]:
    """What becomes of the rule's requests: a further part of the match, and the rest of the Envoy Route."""
    match rule.action:
        case ir.Fail():
            return [({}, fail(rule.action))]
        case ir.Answer():
            return [({}, {"redirect": dict(effect.redirect or {}), **_changes(effect)})]
        case ir.Forward():
            return [
                (upto, _forward(action, effect, at, settings, name=rule.name))
                for upto, action in _parts(rule.action, at)
            ]
        case _:
            assert_never(rule.action)


_MILLION = 1_000_000


def _parts(action: ir.Forward, at: Position) -> list[tuple[Json, ir.Forward]]:
    """One part that has all backends, or one for each, with the shares up to it as a part of the match.

    Envoy draws one number for a request: it takes the first route whose share is above it. Pools and plain
    hosts are retried differently, and a route has one policy.
    """
    kinds = {(type(share.backend), share.is_relayed) for share in action.shares if share.backend is not None}
    if len(kinds) < 2 and not any(_effect(share.filters, at).whole_route for share in action.shares):
        return [({}, action)]
    total = sum(share.weight for share in action.shares)
    found: list[tuple[Json, ir.Forward]] = []
    below = 0
    for share in action.shares:
        below += share.weight
        upto = {"numerator": below * _MILLION // total, "denominator": "MILLION"}
        last = share is action.shares[-1]
        fraction = {} if last else {"runtime_fraction": {"default_value": upto}}
        found.append((fraction, replace(action, shares=(replace(share, weight=1),))))
    return found


def _preflight(wanted: ir.Match) -> Json:
    """Browsers' question whether they may send a request that the match takes."""
    method: Json = {"name": "access-control-request-method"}
    if wanted.method is None:
        method["present_match"] = True
    else:
        method["string_match"] = {"exact": wanted.method}
    found = match(replace(wanted, method="OPTIONS", headers=()))
    return found | {"headers": [*found["headers"], {"name": "origin", "present_match": True}, method]}


def _forward(
    action: ir.Forward,
    effect: Effect,
    at: Position,
    settings: GatewaySettings,
    *,
    name: str = "",
    picker: str = names.EXT_PROC,
) -> Json:
    """*name* is the rule's, *picker* the filter that asks a pool's picker."""
    backends = [share.backend for share in action.shares if share.backend is not None]
    pools = any(isinstance(each, ir.PoolBackend) for each in backends)
    if len(action.shares) == 1:
        effect = effect.then(_route_part(action.shares[0], at))
    if effect.redirect is not None:
        return {"redirect": dict(effect.redirect), **_changes(effect)}
    relayed = [share for share in action.shares if share.is_relayed]
    forward: Json = {
        "weighted_clusters": {
            "clusters": [
                _weighted(share, at, settings, _mark(name, share), picker) for share in action.shares
            ]
        },
        "cluster_not_found_response_code": "INTERNAL_SERVER_ERROR",
        "timeout": duration(action.timeouts.request_s or 0.0),
    }
    if relayed:
        mirrors = {"request_mirror_policies": list(effect.mirrors)} if effect.mirrors else {}
        forward |= relay.redirected(_mark(name, share) for share in relayed) | mirrors
        return {"route": forward, **_changes(effect)}
    policy = retries.of_rule(action, settings, pools=pools)
    if policy is not None:
        forward["retry_policy"] = policy
    if any(label for each in backends for label, _ in each.tls):
        forward["auto_host_rewrite"] = True
    forward |= effect.action
    if "host_rewrite_literal" in forward:
        forward.pop("auto_host_rewrite", None)
    if effect.mirrors:
        forward["request_mirror_policies"] = list(effect.mirrors)
    found = {"route": forward, **_changes(effect)}
    if action.session is not None:
        found.setdefault("typed_per_filter_config", {}).update(sessions.per_route(action.session))
    return found


def _route_part(share: ir.Share, at: Position) -> Effect:
    """What a backend's filters do that its weighted cluster cannot."""
    effect = _effect(share.filters, at)
    return Effect(action=effect.action, mirrors=effect.mirrors, redirect=effect.redirect)


def _path(wanted: ir.Match) -> Json:
    match wanted.kind:
        case "exact":
            return {"path": wanted.path}
        case "regex":
            return {"safe_regex": {"regex": wanted.path}}
        case "prefix":
            return {"prefix": "/"} if wanted.path == "/" else {"path_separated_prefix": wanted.path}
        case _:
            assert_never(wanted.kind)


def _value(wanted: ir.Condition) -> Json:
    if wanted.regex:
        return {"name": wanted.name, "string_match": {"safe_regex": {"regex": wanted.value}}}
    return {"name": wanted.name, "string_match": {"exact": wanted.value}}


def _weighted(share: ir.Share, at: Position, settings: GatewaySettings, mark: str, picker: str) -> Json:
    effect = _effect(share.filters, at)
    match share.backend:
        case None:
            return {"name": names.NO_BACKEND, "weight": share.weight}
        case ir.PoolBackend() if share.is_relayed:
            whole = {names.WHOLE_BODY: whole_body(settings)}
            relayed = Effect(request_add=relay.told(mark), per_filter=whole)
            return {"name": names.RELAY, "weight": share.weight} | _changes(relayed.then(effect))
        case ir.PoolBackend(cluster=cluster, pool=pool):
            entry: Json = {"name": cluster, "weight": share.weight}
            told = (_REASON, _ENDPOINT, _OWN_DECISION if pool.picker is None else _decision(pool.picker))
            pickers = asked(pool, settings, picker, None if share.fallback is None else mark)
            return entry | _changes(Effect(response_add=told, per_filter=pickers).then(effect))
        case ir.HostsBackend(cluster=cluster):
            peer = header(headers.ENDPOINT, "%UPSTREAM_REMOTE_ADDRESS%", "ADD_IF_ABSENT")
            return {"name": cluster, "weight": share.weight} | _changes(
                effect.then(Effect(response_add=(peer,)))
            )
        case _:
            assert_never(share.backend)


def _decision(picker: ForeignPicker) -> Json:
    """Of a foreign picker only that it picked is known, or `fallback`."""
    known = "metadata.filter_metadata"
    namespace, key = headers.LB_NAMESPACE, headers.DESTINATION
    picked = f"'{namespace}' in {known} && '{key}' in {known}['{namespace}']"
    text = f"%CEL({picked} ? 'picked by {picker.service}' : 'fallback')%"
    return header(headers.DECISION, text, "ADD_IF_ABSENT")


def _of_metadata(name: str, namespace: str, key: str) -> Json:
    return Constant(header(name, f"%DYNAMIC_METADATA({namespace}:{key})%", "ADD_IF_ABSENT"))


_REASON: Json = Constant(header(headers.REASON, second_chance.REASON, "ADD_IF_ABSENT"))
_ENDPOINT = _of_metadata(headers.ENDPOINT, headers.LB_NAMESPACE, headers.SERVED)
_OWN_DECISION = _of_metadata(headers.DECISION, headers.OWN_NAMESPACE, "decision")
"""What our picker wrote down, or `fallback`."""


def _changes(effect: Effect) -> Json:
    per_filter = dict(effect.per_filter)
    requests = [
        *({"remove": name} for name in effect.request_remove),
        *({"append": each} for each in effect.request_add),
    ]
    answers = [{"append": each} for each in effect.own_answers_set]
    mutations = {
        key: value
        for key, value in (("request_mutations", requests), ("response_mutations", answers))
        if value
    }
    if mutations:
        per_filter[names.ROUTE_HEADERS] = typed(_HEADER_MUTATION, mutations=mutations)
    found: dict[str, Any] = {
        "typed_per_filter_config": per_filter,
        "response_headers_to_add": list(effect.response_add),
        "response_headers_to_remove": list(effect.response_remove),
    }
    return {key: value for key, value in found.items() if value}
