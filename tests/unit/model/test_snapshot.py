"""From snapshot to snapshot: what is another, and how little is looked at."""

import pytest
from msgspec.structs import replace

from headgate.model.change import Change
from headgate.model.forbidden import Own
from headgate.model.indexes import INDEXES
from headgate.model.meta import Meta, Origin
from headgate.model.objects import Object, Pod
from headgate.model.problems import Place, Problem
from headgate.model.snapshot import Difference, Entry, Snapshot, difference, follow, held, take
from headgate.model.store import Store


def pods(*numbers: int) -> tuple[Object, ...]:
    return tuple(Pod(metadata=Meta(name=f"p{number}")) for number in numbers)


FOUR = pods(1, 2, 3, 4)
OTHER = replace(FOUR[1], metadata=Meta(name="p2", labels={"app": "x"}))


@pytest.mark.parametrize(
    ("after", "changed", "gone"),
    [
        (FOUR, [], []),
        (FOUR[1:], [], ["p1"]),
        (FOUR[:-1], [], ["p4"]),
        ((*FOUR[:1], *FOUR[2:]), [], ["p2"]),
        ((*FOUR, *pods(5)), ["p5"], []),
        ((*pods(0), *FOUR), ["p0"], []),
        ((FOUR[0], OTHER, *FOUR[2:]), ["p2"], []),
        ((*pods(0), *FOUR[1:3], *pods(5)), ["p0", "p5"], ["p1", "p4"]),
        ((), [], ["p1", "p2", "p3", "p4"]),
    ],
)
def test_objects_that_are_others(after: tuple[Object, ...], changed: list[str], gone: list[str]) -> None:
    found = difference(Snapshot(FOUR), Snapshot(after))
    assert [each.identity.name for each in found.changes if each.object is not None] == changed
    assert [each.identity.name for each in found.changes if each.object is None] == gone
    assert found.entries == ()


class Strange:
    """An object of which nothing may be asked."""


def test_the_same_instances_are_not_looked_at() -> None:
    strange: tuple[Object, ...] = (Strange(), Strange())  # type: ignore[assignment]
    assert difference(Snapshot(strange), Snapshot((*strange, *FOUR))).changes == tuple(
        Change(each.identity, each) for each in FOUR
    )


BROKEN = Problem(Place("m.yaml", 3, "Pod default/p1", "spec"), "Odd", "odd")


def test_tables_are_told_by_entry() -> None:
    before = Snapshot(addresses={"a": ("1",), "b": ("2",)}, authorities={"/ca": "PEM"})
    after = Snapshot(
        addresses={"b": ("3",), "c": ("4",)},
        authorities={"/ca": "PEM"},
        problems=(BROKEN,),
        own=Own(frozenset({1})),
    )
    assert set(difference(before, after).entries) == {
        Entry("addresses", "a", None),
        Entry("addresses", "b", ("3",)),
        Entry("addresses", "c", ("4",)),
        Entry("problems", "Pod default/p1", (BROKEN,)),
        Entry("broken", "Pod default/p1", True),
        Entry("broken kinds", "pod", True),
        Entry("settings", "own", Own(frozenset({1}))),
    }


def test_a_store_that_takes_every_difference_has_the_last_snapshot() -> None:
    world = Store(INDEXES)
    world.set("settings", "mine", 7)
    story = (
        Snapshot(FOUR, {"a": ("1",)}, (BROKEN,), {"/ca": "PEM"}),
        Snapshot((*pods(1), OTHER, *pods(7)), {"b": ("1",)}),
        Snapshot(pods(1, 2, 3), own=Own(frozenset({80}))),
    )
    last = Snapshot()
    for each in story:
        for part in difference(last, each).parts(2):
            assert len(part.changes) + len(part.entries) <= 2
            take(world, part)
        last = each
        assert held(world) == each
        again = Store(INDEXES)
        follow(again, each)
        follow(again, each)
        assert held(again) == each
    assert world.entry("settings", "mine") == 7


def test_a_line_that_moved_is_no_change_of_an_object() -> None:
    moved = tuple(replace(each, origin=Origin("m.yaml", {"": 9})) for each in FOUR)
    world = Store(INDEXES)
    follow(world, Snapshot(FOUR))
    take(world, difference(Snapshot(FOUR), Snapshot(moved)))
    assert world.place(FOUR[0].identity).line == 9


def test_parts_of_nothing() -> None:
    assert list(Difference().parts(10)) == []
