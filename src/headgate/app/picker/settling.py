"""When a change of a pool counts: late enough for Envoy to have heard of it, and the newest always wins."""

from collections import deque

import msgspec

from headgate.model.endpoints import Pool
from headgate.model.ids import PoolKey


class Settling:
    """Pools as they should be served, given the pools as they were told, over time. Keeps no clock, and looks
    only at pools that changed.

    A pool that was not served is served at once. Every other change waits until it is `settle_s` old, and is
    then made as far as the newest version of the pool still wants it: what left and came back meanwhile never
    left, and what came and left again never came.
    """

    def __init__(self, settle_s: float) -> None:
        self._settle_s = settle_s
        self._newest: dict[PoolKey, Pool] = {}
        self._served: dict[PoolKey, Pool] = {}
        self._waiting: dict[PoolKey, deque[Pool | None]] = {}
        """Versions of a pool that are not old enough, the oldest first; None: it was gone."""
        self._due: deque[tuple[float, PoolKey]] = deque()
        """When the oldest one that waits is old enough, of all pools in order."""
        self._touched: dict[PoolKey, None] = {}
        """Pools that may be served otherwise than was said."""
        self._said: dict[PoolKey, Pool] = {}
        """What is served as `take` said it."""

    @property
    def due(self) -> float | None:
        """When to ask next; None: nothing waits."""
        return self._due[0][0] if self._due else None

    def tell(self, key: PoolKey, pool: Pool | None, now: float) -> None:
        """This is the pool now; None: there is none of this name."""
        if pool == self._newest.get(key):
            return
        if pool is None:
            del self._newest[key]
        else:
            self._newest[key] = pool
        self._waiting.setdefault(key, deque()).append(pool)
        self._due.append((now + self._settle_s, key))
        if pool is not None and key not in self._served:
            self._served[key] = pool
            self._touched[key] = None

    def take(self, now: float) -> dict[PoolKey, Pool | None]:
        """The pools to serve that are others than when this was asked last; None: serve it no longer."""
        while self._due and self._due[0][0] <= now:
            _, key = self._due.popleft()
            versions = self._waiting[key]
            settled = versions.popleft() or next(filter(None, versions), None)
            if not versions:
                del self._waiting[key]
            self._touched[key] = None
            if settled is None:
                del self._served[key]
            else:
                self._served[key] = self._mixed(key, settled)
        touched, self._touched = self._touched, {}
        return {key: self._served.get(key) for key in touched if self._say(key)}

    def _say(self, key: PoolKey) -> bool:
        """Whether it is another than was said; from now on it is said."""
        now, said = self._served.get(key), self._said.get(key)
        if now is None:
            self._said.pop(key, None)
        else:
            self._said[key] = now
        return now != said

    def _mixed(self, key: PoolKey, settled: Pool) -> Pool:
        """The newest of a pool, without endpoints too new for Envoy to know; if all are, with them."""
        newest = self._newest.get(key)
        if newest is None:  # it is leaving
            return settled
        heard = {each.id for each in (*self._served[key].endpoints, *settled.endpoints)}
        endpoints = tuple(each for each in newest.endpoints if each.id in heard)
        return msgspec.structs.replace(newest, endpoints=endpoints or newest.endpoints)
