"""One route → rules with their precedence, independent of listeners and host names."""

import hashlib
import re
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

import msgspec

from headgate import registry
from headgate.gateway import filters, ir
from headgate.gateway.api import FilterPlugin, Refusal, Scope, Unresolved
from headgate.gateway.paths import regex_problem
from headgate.gateway.plan import backend_refs
from headgate.gateway.plan.precedence import Precedence, precedence
from headgate.gateway.reasons import INVALID_ROUTE, NO_BACKEND
from headgate.model import headers
from headgate.model.durations import seconds
from headgate.model.meta import Identity
from headgate.model.objects import (
    GrpcMatch,
    GRPCRoute,
    GrpcRule,
    HTTPRoute,
    PathMatch,
    RouteFilter,
    RouteMatch,
    RouteRule,
    ValueMatch,
)
from headgate.model.problems import Problem
from headgate.model.store import Store

Rule = RouteRule | GrpcRule

PATH_KINDS: Mapping[str, Any] = {"Exact": "exact", "PathPrefix": "prefix", "RegularExpression": "regex"}


class PlannedRule(msgspec.Struct, frozen=True):
    """One match of one rule."""

    precedence: Precedence
    rule: ir.Rule
    field: str
    """Where the match was written."""

    @property
    def has_fallback(self) -> bool:
        """Requests may come to be led elsewhere."""
        return any(each.fallback is not None for each in self.rule.shares)

    @property
    def by_model(self) -> bool:
        """The match asks for the model or its base model, which the body tells."""
        return any(each.name.lower() in headers.FROM_BODY for each in self.rule.match.headers)


class PlannedRoute(msgspec.Struct, frozen=True):
    """A route as it would be served on any listener."""

    rules: tuple[PlannedRule, ...]
    problems: tuple[Problem, ...]


def planned(world: Store, route: Identity) -> PlannedRoute:
    """Every match of every rule; a part that is wrong answers 500 and the rest is served."""
    found = world.any_object(route)
    assert isinstance(found, HTTPRoute | GRPCRoute)
    planner = _Planner(world, found)
    specs: Sequence[Rule] = found.spec.rules
    rules = tuple(each for index, rule in enumerate(specs) for each in planner.rule(index, rule))
    return PlannedRoute(rules, tuple(dict.fromkeys(planner.problems)))


def clusters(world: Store, route: Identity) -> frozenset[ir.Backend]:
    """All backends that the route's rules lead to, mirrors among them."""
    return frozenset(
        backend for each in world.get(planned, route).rules for backend in backends_of(each.rule)
    )


def backends_of(rule: ir.Rule) -> tuple[ir.Backend, ...]:
    """Those that requests, or copies of them, go to."""
    shares = rule.shares
    own = tuple(share.backend for share in shares if share.backend is not None)
    own += tuple(share.fallback for share in shares if share.fallback is not None)
    its_filters = (*rule.filters, *(each for share in shares for each in share.filters))
    return own + tuple(backend for each in its_filters for backend in each.backends)


def any_relayed(rule: ir.Rule) -> bool:
    """Whether some pool of it is reached by the relay."""
    return any(each.is_relayed for each in rule.shares)


@cache
def filter_plugins() -> Mapping[str, type[FilterPlugin]]:
    """Filter type → plugin."""
    found = registry.classes(filters, FilterPlugin)  # type: ignore[type-abstract]
    return {each.TYPE: each for each in found}


