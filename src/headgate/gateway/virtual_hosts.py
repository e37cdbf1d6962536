"""Attached routes of one port → virtual hosts, by Gateway API's precedence."""

from collections.abc import Mapping, Sequence

from headgate.gateway.attach import Attached, Bound, covers
from headgate.gateway.compile import CompiledRoute
from headgate.gateway.envoy.names import Json
from headgate.model.meta import Identity
from headgate.model.problems import Problem


def virtual_hosts(
    bounds: Sequence[Bound],
    attached: Sequence[Attached],
    compiled: Mapping[Identity, Sequence[CompiledRoute]],
) -> tuple[list[tuple[str, list[Json]]], list[Problem]]:
    """(domain, routes in order) for every host name of one port, ordered by domain; and shadowed matches.

    A host belongs to the listener with the narrowest host name that takes it; that listener's routes are
    tried, those with the narrowest host name first.
    """
    listeners = sorted({bound.hostname for bound in bounds}, key=breadth)
    by_listener: dict[str, list[tuple[str, Attached]]] = {name: [] for name in listeners}
    for each in attached:
        by_listener[each.bound.hostname] += [(name, each) for name in each.hostnames]
    domains = {name for each in attached for name in each.hostnames} | set(listeners)
    hosts: list[tuple[str, list[Json]]] = []
    problems: list[Problem] = []
    for domain in sorted(domains):
        owner = next((name for name in listeners if covers(name, domain)), domain)
        candidates = [(name, each) for name, each in by_listener[owner] if covers(name, domain)]
        hosts.append((domain, _ordered(domain, candidates, compiled, problems)))
    return hosts, problems


def breadth(hostname: str) -> tuple[int, int]:
    """Sorts narrow host names first: exact ones, then wildcards by length, then `*`."""
    if hostname == "*":
        return (2, 0)
    return (1 if hostname.startswith("*.") else 0, -len(hostname))


def _ordered(
    domain: str,
    candidates: Sequence[tuple[str, Attached]],
    compiled: Mapping[Identity, Sequence[CompiledRoute]],
    problems: list[Problem],
) -> list[Json]:
    ranked = sorted(
        (
            (breadth(name), each.precedence, attached, each)
            for name, attached in candidates
            for each in compiled[attached.route.identity]
        ),
        key=lambda entry: entry[:2],
    )
    winners: dict[str, Attached] = {}
    found: list[Json] = []
    for _, _, attached, each in ranked:
        winner = winners.get(repr(each.match))
        if winner is None:
            winners[repr(each.match)] = attached
            found.append(each.envoy)
        elif winner.route is not attached.route:
            message = f"HTTPRoute {winner.route.identity.name} is older and has the same match on {domain}"
            problems.append(Problem(attached.route.place(each.field), "Shadowed", message, "warning"))
    return found
