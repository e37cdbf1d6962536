import pytest

from headgate.model.store import Store
from headgate.model.tracker import Node


def world_of(**facts: int) -> Store:
    world = Store({})
    change(world, **facts)
    return world


def fact(world: Store, name: str) -> int:
    return int(world.entry("facts", name))


def change(world: Store, **facts: int) -> None:
    for name, value in facts.items():
        world.set("facts", name, value)


def parity(world: Store, name: str) -> int:
    return fact(world, name) % 2


def total(world: Store) -> int:
    return world.get(parity, "a") + world.get(parity, "b")


def either(world: Store) -> int:
    return world.get(parity, "b") if world.get(parity, "a") else fact(world, "c")


def broken(world: Store) -> int:
    if fact(world, "a") == 0:
        raise ValueError("a is 0")
    return fact(world, "a")


def around(world: Store) -> int:
    try:
        return world.get(broken)
    except ValueError:
        return -1


def test_an_equal_result_stops_there() -> None:
    world = world_of(a=1, b=2)
    assert world.get(total) == 1
    runs = world.runs
    change(world, a=3)
    assert (world.get(total), world.runs - runs) == (1, 1)
    change(world, a=4)
    assert (world.get(total), world.runs - runs) == (0, 3)


def test_what_is_no_longer_read_costs_nothing() -> None:
    world = world_of(a=1, b=1, c=7)
    assert world.get(either) == 1
    change(world, a=2)
    assert world.get(either) == 7
    runs = world.runs
    change(world, b=2)
    assert (world.get(either), world.runs - runs) == (7, 0)
    change(world, a=3, c=8)
    assert world.get(either) == 0


def test_nothing_that_would_no_longer_be_asked_is_run() -> None:
    world = world_of(a=1, b=1, c=7)
    world.get(either)
    runs = world.runs
    change(world, a=2, b=2)
    world.get(either)
    assert world.runs - runs == 2  # the parity of a, and what stands on it


def test_an_exception_is_a_result() -> None:
    world = world_of(a=0)
    assert world.get(around) == -1
    with pytest.raises(ValueError, match="a is 0"):
        world.get(broken)
    change(world, a=5)
    assert (world.get(around), world.get(broken)) == (5, 5)


def test_watched_nodes_are_told_once() -> None:
    world = world_of(a=1, b=2)
    node = Node(total, ())
    world.watch(node)
    assert world.take_stale() == (node,)
    world.get(total)
    assert world.take_stale() == ()
    change(world, a=2)
    change(world, b=4)
    assert world.take_stale() == (node,)
    world.get(total)
    assert world.take_stale() == ()


def test_what_nobody_reads_is_forgotten() -> None:
    world = world_of(a=1, b=1, c=7)
    world.watch(Node(either, ()))
    world.get(either)
    change(world, a=2)
    world.get(either)
    world.collect()
    assert world.facts_of(Node(either, ())) == {("table", "facts", "a"), ("table", "facts", "c")}
    runs = world.runs
    world.get(parity, "b")
    assert world.runs == runs + 1
    world.unwatch(Node(either, ()))
    world.collect()
    world.get(parity, "a")
    assert world.runs == runs + 2


def reader(world: Store, number: int) -> int:
    return number if number >= fact(world, "readers") else world.get(parity, "a")


@pytest.mark.parametrize("many", [1, 5, 20, 200])
def test_readers_come_and_go_however_many_they_are(many: int) -> None:
    world = world_of(a=0, readers=0)
    for wanted in (many, 1, 0, many):
        change(world, readers=wanted, a=fact(world, "a") + 1)
        found = [world.get(reader, number) for number in range(many)]
        assert found == [fact(world, "a") % 2] * wanted + list(range(wanted, many))
        runs = world.runs
        change(world, a=fact(world, "a") + 1)
        again = [world.get(reader, number) for number in range(many)]
        assert again == [fact(world, "a") % 2] * wanted + list(range(wanted, many))
        assert world.runs - runs == (wanted + 1 if wanted else 0)


def forgetful(world: Store) -> int:
    """Reads a fact that a computation below it has just ceased to read."""
    fact(world, "a")
    return world.get(either) + fact(world, "b")


def test_a_fact_that_one_forgets_while_another_reads_it() -> None:
    world = world_of(a=1, b=1, c=7)
    world.get(either)
    change(world, a=2)  # it reads c instead of b now
    assert world.get(forgetful) == 8
    world.collect()
    change(world, b=3)
    assert world.get(forgetful) == 10
