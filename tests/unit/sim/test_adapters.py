"""LoRA slots."""

from headgate.sim.adapters import AdapterSlots


def test_a_loaded_adapter_is_loaded_once() -> None:
    slots = AdapterSlots(2)
    assert slots.start("a")
    assert not slots.start("a")
    slots.stop("a")
    slots.stop("a")
    assert slots.running == ()
    assert not slots.start("a")


def test_a_full_set_of_running_adapters_has_room_for_its_own_only() -> None:
    slots = AdapterSlots(1)
    slots.start("a")
    assert slots.has_room("a")
    assert not slots.has_room("b")
    slots.stop("a")
    assert slots.has_room("b")


def test_the_unused_adapter_that_ran_longest_ago_makes_room() -> None:
    slots = AdapterSlots(2)
    for name in ("a", "b", "a"):
        slots.start(name)
        slots.stop(name)
    slots.start("c")
    assert slots.loaded == ("a", "c")


def test_one_in_use_is_never_replaced() -> None:
    slots = AdapterSlots(2)
    slots.start("a")
    slots.start("b")
    slots.stop("b")
    slots.start("c")
    assert slots.loaded == ("a", "c")


def test_unloading_frees_an_idle_adapter_only() -> None:
    slots = AdapterSlots(2)
    slots.start("a")
    slots.start("b")
    slots.stop("b")
    slots.unload("a")
    slots.unload("b")
    assert slots.loaded == ("a",)
