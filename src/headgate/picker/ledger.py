"""The requests in the pool's hands: booked at decision, judged by their answers, closed at their end."""

from collections import Counter
from collections.abc import Iterable
from heapq import heappop, heappush

from headgate.model.endings import connection_refused, unconnected
from headgate.model.ids import EndpointId, StreamId
from headgate.model.requests import LOST_BY_COUNT, Ending, Outcome, Usage
from headgate.picker.actions import Conclude
from headgate.picker.doubts import REFUSALS
from headgate.picker.events import FirstToken, RequestEnded, ResponseStarted, StageEnded
from headgate.picker.fleet import FIRST_PROMPT_SHARE, Fleet
from headgate.picker.member import Member
from headgate.picker.pace import FEWEST_TOKENS
from headgate.picker.tracked import Booking, Tracked
from headgate.picker.waiting import Waiting
from headgate.scheduling.costs import H100_8B, StepCosts, step_s, ttft_s
from headgate.scheduling.tokens import FIRST_OUTPUT_TOKENS, TokenEstimator

GAIN = 0.02
"""Weight of one request in the running means of uncached and context tokens."""

GIVEN_UP = 1000
"""Requests given up by an engine's count that are watched for."""

FADE = 0.999
"""Per request: how fast the recent hit rates forget."""


