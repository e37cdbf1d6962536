"""Which endpoint has which prompt blocks in its cache, as far as the router can know; bounded by LRU.

Only the data structure lives here, and the interface that a native twin shares. Blocks come packed, 8 bytes
each, little-endian; any other length raises ValueError.
"""

import struct
from collections import OrderedDict
from typing import Protocol

from headgate.model.requests import BLOCK_BYTES, BYTES_PER_TOKEN

DEFAULT_KV_TOKENS = 31_250 * 16
"""KV capacity assumed of an engine that does not report its own: 31,250 blocks of 16 tokens."""


def capacity_blocks(
    kv_tokens: int, bytes_per_token: float = BYTES_PER_TOKEN, prompt_share: float = 1.0
) -> int:
    """How many prompt blocks of `BLOCK_BYTES` a KV cache of *kv_tokens* tokens holds; at least one.

    *prompt_share*: of the tokens that enter the cache, those that are prompts; the others are answers.
    """
    return max(1, int(kv_tokens * prompt_share * bytes_per_token / BLOCK_BYTES))


class BlockIndex(Protocol):
    """What a machine asks of its prefix index; `PrefixIndex` and its native twin fit."""

    def open(self, slot: int, capacity: int) -> None:
        """See `PrefixIndex.open`; so for all."""

    def remove(self, slot: int) -> None: ...
    def clear(self, slot: int) -> None: ...
    def add(self, slot: int, blocks: bytes) -> None: ...
    def expect(self, slot: int, blocks: bytes) -> None: ...
    def confirm(self, slot: int, blocks: bytes) -> None: ...
    def withdraw(self, slot: int, blocks: bytes) -> None: ...
    def expected(self, slot: int) -> int: ...
    def match(self, blocks: bytes) -> dict[int, int]: ...
    def capacity(self, slot: int) -> int: ...
    def blocks(self, slot: int) -> int: ...
    def fill(self, slot: int) -> float: ...
    def check(self) -> None: ...


