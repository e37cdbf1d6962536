"""Results of routes: each parent that is a Gateway of ours."""

import re
from collections.abc import Iterator, Sequence

import msgspec

from headgate.gateway.plan.attachment import Parent as Attachment
from headgate.gateway.plan.attachment import Route, parents
from headgate.gateway.plan.classes import settings
from headgate.gateway.plan.results.conditions import Condition, Parent, ParentRef, condition, resolved
from headgate.gateway.plan.routes import planned
from headgate.model.problems import Problem
from headgate.model.store import Store


class RouteResult(msgspec.Struct, frozen=True):
    """Status of a route."""

    parents: tuple[Parent, ...]


RESOLVING = ("RefNotPermitted", "InvalidKind", "BackendNotFound", "UnsupportedProtocol")
"""Reasons of ResolvedRefs, the first that holds is told."""

_RULE = re.compile(r"spec\.rules\[([0-9]+)\]")


def of_route(world: Store, route: Route) -> RouteResult:
    """Without entries for what is not ours."""
    found = tuple(
        _parent(world, route, each) for each in world.get(parents, route.identity) if each.gateway is not None
    )
    return RouteResult(found)


def _parent(world: Store, route: Route, found: Attachment) -> Parent:
    ref = found.ref
    generation = route.metadata.generation
    problems = [each for each in world.get(planned, route.identity).problems if each.severity == "error"]
    return Parent(
        ParentRef(
            ref.name, ref.namespace or route.namespace, ref.group, ref.kind, ref.section_name, ref.port
        ),
        settings(world).controller,
        tuple(_conditions(route, found, problems, generation)),
    )


def _conditions(
    route: Route, found: Attachment, problems: Sequence[Problem], generation: int
) -> Iterator[Condition]:
    unresolved = [each for each in problems if _of_reference(each)]
    unusable = [each for each in problems if not _of_reference(each)]
    rules = {match[1] for each in unusable if (match := _RULE.match(each.place.field))}
    every = bool(rules) and len(rules) == len(route.spec.rules)
    if found.reason != "Accepted":
        message = found.message or "no listener of the parent is served"
        yield condition("Accepted", False, found.reason, message, generation)
    elif every:
        yield condition("Accepted", False, "UnsupportedValue", unusable[0].message, generation)
    else:
        yield condition("Accepted", True, "Accepted", "", generation)
    unresolved.sort(key=lambda each: RESOLVING.index(_reason(each)))
    yield resolved(((_reason(each), each.message) for each in unresolved), generation)
    if rules and not every and found.reason == "Accepted":
        message = f"{unusable[0].place.field}: {unusable[0].message}"
        yield condition("PartiallyInvalid", True, "UnsupportedValue", message, generation)


def _of_reference(problem: Problem) -> bool:
    return "backendRef" in problem.place.field and not _is_filter(problem)


def _is_filter(problem: Problem) -> bool:
    return ".filters[" in problem.place.field and "requestMirror.backendRef" not in problem.place.field


def _reason(problem: Problem) -> str:
    return problem.reason if problem.reason in RESOLVING else "BackendNotFound"