class Ledger:
    """Accounting of routed requests over the members of a fleet."""

    def __init__(self, fleet: Fleet, costs: StepCosts = H100_8B, waiting: Waiting | None = None) -> None:
        """*waiting*: flow control, to be told what requests have used."""
        self._fleet = fleet
        self._waiting = waiting
        self._costs = costs
        self.requests: dict[StreamId, Tracked] = {}
        """In order of arrival."""
        self.estimator = TokenEstimator()
        self._computed = FIRST_OUTPUT_TOKENS * FIRST_PROMPT_SHARE / (1 - FIRST_PROMPT_SHARE)
        self._generated = FIRST_OUTPUT_TOKENS
        """Of answered requests, the running means of prompt tokens that were not cached and of answer
        tokens."""
        self.mean_own = 0.0
        self.mean_context = 0.0
        self.prompt_tokens = 0
        self.matched_tokens = 0
        self._recent_prompt = self._recent_matched = 0.0
        self._reported_prompt = self._reported_cached = 0.0
        self.sharers: dict[bytes, int] = {}
        """`Tracked.prefix` → how many of `requests` have it; none without one."""
        self._given_up: dict[StreamId, Member] = {}
        """The last ones that `give_up` was told, and where they were."""
        self._releases: list[tuple[float, StreamId]] = []

    @property
    def hit_rate(self) -> float:
        """Share of recent prompt tokens believed cached where they went, 0..1."""
        return self._recent_matched / self._recent_prompt if self._recent_prompt else 0.0

    @property
    def reported_hit_rate(self) -> float | None:
        """The same by the engines' own count; None while no engine tells."""
        return self._reported_cached / self._reported_prompt if self._reported_prompt else None

    def book(self, tracked: Tracked, member: Member, now: float) -> None:
        """The request is answered by *member*; its booking there has its tokens."""
        booking = tracked.booking
        self.requests[tracked.stream] = tracked
        if tracked.prefix:
            self.sharers[tracked.prefix] = self.sharers.get(tracked.prefix, 0) + 1
        member.book(booking, now)
        member.health.sent(tracked.stream, now)
        self._fleet.expect(tracked, booking)
        if not tracked.streaming or tracked.unseen:
            heappush(self._releases, (now + booking.predicted_s, tracked.stream))
        self.mean_own += GAIN * (booking.own_tokens - self.mean_own)
        self.mean_context += GAIN * (booking.context_tokens - self.mean_context)
        self.prompt_tokens += tracked.prompt_tokens
        self.matched_tokens += tracked.matched_tokens
        self._recent_prompt = FADE * self._recent_prompt + tracked.prompt_tokens
        self._recent_matched = FADE * self._recent_matched + tracked.matched_tokens

    def book_stage(self, tracked: Tracked, booking: Booking, member: Member, now: float) -> None:
        """*member*, where the request has no booking, has a part in a request that is in the ledger.

        Released at the first token where its role is `prefill`, else at the end, or by `release`.
        """
        tracked.stages += (booking,)
        member.book(booking, now)
        self._fleet.expect(tracked, booking)

    def release(self, tracked: Tracked, booking: Booking, *, computed: bool) -> None:
        """The part of a stage is over; *computed*: with the prompt in that endpoint's cache."""
        tracked.stages = tuple([each for each in tracked.stages if each is not booking])
        self._unbook(booking, computed=computed)

    def stage_ended(self, event: StageEnded, now: float) -> None:
        """Whoever had a part in the request is done with it; it has shown life."""
        tracked = self.requests.get(event.stream)
        if tracked is None:
            return
        for booking in tracked.stages:
            member = booking.member
            if member is not None and member.state.id == event.endpoint:
                member.liveness.sign(now)
                self.release(tracked, booking, computed=event.computed)

    def _unbook(self, booking: Booking, *, computed: bool) -> None:
        member = booking.member
        if member is not None:
            self._fleet.conclude_prompt(booking, computed=computed)
            member.release(booking)
            self._fleet.left(member)

    def _prefilled(self, tracked: Tracked) -> None:
        """Its prompt is computed: whoever did only that is done."""
        for booking in tracked.stages:
            if booking.role == "prefill":
                self.release(tracked, booking, computed=True)

    def release_due(self, now: float) -> None:
        """Unstreamed answers show no first token: their prompts count as computed when predicted."""
        while self._releases and self._releases[0][0] <= now:
            tracked = self.requests.get(heappop(self._releases)[1])
            if tracked is not None and (member := tracked.booking.member) is not None:
                member.computed(tracked.booking)

    def response_started(self, event: ResponseStarted, now: float) -> None:
        """Judge the endpoint by the answer's status, and learn who really served."""
        tracked = self.requests.get(event.stream)
        if tracked is None:
            self._turned_up(event.stream)
            return
        tracked.status = event.status
        booking = tracked.booking
        if booking.member is not None:
            booking.member.note_trouble_of(booking, now)
        if event.local:
            self._local(tracked, event.status, now)
            return
        self._served(tracked, event.served, now)
        member = booking.member
        tracked.blocks = b""
        whole = not tracked.streaming or event.plain
        if tracked.stages and whole and event.status < 400:
            self._prefilled(tracked)
        if member is None:
            return
        if event.status >= 400 or whole:
            self._fleet.conclude_prompt(booking, computed=event.status < 400)
        if whole or event.status >= 400:
            member.signed(booking, now)
        else:
            member.liveness.sign(now)
        self._judge(tracked, member, event.status, now)

    def first_token(self, event: FirstToken, now: float) -> None:
        """Release the prompt's tokens: its prefill is done."""
        tracked = self.requests.get(event.stream)
        if tracked is None:
            self._turned_up(event.stream)
            return
        if tracked.first_at is not None:
            return
        tracked.first_at = now
        if tracked.stages:
            self._prefilled(tracked)
        booking = tracked.booking
        if (member := booking.member) is not None:
            tracked.first_step_s = step_s(member.state, self._costs)
            member.liveness.produced(booking, now)
            member.signed(booking, now)
            self._fleet.conclude_prompt(booking, computed=True)

    def ended(self, event: RequestEnded, now: float) -> list[Conclude]:
        """Close the request; nothing for a stream that is not known (any more)."""
        tracked = self.requests.get(event.stream)
        if tracked is None:
            self._turned_up(event.stream)
            return []
        booking = tracked.booking
        if booking.member is not None:
            booking.member.note_trouble_of(booking, now)
        if tracked.status is None:
            tracked.status = event.status
            self._served(tracked, event.served, now)
        self._verdict(tracked, event.ending, event.details, now)
        if booking.member is not None and event.ending not in ("lost", "evicted"):
            booking.member.reconciler.took(now - booking.sent_at)
        if event.ending == "complete" and event.usage is not None and (tracked.status or 200) < 400:
            self._learn(tracked, event.usage)
            self._learn_pace(tracked, event.usage.completion_tokens, now)
        return [self._close(tracked, event, now)]

    def expire(self, sent_before: float, now: float, details: str) -> list[Conclude]:
        """Give up requests that arrived before then: nobody tells their end; *details* says why."""
        lost: list[Conclude] = []
        while self.requests:
            oldest = next(iter(self.requests.values()))
            if oldest.arrived_at >= sent_before:
                break
            lost.append(self._close(oldest, RequestEnded(oldest.stream, "lost", details=details), now))
        return lost

    def give_up(self, bookings: Iterable[Booking], now: float) -> list[Conclude]:
        """These are over, by their engine's count. Whoever turns up again speaks against it."""
        lost = []
        for booking in bookings:
            tracked = self.requests[booking.stream]
            if booking is not tracked.booking:
                self.release(tracked, booking, computed=True)
                continue
            if booking.member is not None:
                self._given_up[booking.stream] = booking.member
                if len(self._given_up) > GIVEN_UP:
                    del self._given_up[next(iter(self._given_up))]
            event = RequestEnded(booking.stream, "lost", details=LOST_BY_COUNT)
            lost.append(self._close(tracked, event, now))
        return lost

    def _turned_up(self, stream: StreamId) -> None:
        if self._given_up and (member := self._given_up.pop(stream, None)) is not None:
            member.reconciler.turned_up(stream)

    def check(self) -> None:
        """Assert that what members carry is the sum of the bookings of the ledger's requests.

        And that these requests alone are sharers.
        """
        assert self.sharers == Counter(one.prefix for one in self.requests.values() if one.prefix)
        members = (*self._fleet.members.values(), *self._fleet.leaving.values())
        booked: dict[EndpointId, list[Booking]] = {member.state.id: [] for member in members}
        for stream, tracked in self.requests.items():
            bookings = (tracked.booking, *tracked.stages)
            assert all(each.stream == stream == tracked.stream for each in bookings)
            assert all(each.member is not None for each in tracked.stages), stream
            for booking in bookings:
                if booking.member is not None:
                    assert booking.member.bookings.held.get(stream) is booking, stream
                    booked[booking.member.state.id].append(booking)
        for member in members:
            state, here = member.state, booked[member.state.id]
            assert state.in_flight == len(member.bookings.held) == len(here), state.id
            assert state.pending_tokens == sum(one.own_tokens for one in here if one.pending), state.id
            assert state.context_tokens == sum(one.context_tokens for one in here), state.id

    def _local(self, tracked: Tracked, status: int, now: float) -> None:
        """The data plane answered by itself: with a 5xx, because the endpoints it tried did not.

        A 504 may just as well be a route's timeout on a long answer: that counts like one bad answer.
        """
        booking = tracked.booking
        member = booking.member
        tracked.judged = True
        if member is None:
            return
        self._fleet.conclude_prompt(booking, computed=False)
        member.heard_of(booking)
        member.computed(booking)
        if status == 504:
            member.health.erred(tracked.stream, "answered too late: the data plane said 504", now)
        elif status >= 500:
            member.health.failed(now, f"no upstream answered: the data plane said {status}")

    def _served(self, tracked: Tracked, served: EndpointId | None, now: float) -> None:
        """Move the accounting to who really served; an unknown name proves nothing."""
        booking = tracked.booking
        picked = booking.member
        if served is None or picked is None or served == picked.state.id:
            return
        really = self._fleet.find(served)
        if really is None:
            return
        booking.moved = True
        picked.health.passed_over(now, served)
        self._unbook(booking, computed=False)
        for stage in tracked.stages:
            if stage.member is really:  # it does all that is left to do
                self._fleet.conclude_prompt(stage, computed=False)
                really.release(stage)
                tracked.stages = tuple([each for each in tracked.stages if each is not stage])
        self._match_again(tracked, really)
        sent_at = booking.sent_at
        really.book(booking, now)
        booking.sent_at = sent_at
        self._fleet.expect(tracked, booking)
        if tracked.model is not None and tracked.model in self._fleet.adapters:
            really.use_adapter(tracked.model)

    def _match_again(self, tracked: Tracked, member: Member) -> None:
        """Its cached and uncached tokens, and its predicted time, are those at *member*."""
        state = member.state
        found = self._fleet.index.match(tracked.blocks).get(state.slot, 0)
        matched = min(tracked.prompt_tokens - 1, round(found * tracked.block_tokens)) if found else 0
        self.matched_tokens += matched - tracked.matched_tokens
        self._recent_matched += matched - tracked.matched_tokens
        tracked.matched_tokens = matched
        booking = tracked.booking
        booking.own_tokens = tracked.prompt_tokens - matched
        booking.predicted_s = max(booking.predicted_s, ttft_s(state, booking.own_tokens, self._costs))

    def _judge(self, tracked: Tracked, member: Member, status: int, now: float) -> None:
        tracked.judged = True
        if status == 429:
            member.health.throttled(tracked.stream, now)
        elif status >= 500:
            member.health.erred(tracked.stream, f"answered {status}", now)
        else:
            member.health.answered(tracked.booking.sent_at, now)
            if status < 400:
                self._fleet.doubts.answered(tracked.kind, member.state.slot, now)
            elif status in REFUSALS:
                what = f"answered {status} for the model {tracked.model!r}"
                self._fleet.doubts.refused(tracked.kind, member.state.slot, what, now)

    def _verdict(self, tracked: Tracked, ending: Ending, details: str | None, now: float) -> None:
        """What the end says of the endpoint's health; an abort or a loss says nothing.

        Except of an unseen answer: without it, a trial would never succeed.
        """
        booking = tracked.booking
        member = booking.member
        if member is not None and tracked.unseen and ending == "lost" and not tracked.judged:
            member.health.answered(booking.sent_at, now)
        if member is None or ending in ("aborted", "lost", "evicted"):
            return
        if ending == "complete":
            member.signed(booking, now)
            if not tracked.judged:
                self._judge(tracked, member, tracked.status or 200, now)
        elif tracked.status is not None and tracked.status < 400:
            member.health.broke_off(tracked.stream, now)
        elif tracked.judged:
            pass
        elif tracked.status is None:
            member.health.failed(now, "a request failed without an answer")
        elif unconnected(details):
            member.health.failed(now, "no connection could be made")
            if connection_refused(details):
                self._fleet.ended(member)
        else:
            self._judge(tracked, member, tracked.status, now)

    def _learn(self, tracked: Tracked, usage: Usage) -> None:
        self.estimator.learn(tracked.model, tracked.prompt_bytes, usage)
        if usage.completion_tokens > 0:
            self._computed += GAIN * (tracked.booking.own_tokens - self._computed)
            self._generated += GAIN * (usage.completion_tokens - self._generated)
            self._fleet.bytes_per_token = self.estimator.bytes_per_token
            self._fleet.prompt_share = self._computed / (self._computed + self._generated)
        if usage.cached_tokens is not None:
            self._reported_prompt = FADE * self._reported_prompt + usage.prompt_tokens
            self._reported_cached = FADE * self._reported_cached + usage.cached_tokens

    def _learn_pace(self, tracked: Tracked, tokens: int, now: float) -> None:
        """From an answer of *tokens* tokens that was streamed: of others nobody knows when the first came."""
        member, first_at = tracked.booking.member, tracked.first_at
        if member is None or first_at is None or tokens < FEWEST_TOKENS or not tracked.streaming:
            return
        predicted_s = (tracked.first_step_s + step_s(member.state, self._costs)) / 2
        member.pace.learn((now - first_at) / (tokens - 1), predicted_s, now)
        self._fleet.paces_moved = True

    def _close(self, tracked: Tracked, event: RequestEnded, now: float) -> Conclude:
        del self.requests[tracked.stream]
        if self._waiting is not None and tracked.ticket is not None:
            failed = event.ending in ("failed", "evicted") or (tracked.status or 0) >= 400
            self._waiting.ended(tracked.ticket, event.usage, failed, now)
            self._waiting.evicting.ended(tracked, event.ending == "evicted", now)
        if tracked.prefix:
            left = self.sharers.pop(tracked.prefix) - 1
            if left:
                self.sharers[tracked.prefix] = left
        booking, served = tracked.booking, event.served
        if (member := booking.member) is not None:
            served = served or (member.state.id if tracked.status is not None else None)
            self._unbook(booking, computed=_computed(tracked, event.ending, now))
        for stage in tracked.stages:
            self.release(tracked, stage, computed=False)
        arrived_at, first_at = tracked.arrived_at, tracked.first_at
        ttft_s = None if first_at is None else first_at - arrived_at
        outcome = Outcome(
            event.ending,
            tracked.status,
            served,
            ttft_s,
            now - arrived_at,
            event.usage,
            event.details,
            event.attempts,
            booking.trouble,
        )
        return Conclude(tracked.stream, outcome)


def _computed(tracked: Tracked, ending: Ending, now: float) -> bool:
    """Whether an endpoint has computed a prompt that ended like this, as far as anyone can tell."""
    if (tracked.status or 200) >= 400:
        return False
    if ending == "complete":
        return True
    untold = ending == "lost" or (tracked.unseen and ending == "aborted")
    return untold and now - tracked.booking.sent_at >= tracked.booking.predicted_s