class _Planner:
    """One route, and the problems found on the way."""

    def __init__(self, world: Store, route: HTTPRoute | GRPCRoute) -> None:
        self.problems: list[Problem] = []
        self._world = world
        self._route = route

    def rule(self, index: int, rule: Rule) -> list[PlannedRule]:
        """Its matches."""
        where = f"spec.rules[{index}]"
        answers = any(plugin.ANSWERS for each in rule.filters if (plugin := filter_plugins().get(each.type)))
        found: list[PlannedRule] = []
        matches: Sequence[RouteMatch | GrpcMatch] = rule.matches or (RouteMatch(),)
        for number, written in enumerate(matches):
            field = f"{where}.matches[{number}]"
            spec = grpc_match(written) if isinstance(written, GrpcMatch) else written
            if (bad := _bad_regex(spec)) is not None:
                self._problem(f"{field}.{bad[0]}", "UnsupportedValue", f"{bad[1]}; the match is left out")
                continue
            match = matched(spec)
            read = self._filters(rule.filters, spec.path, f"{where}.filters")
            shares = () if answers else self._shares(rule, spec.path, where)
            made = ir.Rule(
                name=f"{self._route.namespace}/{self._route.name}/{index}/{number}",
                match=match,
                action=self._action(rule, read, shares, answers, where),
                filters=read or (),
                metadata={"rule": rule.name} if rule.name else {},
            )
            order = precedence(match, self._route.age_key, index, number)
            found.append(PlannedRule(order, made, field))
        return found

    def _shares(self, rule: Rule, path: PathMatch, where: str) -> tuple[ir.Share, ...]:
        found: list[ir.Share] = []
        for number, ref in enumerate(rule.backend_refs):
            field = f"{where}.backendRefs[{number}]"
            backend = backend_refs.resolve(self._world, self._route.identity, ref)
            if isinstance(backend, ir.HostsBackend) and isinstance(self._route, GRPCRoute):
                backend = backend_refs.speaking_grpc(backend)
            if isinstance(backend, Unresolved):
                message = f"{backend.message}; its requests are answered with 500"
                self._problem(field, backend.reason, message)
            read = self._filters(ref.filters, path, f"{field}.filters", on_backend=True)
            usable = None if isinstance(backend, Unresolved) or read is None else backend
            found.append(ir.Share(weight=ref.weight, backend=usable, filters=read or ()))
        return tuple(found)

    def _filters(
        self, wanted: Sequence[RouteFilter], path: PathMatch, field: str, on_backend: bool = False
    ) -> tuple[ir.Filter, ...] | None:
        """All of them, in the order in which they apply; None, and a problem, when one is refused."""
        scope = Scope(self._world, self._route.identity, path, on_backend)
        found: list[FilterPlugin] = []
        for index, each in enumerate(wanted):
            plugin = filter_plugins().get(each.type)
            read: FilterPlugin | Refusal
            if plugin is None:
                read = Refusal(f"filter type {each.type} is not supported")
            elif on_backend and not plugin.ON_BACKENDS:
                read = Refusal(f"a backendRef takes no {each.type} filter: write it on the rule")
            else:
                read = plugin.read(each, scope)
            if isinstance(read, Refusal):
                place = ".".join(part for part in (f"{field}[{index}]", read.field) if part)
                if read.left_out:
                    self._problem(place, read.reason, f"{read.message}; the filter is left out")
                    continue
                self._problem(place, read.reason, f"{read.message}; requests are answered with 500")
                return None
            found.append(read)
        return tuple(sorted(found, key=lambda each: each.ORDER))

    def _action(
        self,
        rule: Rule,
        read: tuple[ir.Filter, ...] | None,
        shares: tuple[ir.Share, ...],
        answers: bool,
        where: str,
    ) -> ir.Action:
        if read is None:
            return ir.Fail(INVALID_ROUTE, "A filter of this route's rule cannot be applied.")
        if answers:
            return ir.Answer()
        if not any(share.weight and share.backend is not None for share in shares):
            message = (
                "No backend of this route's rule can be served."
                if shares
                else "This route's rule has no backend."
            )
            return ir.Fail(NO_BACKEND, message)
        told = ir.Forward(tuple(share for share in shares if share.weight))
        session = self._session(rule, told.shares, where)
        if isinstance(rule, GrpcRule):
            return msgspec.structs.replace(told, session=session)
        timeouts = ir.Timeouts(_seconds(rule.timeouts.request), _seconds(rule.timeouts.backend_request))
        wanted = rule.retry
        retries = (
            None
            if wanted is None
            else ir.Retries(tuple(sorted(set(wanted.codes))), wanted.attempts, _seconds(wanted.backoff))
        )
        return ir.Forward(told.shares, timeouts, retries, session)

    def _session(self, rule: Rule, shares: Sequence[ir.Share], where: str) -> ir.Session | None:
        wanted = rule.session_persistence
        if wanted is None:
            return None
        field = f"{where}.sessionPersistence"
        if any(isinstance(each.backend, ir.PoolBackend) for each in shares):
            message = (
                "the picker of an InferencePool keeps sessions together by itself, so this is ignored; "
                "clients name their session by the header x-session-id, or as sessions of a FlowPolicy say"
            )
            self._problem(field, "UnsupportedValue", message, warning=True)
            return None
        if len(shares) > 1:
            message = (
                "which of several backendRefs a request goes to is drawn before its session is looked at: "
                "sessions stay within a backend; write one backendRef, or a route for each"
            )
            self._problem(field, "UnsupportedValue", message, warning=True)
        if wanted.idle_timeout is not None:
            message = "idleTimeout is not supported and is ignored; absoluteTimeout is"
            self._problem(f"{field}.idleTimeout", "UnsupportedValue", message, warning=True)
        cookie = wanted.cookie_config
        permanent = cookie is not None and cookie.lifetime_type == "Permanent"
        return ir.Session(
            "cookie" if wanted.type == "Cookie" else "header",
            wanted.session_name or _session_name(self._route.identity, where),
            _seconds(wanted.absolute_timeout) if permanent else None,
        )

    def _problem(self, field: str, reason: str, message: str, warning: bool = False) -> None:
        severity = "warning" if warning else "error"
        self.problems.append(Problem(self._route.place(field), reason, message, severity))  # type: ignore[arg-type]


