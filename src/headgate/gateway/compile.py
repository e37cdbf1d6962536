"""One HTTPRoute → Envoy routes with their precedence, independent of listeners and host names."""

import msgspec

from headgate import registry
from headgate.gateway import filters
from headgate.gateway.api import Effect, FilterKind, HostsTarget, Refusal, Target, Unresolved
from headgate.gateway.backend_refs import BackendRefs
from headgate.gateway.envoy import routes
from headgate.gateway.envoy.names import Json
from headgate.gateway.envoy.replies import INVALID_ROUTE
from headgate.gateway.paths import regex_problem
from headgate.model import headers
from headgate.model.objects import HTTPRoute, PathMatch, RouteFilter, RouteMatch, RouteRule
from headgate.model.problems import Problem

BASE_MODEL = (
    "X-Gateway-Base-Model-Name is not set yet, because the ConfigMaps that name base models are not read: "
    "no request matches; match X-Gateway-Model-Name"
)

Precedence = tuple[int, int, int, int, int, tuple[str, str, str], int, int]
"""Sorts first what wins: Gateway API's order of matches, then age and name of the route, then position."""


class CompiledRoute(msgspec.Struct, frozen=True):
    """One match of one rule."""

    precedence: Precedence
    match: Json
    """Envoy's RouteMatch, for finding two that are the same."""
    envoy: Json
    """The whole Envoy Route."""
    field: str
    """Where the match was written."""
    by_model: bool = False
    """The match asks for the model's name, which is in the body."""


class Compiler:
    """Compiles routes against one snapshot's backends, collecting problems."""

    def __init__(self, refs: BackendRefs) -> None:
        self.problems: list[Problem] = []
        self._refs = refs
        plugins = registry.classes(filters, FilterKind)  # type: ignore[type-abstract]
        self._filters = {kind.type: kind() for kind in plugins}

    def compile(self, route: HTTPRoute) -> tuple[CompiledRoute, ...]:
        """Every match of every rule; a part that is wrong answers 500 and the rest is served."""
        return tuple(
            compiled
            for index, rule in enumerate(route.spec.rules)
            for compiled in self._rule(route, index, rule)
        )

    def _rule(self, route: HTTPRoute, index: int, rule: RouteRule) -> list[CompiledRoute]:
        where = f"spec.rules[{index}]"
        shares = self._shares(route, rule, where) if not _redirects(rule) else []
        found: list[CompiledRoute] = []
        for number, match in enumerate(rule.matches or (RouteMatch(),)):
            field = f"{where}.matches[{number}]"
            bad = _bad_regex(match)
            if bad is not None:
                self._problem(
                    route, f"{field}.{bad[0]}", "UnsupportedValue", f"{bad[1]}; the match is left out"
                )
                continue
            names = {each.name.lower() for each in match.headers}
            if headers.BASE_MODEL_NAME in names:
                self._problem(route, f"{field}.headers", "UnsupportedValue", BASE_MODEL, warning=True)
            envoy_match = routes.match(match)
            effect = self._effect(route, rule.filters, match.path, f"{where}.filters")
            action = (
                routes.fail(INVALID_ROUTE, "A filter of this route's rule cannot be applied.")
                if effect is None
                else routes.action(rule, effect, shares, self._refs.settings)
            )
            envoy = {
                "name": f"{route.namespace}/{route.name}/{index}/{number}",
                "match": envoy_match,
                **action,
            }
            precedence = _precedence(route, match, index, number)
            found.append(CompiledRoute(precedence, envoy_match, envoy, field, headers.MODEL_NAME in names))
        return found

    def _shares(self, route: HTTPRoute, rule: RouteRule, where: str) -> list[routes.Share]:
        found: list[routes.Share] = []
        for number, ref in enumerate(rule.backend_refs):
            field = f"{where}.backendRefs[{number}]"
            target: Target | Unresolved = self._refs.resolve(ref, route.namespace)
            if isinstance(target, Unresolved):
                self._problem(
                    route, field, target.reason, f"{target.message}; its requests are answered with 500"
                )
            elif isinstance(target, HostsTarget) and not target.endpoints:
                message = f"{ref.kind} {ref.name} has no ready endpoint; its requests are answered with 503"
                self._problem(route, field, "NoEndpoints", message, warning=True)
            effect = self._effect(route, ref.filters, PathMatch(), f"{field}.filters")
            if effect is not None and not effect.headers_only:
                message = "a backendRef takes header modifiers only; its requests are answered with 500"
                self._problem(route, f"{field}.filters", "UnsupportedValue", message)
                effect = None
            usable = None if isinstance(target, Unresolved) or effect is None else target
            found.append(routes.Share(ref.weight, usable, effect or Effect()))
        return found

    def _effect(
        self, route: HTTPRoute, wanted: tuple[RouteFilter, ...], path: PathMatch, field: str
    ) -> Effect | None:
        """All filters together; None, and a problem, when one of them is refused."""
        total = Effect()
        for index, each in enumerate(wanted):
            kind = self._filters.get(each.type)
            effect = kind.effect(each, path) if kind else Refusal(f"filter type {each.type} is not supported")
            if isinstance(effect, Refusal):
                message = f"{effect.message}; requests are answered with 500"
                place = ".".join(part for part in (f"{field}[{index}]", effect.field) if part)
                self._problem(route, place, "UnsupportedValue", message)
                return None
            total = total.then(effect)
        return total

    def _problem(
        self, route: HTTPRoute, field: str, reason: str, message: str, warning: bool = False
    ) -> None:
        self.problems.append(Problem(route.place(field), reason, message, "warning" if warning else "error"))


def _redirects(rule: RouteRule) -> bool:
    return any(each.type == "RequestRedirect" for each in rule.filters)


def _bad_regex(match: RouteMatch) -> tuple[str, str] | None:
    """Field and sentence of the first expression that Envoy would refuse."""
    if match.path.type == "RegularExpression" and (bad := regex_problem(match.path.value)):
        return "path.value", bad
    for name, values in (("headers", match.headers), ("queryParams", match.query_params)):
        for index, each in enumerate(values):
            if each.type == "RegularExpression" and (bad := regex_problem(each.value)):
                return f"{name}[{index}].value", bad
    return None


def _precedence(route: HTTPRoute, match: RouteMatch, rule: int, number: int) -> Precedence:
    path_kind = ("Exact", "PathPrefix", "RegularExpression").index(match.path.type)
    return (
        path_kind,
        -len(match.path.value),
        0 if match.method else 1,
        -len(match.headers),
        -len(match.query_params),
        route.age_key,
        rule,
        number,
    )
