"""Removed endpoints stay in Envoy a moment longer, marked DRAINING.

Envoy and the picker learn of a change at slightly different times. Envoy therefore gets new endpoints first
and loses old ones last, and the picker changes over in between: whatever it names, Envoy knows. A draining
host is taken only when the picker names it; Envoy's own fallback avoids it.
"""

import math
from collections import deque
from collections.abc import Mapping

Cluster = tuple[str, str]
"""An Envoy and the name of a cluster."""

Hosts = Mapping[str, bytes]
"""Address of an endpoint → what Envoy is to know of it, serialized."""

LINGER_S = 2.0
"""How long a removed endpoint is kept: well over the picker's own delay (`app.picker.pools.SETTLE_S`)."""
TOGETHER_S = 0.25
"""How much longer at most, so that what left at about the same time goes in one message."""


class Linger:
    """Remembers what was just removed. One for all Envoys."""

    def __init__(self, linger_s: float = LINGER_S) -> None:
        self._linger_s = linger_s
        self._wanted: dict[Cluster, Hosts] = {}
        """Cluster → its endpoints."""
        self._leaving: dict[Cluster, dict[str, tuple[float, bytes]]] = {}
        """Cluster → address → until when, and the endpoint; no cluster without any."""
        self._queue: deque[tuple[float, Cluster]] = deque()
        """Until when, and the cluster, of everything that left, in that order; some of it came back."""

    @property
    def due(self) -> float | None:
        """When `expired` may have something to say."""
        return self._queue[0][0] if self._queue else None

    def changed(self, cluster: Cluster, hosts: Hosts, now: float) -> Hosts:
        """A cluster is to have *hosts* from now on; those that it is to keep a moment longer."""
        before = self._wanted.get(cluster, {})
        self._wanted[cluster] = hosts
        left = [each for each in before if each not in hosts]
        leaving = self._leaving.get(cluster, {})
        if left:
            until = math.ceil((now + self._linger_s) / TOGETHER_S) * TOGETHER_S
            for address in left:
                leaving[address] = until, before[address]
                self._queue.append((until, cluster))
            self._leaving[cluster] = leaving
        return self._still_leaving(cluster, now)

    def gone(self, cluster: Cluster) -> None:
        """A cluster that is gone altogether takes its endpoints along: nobody routes to it any more."""
        self._wanted.pop(cluster, None)
        self._leaving.pop(cluster, None)

    def expired(self, now: float) -> dict[Cluster, tuple[Hosts, Hosts]]:
        """Clusters some of whose endpoints have stayed long enough; each with those that it is to have, and
        with those that it is to keep still."""
        over: dict[Cluster, None] = {}
        while self._queue and self._queue[0][0] <= now:
            _, cluster = self._queue.popleft()
            if any(until <= now for until, _ in self._leaving.get(cluster, {}).values()):
                over[cluster] = None
        return {cluster: (self._wanted[cluster], self._still_leaving(cluster, now)) for cluster in over}

    def _still_leaving(self, cluster: Cluster, now: float) -> Hosts:
        leaving, present = self._leaving.get(cluster), self._wanted[cluster]
        if leaving is None:
            return {}
        for address in [each for each, (until, _) in leaving.items() if until <= now or each in present]:
            del leaving[address]
        if not leaving:
            del self._leaving[cluster]
        return {address: host for address, (_, host) in leaving.items()}
