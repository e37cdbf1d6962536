"""Removed endpoints stay in Envoy a moment longer, marked DRAINING.

Envoy and the picker learn of a change at slightly different times. Envoy therefore gets new endpoints first
and loses old ones last, and the picker changes over in between: whatever it names, Envoy knows. A draining
host is taken only when the picker names it; Envoy's own fallback avoids it.
"""

from collections import deque
from collections.abc import Mapping
from typing import Any

Json = Mapping[str, Any]

LINGER_S = 2.0
"""How long a removed endpoint is kept: well over the picker's own delay (`app.picker.pools.SETTLE_S`)."""


def _hosts(assignment: Json) -> dict[str, Json]:
    """Address → endpoint, of all localities."""
    found: dict[str, Json] = {}
    for locality in assignment.get("endpoints", ()):
        for host in locality.get("lb_endpoints", ()):
            address = host["endpoint"]["address"]["socket_address"]
            found[f"{address['address']}|{address['port_value']}"] = host
    return found


class Linger:
    """Remembers what was just removed. One for each set of clusters."""

    def __init__(self, linger_s: float = LINGER_S) -> None:
        self._linger_s = linger_s
        self._wanted: dict[str, Json] = {}
        """Cluster → its ClusterLoadAssignment, field names as in the proto files."""
        self._leaving: dict[str, dict[str, tuple[float, Json]]] = {}
        """Cluster → address → until when, and the endpoint; no cluster without any."""
        self._queue: deque[tuple[float, str]] = deque()
        """Until when, and the cluster, of everything that left, in that order; some of it came back."""

    @property
    def due(self) -> float | None:
        """When `expired` may have something to say."""
        return self._queue[0][0] if self._queue else None

    def changed(self, name: str, assignment: Json, now: float) -> Json:
        """*assignment*, which is wanted for a cluster from now on, with the endpoints that just left."""
        present = _hosts(assignment)
        leaving = self._leaving.setdefault(name, {})
        before, until = self._wanted.get(name), now + self._linger_s
        for address, host in (_hosts(before) if before is not None else {}).items():
            if address not in present and address not in leaving:
                leaving[address] = until, host
                self._queue.append((until, name))
        self._wanted[name] = assignment
        return self._with_leaving(name, present, now)

    def gone(self, name: str) -> None:
        """A cluster that is gone altogether takes its endpoints along: nobody routes to it any more."""
        self._wanted.pop(name, None)
        self._leaving.pop(name, None)

    def expired(self, now: float) -> dict[str, Json]:
        """Clusters some of whose endpoints have stayed long enough, with what they are to have now."""
        over: dict[str, None] = {}
        while self._queue and self._queue[0][0] <= now:
            _, name = self._queue.popleft()
            if any(until <= now for until, _ in self._leaving.get(name, {}).values()):
                over[name] = None
        return {name: self._with_leaving(name, _hosts(self._wanted[name]), now) for name in over}

    def _with_leaving(self, name: str, present: Mapping[str, Json], now: float) -> Json:
        leaving = self._leaving[name]
        for address in [each for each, (until, _) in leaving.items() if until <= now or each in present]:
            del leaving[address]
        if not leaving:
            del self._leaving[name]
            return self._wanted[name]
        return _with(self._wanted[name], [host for _, host in leaving.values()])


def _with(assignment: Json, hosts: list[Json]) -> Json:
    drained = [{**host, "health_status": "DRAINING"} for host in hosts]
    localities = list(assignment.get("endpoints", ())) or [{}]
    first = {**localities[0], "lb_endpoints": [*localities[0].get("lb_endpoints", ()), *drained]}
    return {**assignment, "endpoints": [first, *localities[1:]]}
