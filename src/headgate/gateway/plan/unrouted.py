"""Why no route took a request: what its port, host and path have, in sentences for people.

Told of the routes there are now. Values that routes ask of headers and queries are never shown.
"""

from collections.abc import Iterable, Iterator, Sequence

from headgate.gateway.plan.classes import Dataplane
from headgate.gateway.plan.hostnames import wider_names
from headgate.gateway.plan.hosts import domains, host
from headgate.gateway.plan.listeners import Table, tables
from headgate.gateway.plan.routes import PlannedRule, planned
from headgate.model import headers
from headgate.model.own_answers import OwnAnswer
from headgate.model.store import Store

MOST_NAMES = 20
"""Of one kind in a sentence."""
LONGEST_NAME = 100


def why(world: Store, dataplane: Dataplane, answer: OwnAnswer) -> Iterator[str]:
    """What there is in place of a route for it."""
    name = _host_of(answer.host)
    found = _table(world, dataplane, answer)
    if found is None:
        yield f"no listener is at port {answer.port} any more"
        return
    hosts = domains(world, dataplane, found.name)
    domain = next((each for each in wider_names(name) if each in hosts), None)
    rules = () if domain is None else _rules(world, dataplane, found.name, domain)
    if not rules:
        there = _some(each for each in hosts if _has_rules(world, dataplane, found.name, each))
        yield f"no route of port {answer.port} takes the host {name}; hosts there are: {there}"
        return
    takes = "every host" if domain == "*" else f"the host {domain}"
    here = [each for each in rules if _takes_path(each, answer.path)]
    if not here:
        paths = _some({_path(each) for each in rules})
        yield f"no route for {takes} takes the path {answer.path}; paths there are: {paths}"
        return
    models = {value for each in here for value in _models(each)}
    if answer.model is not None and models:
        yield f"no route of this path takes the model {answer.model}; models there are: {_some(models)}"
    elif models:
        yield f"routes of this path go by the model, and none was read; models there are: {_some(models)}"
    asked = {part for each in here for part in _asked(each, answer.method)}
    if asked:
        yield f"routes of this path also ask for: {_some(asked)}"
    if not models and not asked:
        yield "there is a route for host and path now: routes have changed since"


def _host_of(authority: str) -> str:
    name, colon, port = authority.rpartition(":")
    return (name if colon and port.isdigit() else authority).lower()


def _table(world: Store, dataplane: Dataplane, answer: OwnAnswer) -> Table | None:
    found = [each for each in world.get(tables, dataplane) if each.port == answer.port]
    wider = wider_names(answer.server_name.lower()) if answer.server_name else ["*"]
    ranked = [(wider.index(name), each) for each in found for name in each.hostnames if name in wider]
    if found and found[0].scheme == "http":
        return found[0]
    return min(ranked, key=lambda pair: pair[0])[1] if ranked else None


def _has_rules(world: Store, dataplane: Dataplane, table: str, domain: str) -> bool:
    return bool(world.get(host, dataplane, table, domain).rules)


def _rules(world: Store, dataplane: Dataplane, table: str, domain: str) -> Sequence[PlannedRule]:
    refs = world.get(host, dataplane, table, domain).rules
    return [world.get(planned, each.route).rules[each.number] for each in refs]


def _takes_path(rule: PlannedRule, path: str) -> bool:
    """Whether it may; expressions are not tried."""
    match = rule.rule.match
    if match.kind == "exact":
        return path == match.path
    if match.kind == "prefix":
        prefix = match.path.rstrip("/")
        return path == prefix or path.startswith(f"{prefix}/")
    return True


def _path(rule: PlannedRule) -> str:
    match = rule.rule.match
    return match.path if match.kind == "prefix" else f"{match.path} ({match.kind})"


def _models(rule: PlannedRule) -> Iterator[str]:
    for each in rule.rule.match.headers:
        if each.name.lower() in headers.FROM_BODY:
            yield each.value


def _asked(rule: PlannedRule, method: str) -> Iterator[str]:
    match = rule.rule.match
    if match.kind == "regex":
        yield f"the path {_path(rule)}"
    if match.method is not None and match.method != method:
        yield f"the method {match.method}"
    for each in match.headers:
        if each.name.lower() not in headers.FROM_BODY:
            yield f"the header {each.name.lower()}"
    for each in match.query:
        yield f"the query parameter {each.name}"


def _some(names: Iterable[str]) -> str:
    every = sorted(names)
    shown = ", ".join(each[:LONGEST_NAME] for each in every[:MOST_NAMES])
    return f"{shown} and {len(every) - MOST_NAMES} more" if len(every) > MOST_NAMES else shown or "none"
