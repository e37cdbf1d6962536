"""Removed endpoints stay in Envoy a moment longer, marked DRAINING.

Envoy and the picker learn of a change at slightly different times. Envoy therefore gets new endpoints first
and loses old ones last, and the picker changes over in between: whatever it names, Envoy knows. A draining
host is taken only when the picker names it; Envoy's own fallback avoids it.
"""

from collections.abc import Mapping
from typing import Any

Json = Mapping[str, Any]
Assignments = Mapping[str, Json]
"""Cluster name → ClusterLoadAssignment as JSON, field names as in the proto files."""

LINGER_S = 2.0
"""How long a removed endpoint is kept: well over the picker's own delay (`app.picker_pools.SETTLE_S`)."""


def _hosts(assignment: Json) -> dict[str, Json]:
    """Address → endpoint, of all localities."""
    found: dict[str, Json] = {}
    for locality in assignment.get("endpoints", ()):
        for host in locality.get("lb_endpoints", ()):
            address = host["endpoint"]["address"]["socket_address"]
            found[f"{address['address']}|{address['port_value']}"] = host
    return found


class Linger:
    """Remembers what was just removed. One per controller."""

    def __init__(self, linger_s: float = LINGER_S) -> None:
        self._linger_s = linger_s
        self._before: dict[str, dict[str, Json]] = {}
        self._leaving: dict[str, dict[str, tuple[float, Json]]] = {}

    def apply(self, assignments: Assignments, now: float) -> tuple[dict[str, Json], float | None]:
        """*assignments* with the endpoints that left less than `linger_s` ago, and when to ask again.

        A cluster that is gone altogether takes its endpoints along: nobody routes to it any more.
        """
        out: dict[str, Json] = {}
        for name, assignment in assignments.items():
            present = _hosts(assignment)
            leaving = self._leaving.setdefault(name, {})
            for address, host in self._before.get(name, {}).items():
                if address not in present:
                    leaving.setdefault(address, (now + self._linger_s, host))
            for address in [each for each, (until, _) in leaving.items() if until <= now or each in present]:
                del leaving[address]
            self._before[name] = present
            out[name] = _with(assignment, [host for _, host in leaving.values()]) if leaving else assignment
        for name in [each for each in self._before if each not in assignments]:
            del self._before[name]
            self._leaving.pop(name, None)
        ends = [until for leaving in self._leaving.values() for until, _ in leaving.values()]
        return out, min(ends, default=None)


def _with(assignment: Json, hosts: list[Json]) -> Json:
    drained = [{**host, "health_status": "DRAINING"} for host in hosts]
    localities = list(assignment.get("endpoints", ())) or [{}]
    first = {**localities[0], "lb_endpoints": [*localities[0].get("lb_endpoints", ()), *drained]}
    return {**assignment, "endpoints": [first, *localities[1:]]}
