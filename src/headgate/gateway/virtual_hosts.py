"""Attached routes of one port → virtual hosts, by Gateway API's precedence."""

from collections.abc import Mapping, Sequence

from headgate.gateway.attach import Attached, Bound
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
    listeners = {bound.hostname for bound in bounds}
    by_name: dict[tuple[str, str], list[Attached]] = {}
    for each in attached:
        for name in each.hostnames:
            by_name.setdefault((each.bound.hostname, name), []).append(each)
    hosts: list[tuple[str, list[Json]]] = []
    problems: list[Problem] = []
    for domain in sorted({name for _, name in by_name} | listeners):
        wider = wider_names(domain)
        owner = next(name for name in wider if name in listeners)
        candidates = [
            (rank, each) for rank, name in enumerate(wider) for each in by_name.get((owner, name), ())
        ]
        hosts.append((domain, _ordered(domain, candidates, compiled, problems)))
    return hosts, problems


def wider_names(hostname: str) -> list[str]:
    """*hostname* and all names that take every host it takes, narrowest first: `a.b`, `*.b`, `*`."""
    if hostname == "*":
        return ["*"]
    labels = hostname.removeprefix("*.").split(".")
    first = 0 if hostname.startswith("*.") else 1
    wild = ["*." + ".".join(labels[index:]) for index in range(first, len(labels))]
    return [*([] if first == 0 else [hostname]), *wild, "*"]


def _ordered(
    domain: str,
    candidates: Sequence[tuple[int, Attached]],
    compiled: Mapping[Identity, Sequence[CompiledRoute]],
    problems: list[Problem],
) -> list[Json]:
    """Envoy routes of one host from (rank of the host name, route) pairs; a lower rank is narrower."""
    ranked = sorted(
        (
            (rank, each.precedence, attached, each)
            for rank, attached in candidates
            for each in compiled[attached.route.identity]
        ),
        key=lambda entry: entry[:2],
    )
    winners: dict[str, tuple[int, Attached]] = {}
    found: list[Json] = []
    for rank, _, attached, each in ranked:
        key = repr(each.match)
        if key not in winners:
            winners[key] = (rank, attached)
            found.append(each.envoy)
            continue
        its_rank, winner = winners[key]
        if its_rank == rank and winner.route is not attached.route:
            message = f"HTTPRoute {winner.route.identity.name} is older and has the same match on {domain}"
            problems.append(Problem(attached.route.place(each.field), "Shadowed", message, "warning"))
    return found
