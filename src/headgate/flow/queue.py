"""One request in the hands of flow control, and the queue of one flow.

A request that leaves is only marked; heaps drop the marked ones when they meet them, and are built anew when
most of what they hold is marked. So leaving costs O(1), amortized, and joining O(log n).
"""

from collections.abc import Hashable
from heapq import heapify, heappop, heappush

COMPACT = 64
"""Marked entries that a heap may hold before it is built anew, besides as many as live ones."""
NEVER = float("inf")


class Ticket:
    """A request from its arrival until it is dropped or has ended."""

    __slots__ = (
        "account",
        "ahead",
        "arrived_at",
        "bound",
        "bytes",
        "cargo",
        "charged",
        "deadline",
        "expires_at",
        "flow",
        "key",
        "kind",
        "number",
        "priority",
        "tokens",
        "waiting",
    )

    def __init__(
        self,
        key: int,
        priority: int,
        tokens: float,
        size: int,
        kind: Hashable = None,
        cargo: object = None,
        deadline: float | None = None,
    ) -> None:
        self.key = key
        """The caller's name for it; unique among those in its hands."""
        self.priority = priority
        """Its band; the higher goes first."""
        self.tokens = tokens
        """What it is expected to use, prompt and answer."""
        self.bytes = size
        """What is kept of it somewhere while it waits."""
        self.kind = kind
        """Requests of one kind may be served by the same endpoints."""
        self.cargo = cargo
        """The caller's own; not looked at."""
        self.deadline = deadline
        """When its first token should be there; None: no matter when."""
        self.account: Account | None = None
        """Set by its arrival."""
        self.flow: Flow | None = None
        """Set when it has to wait."""
        self.arrived_at = 0.0
        self.expires_at = NEVER
        """It waits no longer; the caller may say when, and its band may shorten that."""
        self.bound = False
        """Nobody is there who could serve it: `expires_at` is sooner for that."""
        self.number = 0
        """Its place in the order of arrival."""
        self.ahead: int | None = None
        """Of its own or a higher priority that waited when it came; None: it did not wait."""
        self.charged = 0.0
        """Tokens counted against its account so far."""
        self.waiting = False
        """In the queue of `flow`."""


class Heap:
    """Waiting tickets by a number, the lowest first, of equals the one that came first."""

    __slots__ = ("_entries", "_live")

    def __init__(self) -> None:
        self._entries: list[tuple[float, int, Ticket]] = []
        self._live = 0

    def add(self, rank: float, ticket: Ticket) -> None:
        """O(log n)."""
        heappush(self._entries, (rank, ticket.number, ticket))
        self._live += 1

    def left(self) -> None:
        """One of them does not wait any more."""
        self._live -= 1
        if len(self._entries) > 2 * self._live + COMPACT:
            self.purge()

    def purge(self) -> None:
        """Drop the marked entries. O(n) unless there are none."""
        if len(self._entries) > self._live:
            self._entries = [entry for entry in self._entries if entry[2].waiting]
            heapify(self._entries)

    def head(self) -> Ticket | None:
        """The first that still waits."""
        entries = self._entries
        while entries:
            ticket = entries[0][2]
            if ticket.waiting:
                return ticket
            heappop(entries)
        return None

    def live(self) -> list[Ticket]:
        """All that wait, in no order."""
        return [entry[2] for entry in self._entries if entry[2].waiting]

    def size(self) -> int:
        """Entries, the marked ones too."""
        return len(self._entries)


class Account:
    """What one fairness id has and had, over all bands and kinds."""

    __slots__ = (
        "band",
        "burst",
        "bytes",
        "flows",
        "id",
        "level",
        "level_at",
        "most_bytes",
        "most_requests",
        "queued",
        "rate",
        "running",
        "tokens",
        "weight",
    )

    def __init__(self, identity: str) -> None:
        self.id = identity
        self.weight = 1.0
        self.rate = 0.0
        """Tokens a second that it may use; 0: as many as it likes."""
        self.burst = 0.0
        """The highest that `level` gets."""
        self.level = 0.0
        """Tokens that it could use at once at `level_at`; below 0: it has used more than it had."""
        self.level_at = 0.0
        self.most_requests = 0
        self.most_bytes = 0
        self.queued = 0
        self.bytes = 0
        self.running = 0
        """Requests that went and have not ended."""
        self.band = 0
        """Priority of the one that went last."""
        self.tokens = 0.0
        """Used since it was first seen: those expected of what runs, the real ones of what has ended."""
        self.flows: list[Flow] = []
        """Those with something waiting, and those that a fairness would treat otherwise than new ones."""

    def refill(self, now: float) -> None:
        """Bring `level` up to *now*."""
        self.level = min(self.burst, self.level + self.rate * (now - self.level_at))
        self.level_at = now

    def use(self, tokens: float, now: float) -> None:
        """Take so many from the quota; those below 0 are given back."""
        self.refill(now)
        self.level = min(self.burst, self.level - tokens)


class Flow:
    """The waiting requests of one account, of one kind and priority."""

    __slots__ = ("account", "bytes", "heap", "kind", "listed", "mark", "priority", "queued")

    def __init__(self, account: Account, kind: Hashable, priority: int) -> None:
        self.account = account
        self.kind = kind
        self.priority = priority
        self.heap = Heap()
        self.queued = 0
        self.bytes = 0
        self.listed = False
        """The fairness holds it; its business alone, like `mark`."""
        self.mark = 0.0
