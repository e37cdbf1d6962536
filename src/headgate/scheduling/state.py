"""What is known of one endpoint, and as what it was seen at a decision."""

from collections.abc import Collection
from math import inf
from typing import Protocol

from headgate.model.endpoints import Endpoint
from headgate.model.ids import EndpointId
from headgate.model.load import Load

FINE, COOLING, SUSPECT, DOWN = range(4)
"""How unwell an endpoint is, in the order in which an unwell one is still preferred."""


Line = tuple[float, float, float]
"""A cost that is a straight line in a request's uncached prompt tokens: at none of them; per token; and per
token what is divided among the requests behind the same cached prefix (by `1 + Ask.sharers`)."""


class Seen:
    """One endpoint as it stood at a decision: what a record of it needs, and its lines added up.

    The scheduler makes one when an endpoint has changed; until then all decisions share it. Never changed.
    """

    __slots__ = (
        "base",
        "endpoint",
        "in_flight",
        "lines",
        "name",
        "pace",
        "pending_tokens",
        "scraped_at",
        "shared",
        "slope",
        "slot",
    )

    def __init__(
        self, state: "EndpointState", base: float, slope: float, shared: float, lines: tuple[Line, ...]
    ) -> None:
        self.base = base
        self.slope = slope
        self.shared = shared
        """Per token, before it is divided."""
        self.lines = lines
        """Weighted, of every scorer that has one, in the order of the profile."""
        self.endpoint = state.id
        self.name = state.name
        self.slot = state.slot
        self.in_flight = state.in_flight
        self.pending_tokens = state.pending_tokens
        self.scraped_at = state.scraped_at
        self.pace = state.pace

    def agrees(self, other: "Seen") -> bool:
        """Whether both say the same."""
        return self._all() == other._all()

    def _all(self) -> tuple[object, ...]:
        cost = self.base, self.slope, self.shared, self.lines
        return (
            *cost,
            self.endpoint,
            self.name,
            self.slot,
            self.in_flight,
            self.pending_tokens,
            self.scraped_at,
            self.pace,
        )


class Watcher(Protocol):
    """Who is told by endpoint states that they changed, so that nobody looks at all to find those few."""

    def queues(self, state: "EndpointState", queueing: bool) -> None:
        """Its engine reports a queue, or none; told at every scrape, and when that is forgotten."""
        ...

    def fills(self, state: "EndpointState", full: bool) -> None:
        """It has its fill, or room; told when that changed."""
        ...


class EndpointState:
    """What is known of one endpoint, kept current by the picker's machine; plugins only read it.

    Counts are the router's own accounting at decision time; `extra_*` is load that the engine reports
    beyond it (another gateway, a restarted picker) and is zero while no fresh scrape shows any.
    Fields are changed by the methods below alone, which forget `seen` and tell the watcher; `cold_turn`, of
    which neither knows, may be set. A test looks for other changes.
    """

    __slots__ = (
        "adapters",
        "cold_turn",
        "complaint",
        "context_tokens",
        "endpoint",
        "extra_context_tokens",
        "extra_pending_tokens",
        "extra_requests",
        "fill",
        "full",
        "id",
        "in_flight",
        "load",
        "name",
        "pace",
        "pending_tokens",
        "pressure",
        "ramp",
        "scraped_at",
        "seats",
        "seen",
        "severity",
        "slot",
        "watcher",
    )

    def __init__(self, endpoint: Endpoint, slot: int, watcher: Watcher | None = None) -> None:
        self.watcher = watcher
        self.endpoint = endpoint
        self.id: EndpointId = endpoint.id
        self.name = endpoint.name
        self.slot = slot
        """Number of the endpoint in the prefix index; unique within the pool."""
        self.in_flight = 0
        """Requests sent there and not ended."""
        self.pending_tokens = 0
        """Uncached prompt tokens sent there and not yet at their first token."""
        self.context_tokens = 0
        """Prompt and expected answer tokens of the requests in flight."""
        self.extra_requests = 0
        self.extra_pending_tokens = 0
        self.extra_context_tokens = 0
        self.pace = 1.0
        """How many times longer than at the fast ones of its fleet work takes there, as its answers told."""
        self.fill = 0.0
        """How full the router's prefix index of this endpoint is, 0..1."""
        self.load: Load | None = None
        """The newest scrape that succeeded; None when it is too old to be believed."""
        self.scraped_at: float | None = None
        """When the newest scrape succeeded, machine clock seconds."""
        self.adapters: Collection[str] = ()
        """LoRA adapters believed to be loaded there: the last used ones, no more than fit."""
        self.severity = FINE
        self.complaint = ""
        """Why `severity` is not FINE."""
        self.ramp = 1.0
        """Share of a full load it may take, 0..1; below 1 during a slow start."""
        self.full = False
        """It has its fill: another request would only wait there."""
        self.seats = inf
        """Requests that it runs at once, at its share of a full load; infinity: nobody knows."""
        self.pressure = 0.0
        """How near its metrics are to saying that it has its fill, 1: they do; 0: they are not asked."""
        self.cold_turn = 0
        """Number of the pool's decision that last sent a prompt here which was cached nowhere; 0: none."""
        self.seen: Seen | None = None
        """What the scheduler made of all this; None: something has changed since."""

    def has_room(self, ceiling: float) -> bool:
        """Whether one more request may go there, if no more than this part of a full load may be there then.

        One request may always be there; *ceiling* infinity: until it has its fill.
        """
        if self.full or ceiling == inf:
            return not self.full
        if self.seats == inf:
            return self.pressure < ceiling
        return self.in_flight + self.extra_requests < max(1, round(self.seats * ceiling))

    def carry(self, requests: int, pending_tokens: int, context_tokens: int) -> None:
        """So much more is there, or less."""
        self.in_flight += requests
        self.pending_tokens += pending_tokens
        self.context_tokens += context_tokens
        self.seen = None

    def correct(
        self,
        load: Load | None,
        scraped_at: float | None,
        extra_requests: int,
        extra_pending_tokens: int,
        extra_context_tokens: int,
    ) -> None:
        """What the newest scrape says, and what of it is somebody else's."""
        self.load = load
        self.scraped_at = scraped_at
        self.extra_requests = extra_requests
        self.extra_pending_tokens = extra_pending_tokens
        self.extra_context_tokens = extra_context_tokens
        self.seen = None
        if self.watcher is not None:
            self.watcher.queues(self, load is not None and load.waiting > 0)

    def crowd(self, full: bool, seats: float, pressure: float) -> None:
        """How much room it has; `seen` does not contain that."""
        self.seats = seats
        self.pressure = pressure
        if full != self.full:
            self.full = full
            if self.watcher is not None:
                self.watcher.fills(self, full)

    def judge(self, severity: int, complaint: str, ramp: float) -> None:
        """How well it is."""
        self.severity = severity
        self.complaint = complaint
        self.ramp = ramp
        self.seen = None

    def refill(self, fill: float) -> None:
        """How full its index is."""
        self.fill = fill
        self.seen = None

    def compare(self, pace: float) -> None:
        """How fast it is beside others."""
        if pace != self.pace:
            self.pace = pace
            self.seen = None

    def look_again(self) -> None:
        """Somebody else makes something of it from now on."""
        self.seen = None

    def rename(self, endpoint: Endpoint) -> None:
        """What the pool says of it; the address is the same."""
        self.endpoint = endpoint
        self.name = endpoint.name
        self.seen = None
