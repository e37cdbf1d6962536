"""Running requests that may be ended, so that a more important one has their place: which, and how many."""

from collections import OrderedDict
from collections.abc import Callable, Mapping

from headgate.model.ids import EndpointId, RequestId, StreamId
from headgate.model.requests import InferenceRequest
from headgate.picker.actions import Evict
from headgate.picker.case import Case
from headgate.picker.member import Member
from headgate.picker.tracked import Tracked

LOST_SHARE = 0.03
"""Of the time that requests ran, what evictions may lose, prompts that were computed in vain included."""
FIRST_S = 10.0
"""Seconds of running requests that may be lost before any has ended."""
MOST_SAVED_S = 600.0
"""Seconds that may be lost at once, after a long time without evictions."""
SPARED_S = 3600.0
"""A request that was ended, and comes again within so long, is left alone."""
MOST_SPARED = 10_000
"""Such requests that are remembered; while there are as many, nobody else is ended."""
UNKNOWN = frozenset({"other", "models"})
"""APIs of which nobody knows whether the answer is streamed, and when it begins."""

MESSAGE = (
    "a more important request needed the place of this one, whose answer had not begun; "
    "sent again within an hour, it will not be ended so a second time"
)


class Evictable:
    """A running request that may be ended."""

    __slots__ = ("likeness", "priority", "request_id", "tracked")

    def __init__(self, tracked: Tracked, request_id: RequestId, likeness: int, priority: int) -> None:
        self.tracked = tracked
        self.request_id = request_id
        self.likeness = likeness
        """Equal for a client's every try of one request."""
        self.priority = priority


class Evicting:
    """One pool's. A request is ended at most once, answers that may have begun are not, and work that is lost
    is bounded by work that is done."""

    def __init__(self, prefill_token_s: float) -> None:
        """*prefill_token_s*: seconds that computing one prompt token keeps an engine."""
        self._prefill_token_s = prefill_token_s
        self.running: dict[StreamId, Evictable] = {}
        """Those that may be ended, in the order sent."""
        self.asked: dict[StreamId, Evictable] = {}
        """Those that the shell was asked to end, until they are over one way or the other."""
        self.wanted: list[Evict] = []
        """What the machine is to hand out."""
        self.counts: dict[int, int] = {}
        """Requests that were ended, by priority."""
        self._saved_s = FIRST_S
        self._spared: OrderedDict[int, float] = OrderedDict()
        """Likeness → until when, the soonest first."""

    @property
    def stirs(self) -> bool:
        """Whether somebody may be ended, or is to be and was not handed out."""
        return bool(self.running or self.wanted)

    def may_end(self, case: Case) -> bool:
        """Whether the request, whose band allows it, may be ended while it runs."""
        request = case.request
        if (case.priority or 0) >= 0 or request.streaming or request.unseen or request.api in UNKNOWN:
            return False
        self._forget(case.now)
        return _likeness(case.who, request) not in self._spared

    def routed(self, case: Case, tracked: Tracked) -> None:
        """The request, which may be ended, was sent to an endpoint."""
        likeness = _likeness(case.who, case.request)
        self.running[case.stream] = Evictable(tracked, case.request.id, likeness, case.priority or 0)

    def ended(self, tracked: Tracked, evicted: bool, now: float) -> None:
        """A request of the pool is over; *evicted*: because it was asked for."""
        if self.running:
            self.running.pop(tracked.stream, None)
        asked = self.asked.pop(tracked.stream, None) if self.asked else None
        if not evicted:
            saved_s = self._saved_s + LOST_SHARE * (now - tracked.booking.sent_at)
            self._saved_s = min(MOST_SAVED_S, saved_s)
            return
        self._saved_s -= self._losing_s(tracked, now)
        if asked is not None:
            self.counts[asked.priority] = self.counts.get(asked.priority, 0) + 1
            self._spared[asked.likeness] = now + SPARED_S
            self._spared.move_to_end(asked.likeness)

    def under_way(self, member: Member) -> int:
        """Requests of *member* that are being ended."""
        return sum([each.tracked.booking.member is member for each in self.asked.values()])

    def want(
        self, priority: int, fits: Callable[[Member], bool], retry_after_s: int, now: float
    ) -> Evictable | None:
        """Ask for the place of one request below *priority* at an endpoint that *fits*: of the youngest.

        None: there is no such request, or too much work is lost already. O(those that may be ended).
        """
        self._forget(now)
        if len(self._spared) + len(self.asked) >= MOST_SPARED:
            return None
        for stream in reversed(self.running):
            found = self.running[stream]
            tracked = found.tracked
            member = tracked.booking.member
            if found.priority >= priority or tracked.status is not None or tracked.first_at is not None:
                continue
            if member is None or not fits(member):
                continue
            losing_s = sum([self._losing_s(each.tracked, now) for each in self.asked.values()])
            if losing_s + self._losing_s(tracked, now) > self._saved_s:
                return None  # the others have run longer
            del self.running[stream]
            self.asked[stream] = found
            self.wanted.append(Evict(stream, found.request_id, MESSAGE, retry_after_s))
            return found
        return None

    def _losing_s(self, tracked: Tracked, now: float) -> float:
        """Seconds of one seat that were for nothing: its own, and of all that stood still for its prompt."""
        booking = tracked.booking
        others = 0 if booking.member is None else booking.member.state.in_flight
        return now - booking.sent_at + booking.own_tokens * self._prefill_token_s * others

    def check(self, requests: Mapping[StreamId, Tracked]) -> None:
        """Assert that only running requests may be ended, each once."""
        assert not self.running.keys() & self.asked.keys()
        for stream, each in (*self.running.items(), *self.asked.items()):
            assert requests.get(stream) is each.tracked, stream
            assert each.priority < 0 and not each.tracked.streaming and not each.tracked.unseen, stream
        assert len(self._spared) <= MOST_SPARED
        assert list(self._spared.values()) == sorted(self._spared.values())

    def _forget(self, now: float) -> None:
        while self._spared and next(iter(self._spared.values())) <= now:
            self._spared.popitem(last=False)


def _likeness(who: str | None, request: InferenceRequest) -> int:
    """A client that tries again sends the same once more, perhaps under another id."""
    return hash((who, request.path, request.model, request.body_bytes, request.prompt_bytes, request.blocks))


def at(endpoint: EndpointId) -> Callable[[Member], bool]:
    """Whether a member is that endpoint's."""
    return lambda member: member.state.id == endpoint
