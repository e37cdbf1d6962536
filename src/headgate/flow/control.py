"""Who waits, who goes, who is refused: pure, `now` comes in, and whoever asks is told who goes."""

from collections.abc import Callable, Hashable
from math import ceil

from headgate.flow.accounts import Accounts
from headgate.flow.api import Dropped, DropReason
from headgate.flow.drain import DrainRate
from headgate.flow.lanes import Band, Lanes, Room
from headgate.flow.queue import NEVER, Account, Heap, Ticket
from headgate.flow.settings import BandSettings, FlowSettings
from headgate.flow.tally import OUTCOMES, Outcome, Tally
from headgate.flow.view import BandView, EndedView, QueueView, WaitsView

LONGEST_QUOTA_WAIT_S = 365 * 86_400
"""No `Retry-After` of a quota is longer than this. It is known, not guessed as that of a queue."""


class FlowControl:
    """The requests of one pool that wait, and what those that went have used.

    A ticket comes in by `arrive`. It goes at once, or it waits until `next` gives it, `forget` takes it away,
    or `dropped` tells that it is refused: exactly one of them. One that went is over by `ended`.
    Times are seconds and never go back.
    """

    def __init__(self, settings: FlowSettings) -> None:
        self.settings = settings
        self.waiting = 0
        """Requests in the queue. While it is 0, nobody needs to ask `next`."""
        self.bytes = 0
        self.counts: dict[DropReason, int] = {}
        self.tally = Tally()
        self._bands: dict[int, Band] = {}
        """By priority; with something waiting."""
        self._lanes = Lanes(self.band)
        self._accounts = Accounts(settings, self._lanes)
        self._expiry = Heap()
        self._drain = DrainRate()
        self.drops = 0
        """Requests that `dropped` has to tell."""
        self._dropped: list[Dropped] = []
        self._numbers = 0
        self._kept = 0
        """Requests that waited when the settings changed; their bounds do not count for them."""
        self._kept_bytes = 0
        self._turns = 0
        """Requests that were let go from the queue."""
        self._by_age = 0
        """The same since the last that went by age."""

    # ---- in

    def arrive(self, ticket: Ticket, who: str, now: float, *, room: bool) -> bool:
        """The request of the fairness id *who* is there. Whether it goes at once.

        If not, it waits, at most until its `expires_at`, or it is dropped. *room*: an endpoint could take
        it now; it goes at once only while nobody waits, otherwise `next` says who goes.
        """
        account = self._accounts.of(who, now)
        ticket.account = account
        ticket.arrived_at = now
        self._numbers += 1
        ticket.number = self._numbers
        too_early_s = self._accounts.charge(account, ticket, now) if account.rate else None
        if too_early_s is not None:
            self._refuse(account, ticket, too_early_s)
            return False
        if room and not self.waiting:
            self._start(ticket, account)
            self.tally.over("Dispatched", ticket.priority)
            return True
        self._wait(ticket, account, now)
        return False

    def forget(self, ticket: Ticket, now: float) -> None:
        """The client of a waiting request went away; of others nothing is to be forgotten."""
        if ticket.waiting:
            self._told(ticket, "EvictedContextCancelled", now)
            self._remove(ticket, now)
            self._refund(ticket, now)

    def ended(self, ticket: Ticket, tokens: float | None, now: float) -> None:
        """A request that went is over, and used so many tokens; None: as many as expected."""
        account = ticket.account
        if account is None:
            return
        account.running -= 1
        if tokens is not None and tokens != ticket.charged:
            more = tokens - ticket.charged
            account.tokens += more
            if account.rate:
                account.use(more, now)
            if ticket.flow is not None:
                self._lanes.correct(ticket.flow, more)
        ticket.account = None
        self._accounts.rest(account)

    # ---- out

    def next(self, now: float, room: Room, soonest_s: float = 0.0) -> Ticket | None:
        """Who goes now; None: nobody may. To be asked again until then, after its request was placed.

        *soonest_s*: a first token takes so long at least; whose deadline is sooner is dropped.
        """
        self.expire(now)
        while self.waiting:
            ageing = self._by_age + 1 >= self.settings.ageing_every
            found = self._lanes.choose(room, now - self.settings.ageing_s if ageing else None)
            if found is None:
                return None
            lane, rank, by_age = found
            flow = rank.fairness.take()
            ticket = None if flow is None else flow.heap.head()
            assert flow is not None and ticket is not None, (lane.kind, rank.priority)
            if rank.settings.ordering.latest(ticket) < now + soonest_s:
                rank.fairness.put_back(flow)
                self._drop_waiting(ticket, "deadline", now)
                continue
            self._drain.pass_time(now, True)
            self._drain.went()
            self._by_age = 0 if by_age else self._by_age + 1
            self._turns += 1
            lane.turn = self._turns
            rank.served_at = now
            self._told(ticket, "Dispatched", now)
            self._remove(ticket, now)
            rank.fairness.served(flow, ticket.tokens)
            account = flow.account
            self._start(ticket, account)
            return ticket
        return None

    def expire(self, now: float) -> None:
        """Drop those that have waited long enough."""
        while (ticket := self._expiry.head()) is not None and ticket.expires_at <= now:
            band = self._bands[ticket.priority]
            late = band.settings.ordering.latest(ticket) <= now
            self._drop_waiting(ticket, "deadline" if late else "ttl-expired", now)

    def stop(self, now: float) -> None:
        """Drop everybody."""
        while (ticket := self._expiry.head()) is not None:
            self._drop_waiting(ticket, "stopped", now)

    def dropped(self) -> list[Dropped]:
        """Who was dropped since this was asked last, in that order."""
        found = self._dropped
        if found:
            self._dropped = []
            self.drops = 0
        return found

    @property
    def wake_at(self) -> float:
        """When `expire` has something to do; infinity: never, as things are."""
        ticket = self._expiry.head()
        return NEVER if ticket is None else ticket.expires_at

    # ---- changes

    def configure(self, settings: FlowSettings, now: float) -> None:
        """These are the settings from now on; what was used stays used, and nobody loses a place for them.

        Where the bands are others, the flows of a band begin even. Bounds are for those that come.
        """
        self._kept, self._kept_bytes = self.waiting, self.bytes
        bands = settings.bands != self.settings.bands or settings.other_bands != self.settings.other_bands
        self.settings = settings
        self._accounts.configure(settings, now)
        if not bands:
            return
        tickets = self.tickets()
        for ticket in tickets:
            self._lanes.remove(ticket)
        self._lanes.clear()
        for band in self._bands.values():
            band.settings = self.band(band.priority)
        for ticket in tickets:
            ticket.waiting = True
            self._lanes.add(ticket, None)

    def rebind(self, vacant: Callable[[Hashable], bool], until: float) -> None:
        """Requests of a *vacant* kind, which nobody is there to serve, wait at most *until* then, or as was
        said when they became bound; all others as long as their bands say. O(n).
        """
        moved = [ticket for ticket in self.tickets() if vacant(ticket.kind) != ticket.bound]
        if not moved:
            return
        for ticket in moved:
            ticket.bound = not ticket.bound
            settings = self.band(ticket.priority)
            ends_at = min(ticket.arrived_at + settings.ttl_s, settings.ordering.latest(ticket))
            ticket.expires_at = min(ends_at, until) if ticket.bound else ends_at
        tickets = self.tickets()
        self._expiry = Heap()
        for ticket in tickets:
            self._expiry.add(ticket.expires_at, ticket)

    def regroup(self, kind: Callable[[Ticket], Hashable]) -> None:
        """The kinds of waiting requests may be others now. O(n)."""
        moved = [(ticket, new) for ticket in self.tickets() if (new := kind(ticket)) != ticket.kind]
        for ticket, _ in moved:
            self._lanes.remove(ticket)
        for ticket, new in moved:
            assert ticket.flow is not None
            ticket.flow.heap.purge()
            ticket.kind = new
        for ticket, _ in moved:
            ticket.waiting = True
            self._lanes.add(ticket, None)

    # ---- looks

    def tickets(self) -> list[Ticket]:
        """Everybody who waits, in the order of arrival."""
        return sorted(self._expiry.live(), key=_number)

    def ahead_of(self, priority: int) -> int:
        """How many wait whom a newcomer of *priority* would not precede."""
        return sum([band.queued for band in self._bands.values() if band.priority >= priority])

    def foremost(self) -> Ticket | None:
        """One of the most important that wait: the newest."""
        return self._bands[max(self._bands)].newest.head() if self._bands else None

    def retry_after_s(self) -> int:
        """When a request that everybody precedes has a chance to go."""
        return self._seconds(self._drain.wait_s(max(1, self.waiting)))

    def view(self, now: float) -> QueueView:
        """Everything as it is at *now*; changes nothing."""
        bands = []
        for priority in sorted(self._bands, reverse=True):
            band = self._bands[priority]
            oldest = min([ticket.arrived_at for ticket in band.newest.live()], default=now)
            most, most_bytes = band.settings.most_requests, band.settings.most_bytes
            bands.append(
                BandView(
                    band=priority,
                    queued=band.queued,
                    bytes=band.bytes,
                    oldest_s=now - oldest,
                    most_requests=most,
                    most_bytes=most_bytes,
                )
            )
        return QueueView(
            queued=self.waiting,
            bytes=self.bytes,
            most_requests=self.settings.most_requests,
            most_bytes=self.settings.most_bytes,
            drain_per_s=self._drain.per_second(),
            bands=tuple(bands),
            flows=tuple(self._accounts.views(now)),
            ended=tuple(
                EndedView(outcome=outcome, band=band, count=count)
                for outcome, counts in sorted(self.tally.ended.items())
                for band, count in sorted(counts.items())
            ),
            waits=tuple(
                WaitsView(id=who, band=band, outcome=outcome, counts=tuple(each.counts), total_s=each.total_s)
                for (who, band, outcome), each in sorted(self.tally.waits.items())
            ),
            dropped={str(reason): count for reason, count in sorted(self.counts.items())},
        )

    def check(self) -> None:
        """Assert that all sums are those of the requests that wait, and that bounds hold."""
        tickets = self.tickets()
        settings, kept, kept_bytes = self.settings, self._kept, self._kept_bytes
        assert self.waiting == len(tickets) <= max(kept, settings.most_requests)
        assert self.bytes == sum(ticket.bytes for ticket in tickets) <= max(kept_bytes, settings.most_bytes)
        for priority, band in self._bands.items():
            own = [ticket for ticket in tickets if ticket.priority == priority]
            assert 0 < band.queued == len(own) <= max(kept, band.settings.most_requests)
            size = sum(ticket.bytes for ticket in own)
            assert band.bytes == size <= max(kept_bytes, band.settings.most_bytes)
        assert {ticket.priority for ticket in tickets} == set(self._bands)
        self._accounts.check(tickets, kept, kept_bytes)
        for ticket in tickets:
            flow = ticket.flow
            assert flow is not None and flow in flow.account.flows and flow.listed
            assert (flow.kind, flow.priority, flow.account) == (ticket.kind, ticket.priority, ticket.account)
        self._lanes.check()
        assert self._lanes.queued() == self.waiting

    # ---- its own

    def _refuse(self, account: Account, ticket: Ticket, wait_s: float) -> None:
        message = (
            f"{account.id!r} has used up its quota of {account.rate * 60:.0f} tokens a minute: "
            f"{max(0.0, account.level):.0f} are left, the request needs about {ticket.tokens:.0f}"
        )
        self.tally.over("RejectedOther", ticket.priority)
        self._drop(ticket, "over-quota", message, min(LONGEST_QUOTA_WAIT_S, max(1, ceil(wait_s))))
        self._accounts.rest(account)

    def _refund(self, ticket: Ticket, now: float) -> None:
        """The request will not use anything."""
        account = ticket.account
        if account is None:
            return
        if account.rate and ticket.charged:
            account.use(-ticket.charged, now)
        ticket.charged = 0.0
        ticket.account = None
        self._accounts.rest(account)

    def _start(self, ticket: Ticket, account: Account) -> None:
        ticket.charged = ticket.tokens
        account.tokens += ticket.tokens
        self._accounts.stir(account)
        account.band = ticket.priority
        account.running += 1

    def _wait(self, ticket: Ticket, account: Account, now: float) -> None:
        band = self._bands.get(ticket.priority)
        settings = self.band(ticket.priority) if band is None else band.settings
        full = self._full(ticket, account, band, settings)
        if full is None:
            full = self._make_place(ticket, now)
        if full is not None:
            wait_s = self._drain.wait_s(max(1, self.ahead_of(ticket.priority)))
            message = f"{full}; the request is not more important than those that wait"
            outcome: Outcome = "RejectedNoEndpoints" if ticket.bound else "RejectedCapacity"
            self.tally.over(outcome, ticket.priority)
            reason: DropReason = "no-endpoints" if ticket.bound else "queue-full"
            self._drop(ticket, reason, message, self._seconds(wait_s))
            self._refund(ticket, now)
            return
        self._drain.pass_time(now, self.waiting > 0)
        self._accounts.stir(account)
        band = self._bands.get(ticket.priority)
        if band is None:
            band = self._bands[ticket.priority] = Band(ticket.priority, settings)
        ticket.ahead = self.ahead_of(ticket.priority)
        ticket.waiting = True
        ticket.expires_at = min(ticket.expires_at, now + settings.ttl_s, settings.ordering.latest(ticket))
        self.waiting += 1
        self.bytes += ticket.bytes
        account.queued += 1
        account.bytes += ticket.bytes
        band.queued += 1
        band.bytes += ticket.bytes
        band.newest.add(-ticket.number, ticket)
        self._expiry.add(ticket.expires_at, ticket)
        self._lanes.add(ticket, now)

    def _full(
        self, ticket: Ticket, account: Account, band: Band | None, settings: BandSettings
    ) -> str | None:
        """Which bound of its flow or band the request would exceed, in words."""
        if account.queued >= account.most_requests:
            return f"{account.queued} requests of {account.id!r} wait already"
        if account.bytes + ticket.bytes > account.most_bytes:
            return f"{account.bytes} bytes of {account.id!r} wait already"
        queued, size = (0, 0) if band is None else (band.queued, band.bytes)
        if queued >= settings.most_requests:
            return f"{queued} requests of priority {ticket.priority} wait already"
        if size + ticket.bytes > settings.most_bytes:
            return f"{size} bytes of priority {ticket.priority} wait already"
        return None

    def _make_place(self, ticket: Ticket, now: float) -> str | None:
        """Drop the newest of the least important until the request has a place; in words why it has none."""
        settings = self.settings
        lower = [band for band in self._bands.values() if band.priority < ticket.priority]
        requests = self.waiting - sum([band.queued for band in lower])
        size = self.bytes - sum([band.bytes for band in lower])
        if requests >= settings.most_requests or size + ticket.bytes > settings.most_bytes:
            return f"{self.waiting} requests with {self.bytes} bytes wait already"
        while self.waiting >= settings.most_requests or self.bytes + ticket.bytes > settings.most_bytes:
            victim = self._bands[min(self._bands)].newest.head()
            assert victim is not None
            self._drop_waiting(victim, "displaced", now)
        return None

    def _remove(self, ticket: Ticket, now: float) -> None:
        """It waits no more."""
        account = ticket.account
        assert account is not None
        self._drain.pass_time(now, True)
        self._lanes.remove(ticket)
        self.waiting -= 1
        self.bytes -= ticket.bytes
        account.queued -= 1
        account.bytes -= ticket.bytes
        band = self._bands[ticket.priority]
        band.queued -= 1
        band.bytes -= ticket.bytes
        band.newest.left()
        self._expiry.left()
        if not band.queued:
            del self._bands[ticket.priority]

    def _told(self, ticket: Ticket, outcome: Outcome, now: float) -> None:
        """Count the end of a wait."""
        assert ticket.account is not None
        self.tally.waited(ticket.account.id, ticket.priority, outcome, now - ticket.arrived_at)

    def _drop_waiting(self, ticket: Ticket, reason: DropReason, now: float) -> None:
        if ticket.bound and reason != "stopped":
            reason = "no-endpoints"
        waited = now - ticket.arrived_at
        wait_s = self._drain.wait_s(max(1, self.ahead_of(ticket.priority)))
        self._told(ticket, OUTCOMES[reason], now)
        self._remove(ticket, now)
        self._drop(ticket, reason, f"{_WORDS[reason]} (it waited {waited:.1f} s)", self._seconds(wait_s))
        self._refund(ticket, now)

    def _drop(self, ticket: Ticket, reason: DropReason, message: str, retry_after_s: int | None) -> None:
        self.counts[reason] = self.counts.get(reason, 0) + 1
        self.drops += 1
        self._dropped.append(Dropped(ticket, reason, message, None if reason == "stopped" else retry_after_s))

    def _seconds(self, wait_s: float) -> int:
        return max(1, min(self.settings.most_retry_s, ceil(wait_s)))

    def band(self, priority: int) -> BandSettings:
        """What counts for requests of *priority*."""
        return self.settings.bands.get(priority, self.settings.other_bands)


_WORDS: dict[str, str] = {
    "displaced": "a more important request needed the place of this one in the queue",
    "no-endpoints": "no endpoint that may serve the request was there in the time that one may wait for it",
    "ttl-expired": "no endpoint had room for the request in the time that one may wait",
    "deadline": "the first token can no longer come by the request's deadline",
    "stopped": "the queue is served no more",
}


def _number(ticket: Ticket) -> int:
    return ticket.number
