"""Which pools a picker process serves: pool values in, machines made, changed and dropped."""

import asyncio
import logging
import time
from collections.abc import Callable, Iterable, Mapping, Sequence

import msgspec

from headgate.app.picker.health_changes import HealthChanges, Told
from headgate.app.picker.settling import Settling
from headgate.app.processes.lines import event
from headgate.io.api_keys import Keys
from headgate.io.extproc.hub import Hub
from headgate.io.scrape import Scraper
from headgate.io.scrape.client import DEFAULT, NONE
from headgate.io.trust import Trust
from headgate.model.endpoints import Endpoint, Pool
from headgate.model.ids import EndpointId, PoolKey
from headgate.model.meta import Meta
from headgate.model.objects.inference import InferencePool, InferencePoolSpec, PodSelector, PortRef
from headgate.model.problems import Problem
from headgate.model.randomness import Rng
from headgate.model.snapshot import Snapshot
from headgate.model.words import counted
from headgate.picker.events import ModelsListed, PoolChanged, Scraped
from headgate.picker.machine import PoolMachine
from headgate.picker.settings import MachineSettings
from headgate.picker.view import PoolView
from headgate.scheduling.prefix import BlockIndex, PrefixIndex
from headgate.scheduling.profiles import PROFILES

log = logging.getLogger(__name__)
problems_log = logging.getLogger("headgate.problems")
"""Its own logger: under `headgate run` the controller tells of the same problems."""

SETTLE_S = 0.5
"""How long a change of a known pool waits, so that Envoy has heard of new endpoints before one is named.

Envoy keeps those that left for longer than this (`gateway.linger`).
"""


MOST_NAMED = 8
"""Endpoints that joined or left, by name in one line."""


def fixed_pool(key: PoolKey, endpoints: Iterable[EndpointId]) -> Pool:
    """A pool of addresses (`ip:port`) that no object describes."""
    found = []
    for each in sorted(endpoints):
        host, _, port = each.rpartition(":")
        found.append(Endpoint(id=each, ip=host.strip("[]"), port=int(port), name=each))
    return Pool(key=key, endpoints=tuple(found))


def with_selector(
    snapshot: Snapshot, key: PoolKey, selector: Iterable[tuple[str, str]], ports: Iterable[int]
) -> Snapshot:
    """*snapshot* with an InferencePool that selects pods by *selector*, in place of any of its name."""
    namespace, _, name = key.partition("/")
    pool = InferencePool(
        metadata=Meta(name=name, namespace=namespace),
        spec=InferencePoolSpec(
            selector=PodSelector(dict(selector)), target_ports=tuple(PortRef(port) for port in ports)
        ),
    )
    kept = [each for each in snapshot.objects if each.identity != pool.identity]
    objects = tuple(sorted((*kept, pool), key=lambda each: each.identity))
    return msgspec.structs.replace(snapshot, objects=objects)


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
    ) -> None:
        """*own* is served even when its object names another picker: in a cluster that picker is this one."""
        self._settling = Settling(settle_s)
        self._timer: asyncio.TimerHandle | None = None
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
        self._pools: Mapping[PoolKey, Pool] = {}
        """As the machines know them."""
        self._machines: dict[PoolKey, PoolMachine] = {}
        self._watchers: dict[EndpointId, tuple[PoolKey, ...]] = {}
        self._health: dict[PoolKey, HealthChanges] = {}
        """Of pools that had an endpoint that was not up."""
        self.problems: tuple[Problem, ...] = ()
        hub.relist = self._relist

    def report(self, problems: Sequence[Problem]) -> None:
        """These are the problems now; the new ones are told."""
        before = frozenset(self.problems)
        for problem in problems:
            if problem not in before:
                problems_log.log(
                    logging.ERROR if problem.severity == "error" else logging.WARNING, "%s", problem
                )
        self.problems = tuple(problems)

    def update(self, pools: Iterable[Pool], problems: Sequence[Problem]) -> None:
        """The pools as they are now, whole."""
        self.report(problems)
        wanted = {pool.key: pool for pool in pools if pool.picker is None or pool.key == self._own}
        self._settling.tell(wanted, asyncio.get_running_loop().time())
        self._settle()

    def _settle(self) -> None:
        """Serve what counts now, and look again when the next change is old enough."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        loop = asyncio.get_running_loop()
        self._apply(self._settling.served(loop.time()))
        due = self._settling.due
        if due is not None:
            self._timer = loop.call_at(due, self._settle)

    def _apply(self, wanted: Mapping[PoolKey, Pool]) -> None:
        for key in self._pools.keys() - wanted.keys():
            self._hub.remove_pool(key)
            del self._machines[key]
            self._health.pop(key, None)
            log.info("pool %s is gone", key, extra=event("pool", pool=key, endpoints=[]))
        for key, pool in wanted.items():
            if key not in self._machines:
                machine = self._machines[key] = PoolMachine(
                    key, self._profile, self._settings, self._rng, self._make_index()
                )
                self._hub.add_pool(key, machine)
            if self._pools.get(key) != pool:
                self._hub.tell(key, PoolChanged(pool))
                self._tell_members(self._pools.get(key), pool)
        self._pools = wanted
        self._watch()

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

    def tell_health(self) -> None:
        """Log the endpoints that fell ill, got worse or came back; to be called several times a second."""
        now = time.monotonic()
        for key, machine in self._machines.items():
            refusing: dict[EndpointId, tuple[Told, str]] = {
                each: ("refusing", reason) for each, reason in machine.refusing().items()
            }
            unwell, known = {**refusing, **machine.unwell()}, self._health.get(key)
            if not unwell and known is None:
                continue
            if known is None:
                known = self._health[key] = HealthChanges()
            members = {endpoint.id for endpoint in self._pools[key].endpoints}
            for change in known.update(unwell, members, now):
                level = logging.INFO if change.condition == "up" else logging.WARNING
                fields = event("endpoint", pool=key, **msgspec.to_builtins(change))
                log.log(level, "pool %s: %s", key, change, extra=fields)

    def _watch(self) -> None:
        endpoints: dict[EndpointId, Endpoint] = {}
        watchers: dict[EndpointId, list[PoolKey]] = {}
        for key, pool in self._pools.items():
            for endpoint in pool.endpoints:
                endpoints[endpoint.id] = endpoint
                watchers.setdefault(endpoint.id, []).append(key)
        self._watchers = {each: tuple(keys) for each, keys in watchers.items()}
        self.scraper.update(endpoints.values())

    def _relist(self, key: PoolKey) -> None:
        if (pool := self._pools.get(key)) is not None:
            self.scraper.relist(endpoint.id for endpoint in pool.endpoints)

    def _observed(self, seen: Scraped | ModelsListed) -> None:
        for key in self._watchers.get(seen.endpoint, ()):
            self._hub.tell(key, seen)

    def _needs_watching(self, endpoint: EndpointId) -> bool:
        now = time.monotonic()
        keys = self._watchers.get(endpoint, ())
        return any(self._machines[key].needs_watching(endpoint, now) for key in keys)

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