class PrefixIndex:
    """Chained block hash → the set of endpoints believed to hold it, one bit per endpoint.

    Because hashes are chained, a block stands for the whole prompt up to it. Per endpoint at most its
    capacity of blocks is remembered; within a prompt the last block ages first, so that eviction shortens
    prefixes from their end. Costs about 200 bytes of memory per remembered block and endpoint.

    A prompt that was sent and is not computed yet is *expected*: it matches like a remembered one, displaces
    nothing, and is either confirmed or withdrawn, with the same blocks, when its fate is known.
    """

    def __init__(self) -> None:
        self._holders: dict[int, int] = {}
        self._recent: dict[int, OrderedDict[int, None]] = {}
        self._capacity: dict[int, int] = {}
        self._expected: dict[int, dict[int, int]] = {}
        """Slot → block → how many prompts under way expect it."""
        self._ahead: dict[int, int] = {}
        """Slot → how many blocks are expected and not remembered."""

    def open(self, slot: int, capacity: int) -> None:
        """Start remembering for the endpoint numbered *slot*, or change its capacity (blocks, >= 1)."""
        self._capacity[slot] = capacity
        if slot not in self._expected:
            self._expected[slot] = {}
            self._ahead[slot] = 0
        self._shrink(slot, self._recent.setdefault(slot, OrderedDict()))

    def remove(self, slot: int) -> None:
        """Forget the endpoint; its number may be given to another one."""
        self.clear(slot)
        self._recent.pop(slot, None)
        self._capacity.pop(slot, None)
        self._expected.pop(slot, None)
        self._ahead.pop(slot, None)

    def clear(self, slot: int) -> None:
        """Forget what the endpoint holds and what is expected of it: its engine restarted.

        What was expected before must not be confirmed or withdrawn any more.
        """
        recent = self._recent.get(slot)
        if recent is None:
            return
        expected = self._expected[slot]
        for block in {**recent, **expected}:
            self._drop(slot, block)
        recent.clear()
        expected.clear()
        self._ahead[slot] = 0

    def add(self, slot: int, blocks: bytes) -> None:
        """The endpoint computed a prompt of these chained *blocks*. Unknown slots are ignored."""
        hashes = _unpack(blocks)
        recent = self._recent.get(slot)
        if recent is None:
            return
        holders, expected = self._holders, self._expected[slot]
        bit = 1 << slot
        for block in reversed(hashes[: self._capacity[slot]]):
            if block in recent:
                recent.move_to_end(block)
                continue
            recent[block] = None
            if block in expected:
                self._ahead[slot] -= 1
            else:
                holders[block] = holders.get(block, 0) | bit
        self._shrink(slot, recent)

    def expect(self, slot: int, blocks: bytes) -> None:
        """A prompt of these chained *blocks* was sent to the endpoint. Unknown slots are ignored."""
        hashes = _unpack(blocks)
        expected = self._expected.get(slot)
        if expected is None:
            return
        holders, recent = self._holders, self._recent[slot]
        bit = 1 << slot
        for block in hashes:
            count = expected.get(block, 0)
            expected[block] = count + 1
            if not count and block not in recent:
                holders[block] = holders.get(block, 0) | bit
                self._ahead[slot] += 1

    def confirm(self, slot: int, blocks: bytes) -> None:
        """An expected prompt was computed: remember it."""
        self.add(slot, blocks)
        self.withdraw(slot, blocks)

    def withdraw(self, slot: int, blocks: bytes) -> None:
        """An expected prompt was not computed: what nobody else has or expects is forgotten."""
        hashes = _unpack(blocks)
        expected = self._expected.get(slot)
        if expected is None:
            return
        recent = self._recent[slot]
        for block in hashes:
            count = expected.get(block, 0)
            if count > 1:
                expected[block] = count - 1
            elif count:
                del expected[block]
                if block not in recent:
                    self._drop(slot, block)
                    self._ahead[slot] -= 1

    def expected(self, slot: int) -> int:
        """How many blocks prompts under way expect at the endpoint, each as often as it is expected."""
        return sum(self._expected.get(slot, {}).values())

    def match(self, blocks: bytes) -> dict[int, int]:
        """Slot → number of leading *blocks* it holds; slots that hold none are absent."""
        hashes = _unpack(blocks)
        matched: dict[int, int] = {}
        holders = self._holders
        alive = -1
        depth = 0
        for depth, block in enumerate(hashes):
            still = alive & holders.get(block, 0)
            if still != alive:
                if depth:
                    _note(matched, alive & ~still, depth)
                alive = still
                if not alive:
                    return matched
        if hashes:
            _note(matched, alive, depth + 1)
        return matched

    def capacity(self, slot: int) -> int:
        """Blocks remembered of the endpoint at most; 0 for one not opened."""
        return self._capacity.get(slot, 0)

    def blocks(self, slot: int) -> int:
        """How many blocks are remembered or expected of the endpoint; the latter may exceed its capacity."""
        return len(self._recent.get(slot, ())) + self._ahead.get(slot, 0)

    def fill(self, slot: int) -> float:
        """`blocks` over capacity, 0..1."""
        blocks = self.blocks(slot)
        return min(1.0, blocks / self._capacity[slot]) if blocks else 0.0

    def check(self) -> None:
        """Assert that both directions agree and every bound holds."""
        for slot, recent in self._recent.items():
            assert len(recent) <= self._capacity[slot], (slot, len(recent))
            expected = self._expected[slot]
            assert all(count > 0 for count in expected.values())
            assert all(self._holders.get(block, 0) >> slot & 1 for block in (*recent, *expected)), slot
            assert self._ahead[slot] == len(expected.keys() - recent.keys()), slot
        total = sum(self.blocks(slot) for slot in self._recent)
        assert total == sum(holders.bit_count() for holders in self._holders.values())
        assert all(self._holders.values())

    def _shrink(self, slot: int, recent: OrderedDict[int, None]) -> None:
        capacity, expected = self._capacity[slot], self._expected[slot]
        while len(recent) > capacity:
            block, _ = recent.popitem(last=False)
            if block in expected:
                self._ahead[slot] += 1
            else:
                self._drop(slot, block)

    def _drop(self, slot: int, block: int) -> None:
        left = self._holders[block] & ~(1 << slot)
        if left:
            self._holders[block] = left
        else:
            del self._holders[block]


def _unpack(blocks: bytes) -> tuple[int, ...]:
    count, rest = divmod(len(blocks), 8)
    if rest:
        raise ValueError(f"{len(blocks)} bytes are no whole number of block hashes")
    return struct.unpack(f"<{count}Q", blocks)


def _note(matched: dict[int, int], slots: int, depth: int) -> None:
    while slots:
        low = slots & -slots
        matched[low.bit_length() - 1] = depth
        slots ^= low
