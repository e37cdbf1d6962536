"""What the pure core asks of the world."""

from typing import Protocol


class Rng(Protocol):
    """The two draws that the core needs; `random.Random` fits."""

    def random(self) -> float:
        """A float in [0, 1)."""
        ...

    def getrandbits(self, k: int, /) -> int:
        """An int of *k* random bits."""
        ...