def _session_name(route: Identity, where: str) -> str:
    """Another one for every rule, and always the same for one."""
    return f"headgate-{hashlib.sha256(f'{route} {where}'.encode()).hexdigest()[:12]}"


def _seconds(duration: str | None) -> float | None:
    return None if duration is None else seconds(duration)


def grpc_match(spec: GrpcMatch) -> RouteMatch:
    """The same as a match of HTTP: a call's path is `/service/method`."""
    method = spec.method
    if method is None or not (method.service or method.method):
        return RouteMatch(headers=spec.headers)
    if method.type == "RegularExpression":
        service, name = (f"(?:{each})" if each else "[^/]+" for each in (method.service, method.method))
        path = PathMatch("RegularExpression", f"/{service}/{name}")
    elif not method.method:
        path = PathMatch("PathPrefix", f"/{method.service}")
    elif not method.service:
        path = PathMatch("RegularExpression", f"/[^/]+/{re.escape(method.method)}")
    else:
        path = PathMatch("Exact", f"/{method.service}/{method.method}")
    return RouteMatch(path=path, headers=spec.headers)


def matched(spec: RouteMatch) -> ir.Match:
    """The match. Of two headers or parameters of one name only the first counts, as Gateway API says; a
    prefix is the same with and without a slash at its end."""
    kind = PATH_KINDS[spec.path.type]
    value = spec.path.value
    return ir.Match(
        kind=kind,
        path=(value.rstrip("/") or "/") if kind == "prefix" else value,
        method=spec.method,
        headers=_conditions(spec.headers, fold=True),
        query=_conditions(spec.query_params, fold=False),
    )


def _conditions(values: Sequence[ValueMatch], fold: bool) -> tuple[ir.Condition, ...]:
    first: dict[str, ir.Condition] = {}
    for each in values:
        key = each.name.lower() if fold else each.name
        first.setdefault(key, ir.Condition(each.name, each.value, each.type == "RegularExpression"))
    return tuple(first.values())


def _bad_regex(match: RouteMatch) -> tuple[str, str] | None:
    """Field and sentence of the first expression that Envoy would refuse."""
    if match.path.type == "RegularExpression" and (bad := regex_problem(match.path.value)):
        return "path.value", bad
    for name, values in (("headers", match.headers), ("queryParams", match.query_params)):
        for index, each in enumerate(values):
            if each.type == "RegularExpression" and (bad := regex_problem(each.value)):
                return f"{name}[{index}].value", bad
    return None
