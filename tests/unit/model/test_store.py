"""What a change touches: the object, its kind, the entries that it enters and leaves, and nothing else."""

from collections.abc import Callable

import pytest
from msgspec.structs import replace

from headgate.model.indexes import INDEXES
from headgate.model.meta import Identity, Meta, Origin
from headgate.model.objects import Pod, Service
from headgate.model.problems import Place, Problem
from headgate.model.store import BUCKETS, Change, Store, bucket_of


def pod(name: str, **labels: str) -> Pod:
    return Pod(metadata=Meta(name=name, labels=labels))


def stored(*pods: Pod) -> Store:
    world = Store(INDEXES)
    world.apply(Change(each.identity, each) for each in pods)
    return world


def by_app(world: Store, app: str) -> tuple[str, ...]:
    return tuple(each.name for each in world.indexed("label", ("Pod", "default", "app", app)))


def all_pods(world: Store) -> tuple[str, ...]:
    return tuple(each.name for each in world.kind(Pod))


def one(world: Store, name: str) -> Pod | None:
    return world.object(Pod, "default", name)


def host(world: Store, name: str) -> object:
    return world.entry("addresses", name)


@pytest.mark.parametrize(
    ("change", "question", "runs"),
    [
        (pod("a", app="x", more="1"), lambda world: world.get(by_app, "x"), 0),
        (pod("a", app="y"), lambda world: world.get(by_app, "x"), 1),
        (pod("a", app="y"), lambda world: world.get(by_app, "z"), 0),
        (pod("a", app="y"), lambda world: world.get(all_pods), 0),
        (pod("c", app="z"), lambda world: world.get(all_pods), 1),
        (pod("a", app="y"), lambda world: world.get(one, "a"), 1),
        (pod("a", app="y"), lambda world: world.get(one, "b"), 0),
        (pod("c"), lambda world: world.get(one, "c"), 1),
        (pod("a", app="x"), lambda world: world.get(one, "a"), 0),
    ],
)
def test_a_change_runs_what_read_it(change: Pod, question: Callable[[Store], object], runs: int) -> None:
    world = stored(pod("a", app="x"), pod("b", app="x"))
    question(world)
    before = world.runs
    world.apply([Change(change.identity, change)])
    answer = question(world)
    assert world.runs - before == runs
    assert answer == question(stored(pod("b", app="x"), change, *([pod("a", app="x")][: change.name != "a"])))


def test_a_removed_object_leaves_every_index() -> None:
    world = stored(pod("a", app="x"), pod("b", app="x"))
    world.apply([Change(pod("a").identity, None)])
    assert world.get(by_app, "x") == world.get(all_pods) == ("b",)
    assert world.get(one, "a") is None
    world.apply([Change(pod("a").identity, None)])
    assert list(world.identities()) == [pod("b").identity]


def test_names_of_different_kinds_do_not_meet() -> None:
    world = stored(pod("a"))
    assert world.object(Service, "default", "a") is None
    assert world.kind(Service) == () and world.kind(Pod, "default") == (pod("a").identity,)


def test_every_object_is_in_one_bucket() -> None:
    world = stored(*(pod(f"p{number}") for number in range(300)))
    parts = [world.bucket(Pod, number) for number in range(BUCKETS)]
    assert sorted(each for part in parts for each in part) == list(world.kind(Pod))
    assert parts[bucket_of(pod("p7").identity)].count(pod("p7").identity) == 1


def test_a_moved_line_changes_nothing_but_the_place() -> None:
    world = stored(pod("a"))
    world.get(one, "a")
    before = world.runs
    moved = replace(pod("a"), origin=Origin("m.yaml", {"": 7}))
    world.apply([Change(moved.identity, moved)])
    world.get(one, "a")
    assert world.runs == before
    told = Problem(Place(object="Pod default/a"), "Odd", "odd")
    assert world.located(told).place == Place("m.yaml", 7, "Pod default/a", "")
    assert world.place(Identity("Pod", "default", "nobody"), "spec").file == ""


def test_tables_touch_what_is_another() -> None:
    world = stored()
    world.put("addresses", {"a": ("10.0.0.1",), "b": ("10.0.0.2",)})
    assert (world.get(host, "a"), world.get(host, "c")) == (("10.0.0.1",), None)
    before = world.runs
    world.put("addresses", {"a": ("10.0.0.1",), "b": ("10.0.0.3",)})
    world.get(host, "a")
    assert world.runs == before
    world.put("addresses", {"b": ("10.0.0.3",)})
    assert world.get(host, "a") is None
    assert world.keys("addresses") == ("b",)
