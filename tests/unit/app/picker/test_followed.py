"""From objects to pools and problems, in steps."""

from collections.abc import Iterable
from itertools import pairwise

import pytest
from msgspec.structs import replace

from headgate.app.picker import followed as module
from headgate.app.picker.followed import FACTS, Followed, News, selected_pool
from headgate.model import topology
from headgate.model.endpoints import Pool
from headgate.model.ids import PoolKey
from headgate.model.meta import Meta, Origin
from headgate.model.objects import Object, Pod
from headgate.model.objects.kubernetes import PodStatus
from headgate.model.problems import Place, Problem
from headgate.model.snapshot import Snapshot, difference
from headgate.model.store import Store

PODS, POOLS = 10_000, 1_000
RUNS_OF_A_POOL = 30
"""Computations for one pool of ten pods, at most: the last one of a step may be that much over."""


def pod(number: int, pool: int, ip: str | None = None) -> Object:
    labels = {"app": "llm", "pool": f"p{pool}"}
    address = f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}"
    return Pod(metadata=Meta(name=f"pod-{number}", labels=labels), status=PodStatus(ip or address))


def pool(number: int) -> Object:
    return selected_pool(key(number), {"app": "llm", "pool": f"p{number}"}.items(), [8000])


def key(number: int) -> PoolKey:
    return PoolKey(f"default/p{number}")


def snapshot(objects: Iterable[Object], *problems: Problem) -> Snapshot:
    return Snapshot(tuple(sorted(objects, key=lambda each: each.identity)), problems=problems)


class Source:
    """Followed from snapshot to snapshot."""

    def __init__(self, subject: Followed | None = None) -> None:
        self.subject = subject or Followed()
        self.last = Snapshot()

    def steps(self, now: Snapshot) -> list[News]:
        last, self.last = self.last, now
        return list(self.subject.steps(difference(last, now)))

    def news(self, now: Snapshot) -> tuple[dict[PoolKey, Pool], set[PoolKey], list[str]]:
        found = self.steps(now)
        pools = {each: pool for news in found for each, pool in news.pools.items()}
        gone = {each for news in found for each in news.gone}
        return pools, gone, [each.reason for news in found for each in news.appeared]


def size(found: dict[PoolKey, Pool]) -> dict[PoolKey, int]:
    return {each: len(pool.endpoints) for each, pool in found.items()}


def test_pools_come_change_and_go() -> None:
    source = Source()
    pools, gone, appeared = source.news(snapshot([pool(1), pool(2), pod(1, 1)]))
    assert (size(pools), gone, appeared) == ({key(1): 1, key(2): 0}, set(), ["NoEndpoints"])
    pools, gone, _ = source.news(snapshot([*source.last.objects, pod(2, 1)]))
    assert (size(pools), gone) == ({key(1): 2}, set())
    pools, gone, appeared = source.news(snapshot([pool(1), pod(1, 1), pod(2, 1)]))
    assert (size(pools), gone, appeared) == ({}, {key(2)}, [])
    assert source.subject.problems == ()


def test_work_comes_in_small_steps_and_a_change_of_one_pod_in_few() -> None:
    source = Source()
    objects = [*map(pool, range(POOLS)), *(pod(number, number % POOLS) for number in range(PODS))]
    runs = [0]
    for _ in source.subject.steps(difference(Snapshot(), snapshot(objects))):
        runs.append(source.subject.runs)
    source.last = snapshot(objects)
    assert max(after - before for before, after in pairwise(runs)) <= module.RUNS + 200  # the buckets, once
    assert sorted(after - before for before, after in pairwise(runs))[-3] <= module.RUNS + RUNS_OF_A_POOL
    assert len(runs) > (PODS + POOLS) / FACTS + POOLS / RUNS_OF_A_POOL
    before = source.subject.runs
    objects[POOLS + 7] = pod(7, 7, "10.200.0.1")
    steps = source.steps(snapshot(objects))
    assert [size(dict(each.pools)) for each in steps if each.pools] == [{key(7): 10}]
    assert source.subject.runs - before < 10
    assert len(steps) <= 3


