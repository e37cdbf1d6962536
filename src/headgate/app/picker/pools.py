"""Which pools a picker process serves: pool values in, machines made, changed and dropped."""

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator

import msgspec

from headgate.app.picker.health_changes import HealthChanges, Told
from headgate.app.picker.settling import Settling
from headgate.app.processes.lines import event
from headgate.io.api_keys import Keys
from headgate.io.extproc.hub import Hub
from headgate.io.scrape import Scraper
from headgate.io.scrape.client import DEFAULT, NONE
from headgate.io.trust import Trust
from headgate.model import sessions
from headgate.model.endpoints import Endpoint, Pool
from headgate.model.ids import EndpointId, PoolKey
from headgate.model.load import ModelCard
from headgate.model.randomness import Rng
from headgate.model.words import counted
from headgate.picker.epp.config import NOTHING, Adopted
from headgate.picker.events import ModelsListed, PoolChanged, Scraped
from headgate.picker.machine import PoolMachine
from headgate.picker.settings import MachineSettings
from headgate.picker.view import PoolView
from headgate.scheduling.prefix import BlockIndex, PrefixIndex
from headgate.scheduling.profiles import PROFILES

log = logging.getLogger(__name__)

SETTLE_S = 0.5
"""How long a change of a known pool waits, so that Envoy has heard of new endpoints before one is named.

Envoy keeps those that left for longer than this (`gateway.linger`).
"""


POOLS_AT_ONCE = 100
"""Pools whose health is looked at before others get their turn."""

MOST_NAMED = 8
"""Endpoints that joined or left, by name in one line."""


def fixed_pool(key: PoolKey, endpoints: Iterable[EndpointId]) -> Pool:
    """A pool of addresses (`ip:port`) that no object describes."""
    found = []
    for each in sorted(endpoints):
        host, _, port = each.rpartition(":")
        found.append(Endpoint(id=each, ip=host.strip("[]"), port=int(port), name=each))
    return Pool(key=key, endpoints=tuple(found))


def _session_sources(pool: Pool | None) -> Iterator[str]:
    """What the pool's policies name, with repeats."""
    if pool is not None:
        for rules in (pool.flow, *pool.flows_of_routes.values()):
            yield from (rules and rules.sessions) or ()


def _same_rules(one: Pool | None, other: Pool | None) -> bool:
    """Whether both have the same policies."""
    if one is None or other is None:
        return False
    return one.flow is other.flow and one.flows_of_routes is other.flows_of_routes


