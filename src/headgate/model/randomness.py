"""What the pure core asks of the world."""

from typing import Protocol


class Rng(Protocol):
    """The draw that the core needs; `random.Random` fits."""

    def random(self) -> float:
        """A float in [0, 1)."""
        ...
