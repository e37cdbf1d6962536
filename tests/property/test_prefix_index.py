"""The prefix index against a model that is plainly right: per endpoint, a list of blocks by recency."""

from random import Random

import hypothesis.strategies as st
from hypothesis import given
from tests.blocks import packed

from headgate.scheduling.prefix import PrefixIndex

CAPACITY = {0: 4, 1: 7, 5: 100}

prompts = st.text("ab", min_size=1, max_size=9)
operations = st.one_of(
    st.tuples(st.just("add"), st.sampled_from(sorted(CAPACITY)), prompts),
    st.tuples(st.just("clear"), st.sampled_from(sorted(CAPACITY)), st.just("")),
    st.tuples(st.just("shrink"), st.sampled_from(sorted(CAPACITY)), st.sampled_from(["x", "xxx"])),
)


def chain(text: str) -> tuple[int, ...]:
    return tuple(
        int("1" + text[: end + 1].replace("a", "0").replace("b", "1"), 2) for end in range(len(text))
    )


class Plain:
    """Every block in a list, the most recent last."""

    def __init__(self) -> None:
        self.capacity = dict(CAPACITY)
        self.held: dict[int, list[int]] = {slot: [] for slot in CAPACITY}

    def add(self, slot: int, blocks: tuple[int, ...]) -> None:
        for block in reversed(blocks[: self.capacity[slot]]):
            self.held[slot] = [one for one in self.held[slot] if one != block] + [block]
        self.cut(slot)

    def cut(self, slot: int) -> None:
        self.held[slot] = self.held[slot][-self.capacity[slot] :]

    def match(self, blocks: tuple[int, ...]) -> dict[int, int]:
        lengths = {}
        for slot, held in self.held.items():
            length = 0
            while length < len(blocks) and blocks[length] in held:
                length += 1
            lengths[slot] = length
        return {slot: length for slot, length in lengths.items() if length}


@given(st.lists(operations, max_size=25), st.lists(prompts, min_size=1, max_size=4))
def test_it_answers_like_the_plain_model(steps: list[tuple[str, int, str]], asked: list[str]) -> None:
    index, plain = PrefixIndex(), Plain()
    for slot, capacity in CAPACITY.items():
        index.open(slot, capacity)
    for verb, slot, text in steps:
        if verb == "add":
            index.add(slot, packed(*chain(text)))
            plain.add(slot, chain(text))
        elif verb == "clear":
            index.clear(slot)
            plain.held[slot] = []
        else:
            index.open(slot, len(text))
            plain.capacity[slot] = len(text)
            plain.cut(slot)
        index.check()
    for text in asked:
        assert index.match(packed(*chain(text))) == plain.match(chain(text))
    for slot in CAPACITY:
        assert index.blocks(slot) == len(plain.held[slot])
        assert index.fill(slot) == len(plain.held[slot]) / plain.capacity[slot]
        index.remove(slot)
    index.check()
    assert index.match(packed(*chain("a"))) == {}


@given(
    remembered=st.lists(prompts, max_size=6),
    asked=st.lists(st.tuples(prompts, st.booleans()), max_size=8),
    order=st.randoms(use_true_random=False),
    probes=st.lists(prompts, min_size=1, max_size=4),
    capacity=st.integers(1, 12),
)
def test_only_what_was_computed_stays_whatever_was_expected_meanwhile(
    remembered: list[str],
    asked: list[tuple[str, bool]],
    order: Random,
    probes: list[str],
    capacity: int,
) -> None:
    """Prompts under way in any overlap: afterwards the index is as if only the computed ones had been sent."""
    index, plain = PrefixIndex(), PrefixIndex()
    for each in (index, plain):
        each.open(0, capacity)
        for text in remembered:
            each.add(0, packed(*chain(text)))
    running: list[tuple[str, bool]] = []
    for text, computed in asked:
        index.expect(0, packed(*chain(text)))
        running.append((text, computed))
        assert index.match(packed(*chain(text)))[0] == len(text), "what is under way is shared"
        while running and order.random() < 0.4:
            conclude(index, plain, running.pop(order.randrange(len(running))))
        index.check()
    for prompt in running:
        conclude(index, plain, prompt)
    index.check()
    assert index.expected(0) == 0
    assert index.blocks(0) == plain.blocks(0)
    for text in probes:
        blocks = packed(*chain(text))
        assert index.match(blocks) == plain.match(blocks)
    for each in (index, plain):
        each.open(0, max(1, capacity // 2))
    for text in probes:
        blocks = packed(*chain(text))
        assert index.match(blocks) == plain.match(blocks), "the same blocks are the oldest"


def conclude(index: PrefixIndex, plain: PrefixIndex, prompt: tuple[str, bool]) -> None:
    blocks = packed(*chain(prompt[0]))
    if prompt[1]:
        index.confirm(0, blocks)
        plain.add(0, blocks)
    else:
        index.withdraw(0, blocks)