class Pools:
    """The machines, and which endpoints each of them wants to hear of."""

    def __init__(
        self,
        hub: Hub,
        policy: str,
        settings: MachineSettings,
        rng: Rng,
        own: PoolKey | None,
        scrape_interval_s: float,
        *,
        settle_s: float = SETTLE_S,
        make_index: Callable[[], BlockIndex] = PrefixIndex,
        trust: Trust = DEFAULT,
        keys: Keys = NONE,
        adopted: Adopted = NOTHING,
    ) -> None:
        """*own* is served even when its object names another picker: in a cluster that picker is this one;
        *adopted*: what another picker's configuration asks for, of all pools."""
        self._adopted = adopted
        self._settling = Settling(settle_s)
        self._timer: asyncio.Handle | None = None
        self._hub = hub
        self._profile = PROFILES[policy]
        self._settings = settings
        self._rng = rng
        self._make_index = make_index
        self._own = own
        self.scraper = Scraper(
            self._observed,
            interval_s=scrape_interval_s,
            closely=self._needs_watching,
            trust=trust,
            keys=keys,
        )
        self._pools: dict[PoolKey, Pool] = {}
        """As the machines know them."""
        self._machines: dict[PoolKey, PoolMachine] = {}
        self._watchers: dict[EndpointId, dict[PoolKey, Endpoint]] = {}
        """Pools that have the endpoint, the first of which says how it is reached."""
        self._health: dict[PoolKey, HealthChanges] = {}
        """Of pools that had an endpoint that was not up."""
        self._sources = Counter(sessions.DEFAULT)
        """What names sessions, by how many policies of how many pools."""
        hub.relist = self._relist
        hub.models_of = self._models_of

    def update(self, pools: Iterable[Pool], gone: Iterable[PoolKey] = ()) -> None:
        """These pools are new or others now, and those are gone; all else is as it was."""
        now = asyncio.get_running_loop().time()
        for pool in pools:
            wanted = pool.picker is None or pool.key == self._own
            self._settling.tell(pool.key, self._adopted.applied_to(pool) if wanted else None, now)
        for key in gone:
            self._settling.tell(key, None, now)
        self._settle()

    def _settle(self) -> None:
        """Serve what counts now, and look again when the next change is old enough."""
        loop = asyncio.get_running_loop()
        for key, pool in self._settling.take(loop.time()).items():
            try:
                self._serve(key, pool)
            except Exception:  # a bug in one machine costs no other pool
                log.exception("a change of pool %s met a bug", key)
        due = self._settling.due
        if due is not None and self._timer is None:  # one that waits is due sooner
            self._timer = loop.call_at(due, self._wake)

    def _wake(self) -> None:
        self._timer = None
        self._settle()

    def _serve(self, key: PoolKey, pool: Pool | None) -> None:
        """Serve *pool* from now on; None: serve it no longer."""
        before = self._pools.pop(key, None)
        self._watch(key, before, pool)
        self._read_sessions(before, pool)
        if pool is None:
            self._health.pop(key, None)
            if self._machines.pop(key, None) is not None:
                self._hub.remove_pool(key)
            log.info("pool %s is gone", key, extra=event("pool", pool=key, endpoints=[]))
            return
        self._pools[key] = pool
        if key not in self._machines:
            machine = PoolMachine(key, self._profile, self._settings, self._rng, self._make_index())
            self._machines[key] = machine
            self._hub.add_pool(key, machine)
        self._tell_members(before, pool)
        self._hub.tell(key, PoolChanged(pool))

    def _read_sessions(self, before: Pool | None, pool: Pool | None) -> None:
        """The wires look for what any policy of any pool names."""
        if _same_rules(before, pool):
            return
        self._sources.update(_session_sources(pool))
        self._sources.subtract(_session_sources(before))
        self._sources += Counter()  # without those at 0
        self._hub.read_sessions(sessions.sources(self._sources))

    def _tell_members(self, before: Pool | None, pool: Pool) -> None:
        was = {endpoint.id for endpoint in before.endpoints} if before is not None else set()
        now = [endpoint.id for endpoint in pool.endpoints]
        joined = [each for each in now if each not in was]
        left = sorted(was.difference(now))
        if before is not None and not joined and not left:
            return  # names or rules changed
        words = [f"{', '.join(some)} {what}" for some, what in ((joined, "joined"), (left, "left")) if some]
        told = f": {'; '.join(words)}" if len(joined) + len(left) <= MOST_NAMED and words else ""
        fields = event("pool", pool=pool.key, endpoints=now, joined=joined, left=left)
        log.info("pool %s has %s%s", pool.key, counted(len(now), "endpoint"), told, extra=fields)

    def tell_health(self) -> Iterator[None]:
        """Log the endpoints that fell ill, got worse or came back, of some pools for each step; to be gone
        through several times a second."""
        now = time.monotonic()
        for number, (key, machine) in enumerate(tuple(self._machines.items()), 1):
            if self._machines.get(key) is machine:
                self._tell_health_of(key, machine, now)
            if number % POOLS_AT_ONCE == 0:
                yield

    def _tell_health_of(self, key: PoolKey, machine: PoolMachine, now: float) -> None:
        refusing: dict[EndpointId, tuple[Told, str]] = {
            each: ("refusing", reason) for each, reason in machine.refusing().items()
        }
        unwell, known = {**refusing, **machine.unwell()}, self._health.get(key)
        if not unwell and known is None:
            return
        if known is None:
            known = self._health[key] = HealthChanges()
        members = {endpoint.id for endpoint in self._pools[key].endpoints}
        for change in known.update(unwell, members, now):
            level = logging.INFO if change.condition == "up" else logging.WARNING
            fields = event("endpoint", pool=key, **msgspec.to_builtins(change))
            log.log(level, "pool %s: %s", key, change, extra=fields)

    def _watch(self, key: PoolKey, before: Pool | None, pool: Pool | None) -> None:
        """Scrape the pool's endpoints, and no longer those that are in no pool."""
        left = {each.id: each for each in before.endpoints} if before is not None else {}
        changed: list[EndpointId] = []
        for each in pool.endpoints if pool is not None else ():
            if left.pop(each.id, None) != each:
                self._watchers.setdefault(each.id, {})[key] = each
                changed.append(each.id)
        for gone in left:
            del self._watchers[gone][key]
            changed.append(gone)
        wanted: list[Endpoint] = []
        unwanted: list[EndpointId] = []
        for endpoint in changed:
            if found := self._watchers[endpoint]:
                wanted.append(next(iter(found.values())))
            else:
                del self._watchers[endpoint]
                unwanted.append(endpoint)
        self.scraper.update(wanted, unwanted)

    def _relist(self, key: PoolKey) -> None:
        if (pool := self._pools.get(key)) is not None:
            self.scraper.relist(endpoint.id for endpoint in pool.endpoints)

    def _models_of(self, key: PoolKey) -> tuple[ModelCard, ...]:
        machine = self._machines.get(key)
        return () if machine is None else machine.models()

    def _observed(self, seen: Scraped | ModelsListed) -> None:
        for key in self._watchers.get(seen.endpoint, ()):
            self._hub.tell(key, seen)

    def _needs_watching(self, endpoint: EndpointId) -> bool:
        now = time.monotonic()
        machines = [self._machines.get(key) for key in self._watchers.get(endpoint, ())]
        return any(each is not None and each.needs_watching(endpoint, now) for each in machines)

    def knows(self, key: PoolKey, model: str) -> bool:
        """Whether *model* is configured in the pool or listed by one of its endpoints."""
        machine = self._machines.get(key)
        return machine is not None and machine.knows(model)

    def has_objective(self, key: PoolKey, objective: str) -> bool:
        """Whether *objective* is configured for the pool."""
        machine = self._machines.get(key)
        return machine is not None and objective in machine.pool.objectives

    def views(self) -> tuple[PoolView, ...]:
        """Every pool now, ordered by key."""
        now = time.monotonic()
        return tuple(self._machines[key].view(now) for key in sorted(self._machines))