def test_what_was_not_asked_for_is_made_up_for() -> None:
    source = Source()
    now = snapshot([*map(pool, range(100)), *(pod(number, number) for number in range(100))])
    first = []
    for news in source.subject.steps(difference(Snapshot(), now)):
        first.append(news)
        if len(news.pools):
            break
    source.last = now
    rest = source.steps(now)
    seen = [each for news in (*first, *rest) for each in news.pools]
    assert sorted(seen) == sorted(map(key, range(100)))


ODD = Problem(Place("m.yaml", 3, "Pod default/pod-1", "spec"), "Odd", "odd")


def test_problems_are_told_once_and_stay_until_they_are_mended() -> None:
    source = Source()
    others = [pod(number, number) for number in (7, 8, 9)]
    assert source.news(snapshot([*others, pool(1)], ODD))[2] == ["Odd", "NoEndpoints"]
    assert [each.reason for each in source.subject.problems] == ["NoEndpoints", "Odd"]
    assert source.news(snapshot([*others, pool(1), pool(2)], ODD))[2] == ["NoEndpoints"]
    assert source.news(snapshot([*others, pool(1), pool(2), pod(99, 1)]))[2] == []
    assert [each.place.object for each in source.subject.problems] == ["InferencePool default/p2"]
    assert source.news(snapshot([*others, pod(99, 1)]))[2] == []
    assert source.subject.problems == ()


def test_two_pools_tell_of_one_pod_together() -> None:
    source = Source()
    twin = selected_pool(key(2), {"app": "llm"}.items(), [8000])
    strange = pod(1, 1, "169.254.169.254")
    appeared = source.news(snapshot([pool(1), twin, pod(2, 1), strange]))[2]
    assert appeared == ["ForbiddenAddress"]
    source.news(snapshot([pool(1), pod(2, 1), strange]))
    assert [each.reason for each in source.subject.problems] == ["ForbiddenAddress"]
    source.news(snapshot([pool(1), pod(2, 1)]))
    assert source.subject.problems == ()


def test_problems_stand_where_their_object_is_written_now() -> None:
    source = Source()
    for line in (3, 8):
        source.news(snapshot([replace(pool(1), origin=Origin("m.yaml", {"": line}))]))
        assert [str(each.place)[:8] for each in source.subject.problems] == [f"m.yaml:{line}"]


def test_a_computation_that_fails_is_told_and_costs_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(world: Store, ip: str, port: int) -> str | None:
        if ip == "10.9.9.9":
            raise OverflowError("too much")
        return None

    monkeypatch.setattr(topology, "refused", refused)
    source = Source()
    sound = snapshot([pool(1), pool(2), pod(1, 1), pod(2, 2)])
    source.news(sound)
    pools, gone, appeared = source.news(
        snapshot([pool(1), pool(2), pod(1, 1, "10.9.9.9"), pod(2, 2), pod(3, 2)])
    )
    assert (size(pools), gone, appeared) == ({key(2): 2}, set(), ["InternalError"])
    pools, gone, appeared = source.news(sound)
    assert (size(pools), gone, appeared) == ({key(1): 1, key(2): 1}, set(), [])
    assert source.subject.problems == ()


def test_a_fixed_pool_stands_in_place_of_any_of_its_name() -> None:
    fixed = selected_pool(key(1), [("app", "llm")], [9000])
    source = Source(Followed(fixed))
    pools, _, _ = source.news(snapshot([pool(1), pod(1, 1), pod(2, 2)]))
    assert [each.port for each in pools[key(1)].endpoints] == [9000, 9000]
    assert source.news(snapshot([pod(1, 1), pod(2, 2)]))[:2] == ({}, set())
    found = source.subject.held()
    assert fixed in found.objects
    assert source.subject.steps(difference(found, snapshot([pod(1, 1)])))
