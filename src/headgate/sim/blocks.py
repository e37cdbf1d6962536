"""The paged KV cache: blocks in use, blocks kept for their prefix, and which go first."""

from collections import OrderedDict
from collections.abc import Sequence


class BlockCache:
    """A fixed number of blocks, each free, in use, or idle: unused but kept for its prefix hash.

    Idle blocks are evicted least recently used first, and only when no block is free. Blocks in use are
    either shared (known by hash, counted by user) or private to one sequence (partly filled, or a duplicate).
    """

    def __init__(self, blocks: int) -> None:
        self.blocks = blocks
        self.evictions = 0
        self._free = blocks
        self._shared: dict[int, int] = {}
        self._idle: OrderedDict[int, None] = OrderedDict()

    @property
    def available(self) -> int:
        """Blocks that can be taken now, evicting idle ones."""
        return self._free + len(self._idle)

    @property
    def usage(self) -> float:
        """Fraction of blocks in use, 0..1; idle ones do not count."""
        return 1.0 - self.available / self.blocks

    @property
    def cached(self) -> int:
        """Blocks that a prefix can hit, in use or idle."""
        return len(self._shared) + len(self._idle)

    def match(self, chain: Sequence[int], limit: int) -> int:
        """How many leading blocks of *chain* are here, at most *limit*."""
        found = 0
        for block in chain[:limit]:
            if block not in self._shared and block not in self._idle:
                break
            found += 1
        return found

    def idle_among(self, blocks: Sequence[int]) -> int:
        """How many of *blocks* nobody uses."""
        return sum(block in self._idle for block in blocks)

    def share(self, blocks: Sequence[int]) -> None:
        """Use *blocks*, all of them here, once more."""
        for block in blocks:
            if block in self._shared:
                self._shared[block] += 1
            else:
                del self._idle[block]
                self._shared[block] = 1

    def take(self, count: int) -> None:
        """Take *count* private blocks; no more than `available`."""
        evict = max(0, count - self._free)
        for _ in range(evict):
            self._idle.popitem(last=False)
        self.evictions += evict
        self._free -= count - evict

    def publish(self, block: int) -> bool:
        """Turn a private block, now full, into a shared one; False when its content is here already."""
        if block in self._shared or block in self._idle:
            return False
        self._shared[block] = 1
        return True

    def release(self, shared: Sequence[int], private: int) -> None:
        """Give back one use of each of *shared* (in prefix order) and *private* private blocks.

        The end of a prefix becomes the older one, so that it is evicted before its beginning.
        """
        for block in reversed(shared):
            users = self._shared[block] - 1
            if users:
                self._shared[block] = users
            else:
                del self._shared[block]
                self._idle[block] = None
        self._free += private

    def forget(self) -> None:
        """Blocks that nobody uses are empty again."""
        self._free += len(self._idle)
        self._idle.clear()

    def check(self, private: int) -> None:
        """Assert that every block is somewhere, given how many private ones are out."""
        assert self._free >= 0
        assert self._free + len(self._idle) + len(self._shared) + private == self.blocks
        assert not self._idle.keys() & self._shared.keys()
        assert all(users > 0 for users in self._shared.values())
