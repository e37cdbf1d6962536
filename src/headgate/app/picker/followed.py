"""What the objects mean to a picker: the pools and problems that follow from them, in small steps."""

from collections import Counter
from collections.abc import Hashable, Iterable, Iterator, Mapping
from typing import TypeVar

import msgspec

from headgate.model.change import Change
from headgate.model.endpoints import Pool
from headgate.model.family import Family, Refreshed
from headgate.model.ids import PoolKey
from headgate.model.indexes import INDEXES
from headgate.model.meta import Identity, Meta
from headgate.model.objects.inference import InferencePool, InferencePoolSpec, PodSelector, PortRef
from headgate.model.problems import Place, Problem
from headgate.model.snapshot import PROBLEMS, Difference, Snapshot, held, take
from headgate.model.store import Store, in_parts
from headgate.model.topology import judged_in, pool, pool_keys_in, problems_of
from headgate.model.tracker import Node

FACTS = 50
"""Objects and other facts that one step takes in…"""
RUNS = 50
"""…and computations that one runs, at least: about a millisecond of either."""


K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class News(msgspec.Struct, frozen=True):
    """What one step found."""

    pools: Mapping[PoolKey, Pool] = msgspec.field(default_factory=dict)
    """New ones, and those that are others now."""
    gone: frozenset[PoolKey] = frozenset()
    appeared: tuple[Problem, ...] = ()
    """Problems that were not there before."""


def selected_pool(key: PoolKey, selector: Iterable[tuple[str, str]], ports: Iterable[int]) -> InferencePool:
    """An InferencePool that selects pods by *selector*."""
    namespace, _, name = key.partition("/")
    return InferencePool(
        metadata=Meta(name=name, namespace=namespace),
        spec=InferencePoolSpec(
            selector=PodSelector(dict(selector)), target_ports=tuple(PortRef(port) for port in ports)
        ),
    )


class Followed:
    """The objects as a source tells them. A change costs what it changes."""

    def __init__(self, fixed: InferencePool | None = None) -> None:
        """*fixed* stands in place of any pool of its name."""
        self._world = Store(INDEXES)
        self._fixed = None if fixed is None else fixed.identity
        if fixed is not None:
            self._world.apply([Change(fixed.identity, fixed)])
        self._pools: Family[PoolKey, Pool | None] = Family(self._world, in_parts(pool_keys_in), pool)
        self._judged: Family[Identity, tuple[Problem, ...]] = Family(
            self._world, in_parts(judged_in), problems_of
        )
        self._stale: dict[Node, None] = {}
        """What the steps that are under way have to look at again."""
        self._told: dict[Hashable, tuple[Problem, ...]] = {}
        """By what they were found for: an object, a text, a computation that failed. None is empty."""
        self._known = Counter[Problem]()
        """How often each of them stands there."""

    @property
    def runs(self) -> int:
        """Computations run so far: the cost of a change, for tests."""
        return self._world.runs

    @property
    def problems(self) -> tuple[Problem, ...]:
        """All that is wrong now, ordered, with the places where it is written now."""
        return tuple(sorted({self._world.located(each) for each in self._known}))

    def held(self) -> Snapshot:
        """Everything that was taken in. Looks at all of it."""
        return held(self._world)

    def steps(self, found: Difference) -> Iterator[News]:
        """Takes *found* in and works out what it means, a little for each step that is asked for.

        What a step says is not said again. Computations that were not asked for are made up for by the next
        call; facts that were not are not taken in (`held`).
        """
        for part in found.parts(FACTS):
            take(self._world, self._without_fixed(part))
            appeared: list[Problem] = []
            for entry in part.entries:
                if entry.table == PROBLEMS:
                    appeared += self._note(("read", entry.key), entry.value or ())
            yield News(appeared=tuple(appeared))
        self._stale |= dict.fromkeys(self._world.take_stale())
        for pools in _in_steps(self._pools, self._stale):
            yield self._news_of_pools(pools)
        for judged_ones in _in_steps(self._judged, self._stale):
            yield self._news_of_problems(judged_ones)
        self._stale = {}
        self._world.collect()

    def _without_fixed(self, found: Difference) -> Difference:
        if self._fixed is None:
            return found
        kept = tuple(each for each in found.changes if each.identity != self._fixed)
        return Difference(kept, found.entries)

    def _news_of_pools(self, found: Refreshed[PoolKey, Pool | None]) -> News:
        for key in (*found.changed, *found.gone):
            self._note(("pool", key), ())
        appeared = [
            problem
            for key, error in found.failed.items()
            for problem in self._note(("pool", key), (_bug(f"InferencePool {key}", error),))
        ]
        pools = {key: each for key, each in found.changed.items() if each is not None}
        return News(pools, frozenset(found.gone), tuple(appeared))

    def _news_of_problems(self, found: Refreshed[Identity, tuple[Problem, ...]]) -> News:
        told = {**found.changed, **{each: (_bug(str(each), error),) for each, error in found.failed.items()}}
        for identity in found.gone:
            self._note(identity, ())
        appeared = [each for identity, some in told.items() for each in self._note(identity, some)]
        return News(appeared=tuple(appeared))

    def _note(self, where: Hashable, problems: tuple[Problem, ...]) -> list[Problem]:
        """These are the problems there now; those that were nowhere before, with their places."""
        new = [each for each in dict.fromkeys(problems) if not self._known[each]]
        gone = self._told.pop(where, ())
        if problems:
            self._told[where] = problems
        self._known.update(problems)
        self._known.subtract(gone)
        for each in (*problems, *gone):
            if not self._known[each]:
                del self._known[each]
        return [self._world.located(each) for each in new]


def _in_steps(family: Family[K, V], stale: Iterable[Node]) -> Iterator[Refreshed[K, V]]:
    yield family.refresh(stale, RUNS)
    while family.is_behind:
        yield family.refresh((), RUNS)


def _bug(what: str, error: Exception) -> Problem:
    message = f"a bug in Headgate: {error!r}; what was served before is served on"
    return Problem(Place(object=what), "InternalError", message)
