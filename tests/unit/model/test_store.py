"""What a change touches: the object, its kind, the entries that it enters and leaves, and nothing else."""

from collections.abc import Callable

import pytest
from msgspec.structs import replace

from headgate.model.change import Change
from headgate.model.indexes import INDEXES
from headgate.model.meta import Identity, Meta, Origin
from headgate.model.objects import Pod, Service
from headgate.model.problems import Place, Problem
from headgate.model.store import BUCKETS, MOST_MERGED, Store, bucket_of


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


@pytest.mark.parametrize("count", [3, 10, MOST_MERGED + 1, 3 * MOST_MERGED])
def test_what_an_index_finds_is_in_order_whatever_came_and_went(count: int) -> None:
    names = [f"p{number * 7919 % 1000:03}" for number in range(6 * MOST_MERGED)]
    world = stored(*map(pod, names[: 4 * MOST_MERGED]))
    there = set(names[: 4 * MOST_MERGED])
    assert world.get(all_pods) == tuple(sorted(there))
    leaving, coming = names[:count], [*names[-count:], *names[: count // 2]]
    world.apply(Change(pod(each).identity, None) for each in leaving)
    world.apply(Change(pod(each).identity, pod(each)) for each in coming)
    there = there.difference(leaving).union(coming)
    assert world.get(all_pods) == tuple(sorted(there))
    world.apply(Change(pod(each).identity, None) for each in there)
    assert world.get(all_pods) == ()


def has_app(world: Store, name: str, app: str) -> bool:
    return world.is_indexed("label", ("Pod", "default", "app", app), pod(name).identity)


def test_who_asks_for_one_in_an_index_depends_on_no_other() -> None:
    world = stored(pod("a", app="x"), pod("b", app="x"))
    assert (world.get(has_app, "a", "x"), world.get(has_app, "a", "y")) == (True, False)
    runs = world.runs
    world.apply(Change(each.identity, each) for each in (pod("b", app="y"), pod("c", app="x")))
    assert world.get(has_app, "a", "x") and world.runs == runs
    world.apply([Change(pod("a").identity, pod("a", app="y"))])
    assert (world.get(has_app, "a", "x"), world.get(has_app, "a", "y")) == (False, True)
    assert world.count("label", ("Pod", "default", "app", "y")) == 2
    assert world.count("label", ("Pod", "default", "app", "z")) == 0


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
    world.set("addresses", "b", None)
    world.set("addresses", "c", ("10.0.0.4",))
    assert (world.keys("addresses"), world.get(host, "b"), world.get(host, "c")) == (
        ("c",),
        None,
        ("10.0.0.4",),
    )


def hosts(world: Store) -> tuple[object, ...]:
    return world.keys("addresses")


def test_keys_of_a_table_are_others_only_when_one_comes_or_goes() -> None:
    world = stored()
    world.set("addresses", "a", 1)
    assert world.get(hosts) == ("a",)
    runs = world.runs
    world.set("addresses", "a", 2)
    world.set("addresses", "b", None)
    assert world.get(hosts) == ("a",) and world.runs == runs
    world.set("addresses", "b", 1)
    assert world.get(hosts) == ("a", "b") and world.runs == runs + 1
