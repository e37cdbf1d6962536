"""Values of many members, followed."""

from headgate.model.family import Family
from headgate.model.store import Store
from headgate.model.tracker import Node


def world_of(**numbers: int) -> Store:
    """Numbers by name; who has an odd one fails."""
    world = Store({})
    change(world, **numbers)
    return world


def change(world: Store, *gone: str, **numbers: int) -> None:
    for name, value in {**dict.fromkeys(gone), **numbers}.items():
        world.set("numbers", name, value)


def names(world: Store) -> frozenset[str]:
    return frozenset(map(str, world.keys("numbers")))


def half(world: Store, name: str) -> int:
    whole, odd = divmod(world.entry("numbers", name), 2)
    if odd:
        raise ValueError(f"{name} is odd")
    return int(whole)


def family_of(world: Store) -> Family[str, int]:
    return Family(world, [Node(names, ())], half)


def refresh(
    world: Store, family: Family[str, int], most_runs: int | None = None
) -> tuple[dict[str, int], set[str]]:
    found = family.refresh(world.take_stale(), most_runs)
    assert not found.failed
    return found.changed, found.gone


def test_members_come_change_and_go() -> None:
    world = world_of(a=2, b=4)
    family = family_of(world)
    assert refresh(world, family) == ({"a": 1, "b": 2}, set())
    assert refresh(world, family) == ({}, set())
    change(world, "a", b=6, c=8)
    assert refresh(world, family) == ({"b": 3, "c": 4}, {"a"})
    assert family.values == {"b": 3, "c": 4}
    change(world, a=2)
    assert refresh(world, family) == ({"a": 1}, set())


def test_members_that_were_looked_at_are_not_looked_at_again() -> None:
    world = world_of(a=2, b=4)
    refresh(world, family_of(world))
    assert world.take_stale() == ()
    change(world, a=4, c=2)
    assert set(world.take_stale()) == {Node(names, ()), Node(half, ("a",))}


def test_what_is_gone_is_no_longer_computed() -> None:
    world = world_of(a=2, b=4)
    family = family_of(world)
    refresh(world, family)
    change(world, "a")
    refresh(world, family)
    world.collect()
    assert world.nodes == 2
    runs = world.runs
    world.touch(["a"])
    assert refresh(world, family) == ({}, set()) and world.runs == runs


def test_a_member_that_fails_keeps_its_value_and_costs_no_other() -> None:
    world = world_of(a=2, b=4)
    family = family_of(world)
    refresh(world, family)
    change(world, a=3, b=6)
    found = family.refresh(world.take_stale())
    assert (found.changed, list(map(str, found.failed.values()))) == ({"b": 3}, ["a is odd"])
    assert family.values == {"a": 1, "b": 3}
    assert not family.is_behind
    change(world, a=2)
    assert refresh(world, family) == ({"a": 1}, set()), "as it was, and well again"
    change(world, a=2)
    assert refresh(world, family) == ({}, set())


def test_much_work_is_done_in_parts() -> None:
    world = world_of(**{f"n{number}": 2 * number for number in range(10)})
    family = family_of(world)
    seen: dict[str, int] = {}
    steps = 0
    while steps == 0 or family.is_behind:
        before = world.runs
        changed, _ = refresh(world, family, 4)
        assert world.runs - before <= 4
        seen |= changed
        steps += 1
    assert steps == 3
    assert seen == family.values == {f"n{number}": number for number in range(10)}


def test_what_changes_or_goes_between_the_parts_counts_as_it_is_then() -> None:
    world = world_of(a=2, b=4, c=6)
    family = family_of(world)
    first, _ = refresh(world, family, 2)
    left = sorted(names(world) - first.keys())
    assert len(left) == 2 and family.is_behind
    change(world, left[0], **{left[1]: 20})
    changed, gone = refresh(world, family)
    assert (changed, gone) == ({left[1]: 10}, {left[0]})
    assert family.values == {**first, left[1]: 10}


def low(world: Store) -> frozenset[str]:
    return frozenset(each for each in names(world) if world.entry("numbers", each) < 10)


def high(world: Store) -> frozenset[str]:
    return names(world) - low(world)


def test_members_in_parts_move_between_them() -> None:
    world = world_of(a=2, b=40)
    family: Family[str, int] = Family(world, [Node(low, ()), Node(high, ())], half)
    assert refresh(world, family) == ({"a": 1, "b": 20}, set())
    change(world, a=20, b=4)
    assert refresh(world, family) == ({"a": 10, "b": 2}, set())
    change(world, "b", c=60)
    assert refresh(world, family) == ({"c": 30}, {"b"})
    change(world, "a")
    assert refresh(world, family) == ({}, {"a"})
    assert family.values == {"c": 30}
