"""Faults that a replica can be told to have, as values, and the board of those it has now."""

from typing import Literal

import msgspec

from headgate.model.units import read_seconds

Kind = Literal[
    "crash",  # listening socket closed, connections aborted, cache lost
    "hang",  # accepted, never answered; the engine stands still, metrics answer
    "hang-all",  # as hang, and metrics, health and models hang too
    "hang-mid-stream",  # streams stop after their first token; answers that do not stream never come
    "error-500",
    "error-429",  # with Retry-After
    "slow-start",  # the engine runs `factor` times slower
    "stale-metrics",  # the metrics page stays as it is
    "no-metrics",  # 404 instead of the metrics page
    "recover",  # ends all faults; a crashed replica listens again
]


class Fault(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One fault. `rate` below 1 strikes that share of requests only (and leaves the engine running)."""

    kind: Kind
    rate: float = 1.0
    """Share of requests struck, above 0 to 1; for hang, hang-mid-stream and the errors."""
    for_s: float | None = None
    """Wall seconds until it ends by itself; None: until recover (slow-start: 10 s)."""
    factor: float = 5.0
    """How much slower, for slow-start."""


def read_fault(text: str) -> tuple[int, Fault]:
    """A fault from the command line: `REPLICA:KIND[:rate=R,for_s=DURATION,factor=F]`.

    For example `1:error-500:rate=0.3`. Raises ValueError with a sentence for the user.
    """
    replica, _, rest = text.partition(":")
    kind, _, options = rest.partition(":")
    try:
        given = [option.partition("=") for option in options.split(",") if option]
        fields = {name: (read_seconds if name == "for_s" else float)(value) for name, _, value in given}
        if not replica.isdigit():
            raise ValueError("it begins with the number of a replica, such as 0:crash")
        return int(replica), checked(msgspec.convert({"kind": kind, **fields}, Fault))
    except (ValueError, msgspec.ValidationError) as problem:
        raise ValueError(f"--fault {text}: {problem}") from problem


def checked(fault: Fault) -> Fault:
    """*fault* itself. Raises ValueError when a number of it makes no sense."""
    if not 0 < fault.rate <= 1:
        raise ValueError("rate must be above 0 and at most 1")
    if fault.for_s is not None and fault.for_s <= 0:
        raise ValueError("for_s must be above 0")
    if fault.factor < 1:
        raise ValueError("factor must be at least 1")
    if fault.kind == "slow-start" and fault.for_s is None:
        return msgspec.structs.replace(fault, for_s=10.0)
    return fault


class FaultBoard:
    """The faults in force, one of a kind, and what they mean for the replica."""

    def __init__(self) -> None:
        self._active: dict[Kind, Fault] = {}

    @property
    def active(self) -> tuple[Fault, ...]:
        """In the order they were set."""
        return tuple(self._active.values())

    def set(self, fault: Fault) -> None:
        """Put *fault* in force; it replaces one of its kind."""
        self._active.pop(fault.kind, None)
        self._active[fault.kind] = fault

    def clear(self, kind: Kind) -> None:
        """End the fault of this kind, if there is one."""
        self._active.pop(kind, None)

    def clear_all(self) -> None:
        """End all faults."""
        self._active.clear()

    def has(self, kind: Kind) -> bool:
        """Whether a fault of this kind is in force."""
        return kind in self._active

    def strikes(self, kind: Kind, roll: float) -> bool:
        """Whether a fault of this kind hits a request that drew *roll* in [0, 1)."""
        fault = self._active.get(kind)
        return fault is not None and roll < fault.rate

    def pace(self) -> float:
        """Factor on the engine's speed: 0 stands still, 1 is healthy."""
        hang = self._active.get("hang")
        if self.has("hang-all") or self.has("crash") or (hang is not None and hang.rate >= 1):
            return 0.0
        slow = self._active.get("slow-start")
        return 1.0 / slow.factor if slow is not None else 1.0
