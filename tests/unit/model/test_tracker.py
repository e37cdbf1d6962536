import pytest

from headgate.model.tracker import Node, Tracker


class World(Tracker):
    def __init__(self, **facts: int) -> None:
        super().__init__()
        self.facts = dict(facts)

    def fact(self, name: str) -> int:
        self.read(name)
        return self.facts[name]

    def change(self, **facts: int) -> None:
        self.facts |= facts
        self.touch(facts)


def parity(world: World, name: str) -> int:
    return world.fact(name) % 2


def total(world: World) -> int:
    return world.get(parity, "a") + world.get(parity, "b")


def either(world: World) -> int:
    return world.get(parity, "b") if world.get(parity, "a") else world.fact("c")


def broken(world: World) -> int:
    if world.fact("a") == 0:
        raise ValueError("a is 0")
    return world.fact("a")


def around(world: World) -> int:
    try:
        return world.get(broken)
    except ValueError:
        return -1


def test_an_equal_result_stops_there() -> None:
    world = World(a=1, b=2)
    assert world.get(total) == 1
    runs = world.runs
    world.change(a=3)
    assert (world.get(total), world.runs - runs) == (1, 1)
    world.change(a=4)
    assert (world.get(total), world.runs - runs) == (0, 3)


def test_what_is_no_longer_read_costs_nothing() -> None:
    world = World(a=1, b=1, c=7)
    assert world.get(either) == 1
    world.change(a=2)
    assert world.get(either) == 7
    runs = world.runs
    world.change(b=2)
    assert (world.get(either), world.runs - runs) == (7, 0)
    world.change(a=3, c=8)
    assert world.get(either) == 0


def test_nothing_that_would_no_longer_be_asked_is_run() -> None:
    world = World(a=1, b=1, c=7)
    world.get(either)
    runs = world.runs
    world.change(a=2, b=2)
    world.get(either)
    assert world.runs - runs == 2  # the parity of a, and what stands on it


def test_an_exception_is_a_result() -> None:
    world = World(a=0)
    assert world.get(around) == -1
    with pytest.raises(ValueError, match="a is 0"):
        world.get(broken)
    world.change(a=5)
    assert (world.get(around), world.get(broken)) == (5, 5)


def test_watched_nodes_are_told_once() -> None:
    world = World(a=1, b=2)
    node = Node(total, ())
    world.watch(node)
    assert world.take_stale() == (node,)
    world.get(total)
    assert world.take_stale() == ()
    world.change(a=2)
    world.change(b=4)
    assert world.take_stale() == (node,)
    world.get(total)
    assert world.take_stale() == ()


def test_what_nobody_reads_is_forgotten() -> None:
    world = World(a=1, b=1, c=7)
    world.watch(Node(either, ()))
    world.get(either)
    world.change(a=2)
    world.get(either)
    world.collect()
    assert world.facts_of(Node(either, ())) == {"a", "c"}
    runs = world.runs
    world.get(parity, "b")
    assert world.runs == runs + 1
    world.unwatch(Node(either, ()))
    world.collect()
    world.get(parity, "a")
    assert world.runs == runs + 2


def reader(world: World, number: int) -> int:
    return number if number >= world.fact("readers") else world.get(parity, "a")


@pytest.mark.parametrize("many", [1, 5, 20, 200])
def test_readers_come_and_go_however_many_they_are(many: int) -> None:
    world = World(a=0, readers=0)
    for wanted in (many, 1, 0, many):
        world.change(readers=wanted, a=world.facts["a"] + 1)
        found = [world.get(reader, number) for number in range(many)]
        assert found == [world.facts["a"] % 2] * wanted + list(range(wanted, many))
        runs = world.runs
        world.change(a=world.facts["a"] + 1)
        again = [world.get(reader, number) for number in range(many)]
        assert again == [world.facts["a"] % 2] * wanted + list(range(wanted, many))
        assert world.runs - runs == (wanted + 1 if wanted else 0)


def forgetful(world: World) -> int:
    """Reads a fact that a computation below it has just ceased to read."""
    world.fact("a")
    return world.get(either) + world.fact("b")


def test_a_fact_that_one_forgets_while_another_reads_it() -> None:
    world = World(a=1, b=1, c=7)
    world.get(either)
    world.change(a=2)  # it reads c instead of b now
    assert world.get(forgetful) == 8
    world.collect()
    world.change(b=3)
    assert world.get(forgetful) == 10
