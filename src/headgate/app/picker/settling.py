"""When a change of pools counts: late enough for Envoy to have heard of it, and the newest always wins."""

from collections import deque
from collections.abc import Mapping

import msgspec

from headgate.model.endpoints import Pool
from headgate.model.ids import PoolKey

Pools = Mapping[PoolKey, Pool]


class Settling:
    """Pools as they should be served, given the pools as they were told, over time. Keeps no clock.

    A pool that was not served is served at once. Every other change waits until it is `settle_s` old, and is
    then made as far as the newest pools still want it: what left and came back meanwhile never left, and what
    came and left again never came.
    """

    def __init__(self, settle_s: float) -> None:
        self._settle_s = settle_s
        self._newest: Pools = {}
        self._served: Pools = {}
        self._waiting: deque[tuple[float, Pools]] = deque()
        """When each change is old enough, and the pools that it made."""

    @property
    def due(self) -> float | None:
        """When to ask next; None: nothing waits."""
        return self._waiting[0][0] if self._waiting else None

    def tell(self, pools: Pools, now: float) -> None:
        """These are the pools now, whole."""
        if pools != self._newest:
            self._newest = pools
            self._waiting.append((now + self._settle_s, pools))
            self._served = {**pools, **self._served}

    def served(self, now: float) -> Pools:
        """The pools to serve."""
        while self._waiting and self._waiting[0][0] <= now:
            _, settled = self._waiting.popleft()
            states = (settled, *(pools for _, pools in self._waiting))
            kept = ((key, next((each[key] for each in states if key in each), None)) for key in self._served)
            self._served = {key: self._made(key, pool) for key, pool in kept if pool is not None}
        return self._served

    def _made(self, key: PoolKey, settled: Pool) -> Pool:
        """The newest of a pool, without endpoints too new for Envoy to know; if all are, with them."""
        newest = self._newest.get(key)
        if newest is None:  # it is leaving
            return settled
        heard = {each.id for each in (*self._served[key].endpoints, *settled.endpoints)}
        endpoints = tuple(each for each in newest.endpoints if each.id in heard)
        return msgspec.structs.replace(newest, endpoints=endpoints or newest.endpoints)
