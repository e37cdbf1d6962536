"""Where requests wait: by kind, by priority, by fairness id."""

from collections.abc import Callable, Hashable

from headgate.flow.api import RunningFairness
from headgate.flow.queue import COMPACT, Account, Flow, Heap, Ticket
from headgate.flow.settings import BandSettings

Room = Callable[[Hashable], bool]
"""Whether an endpoint that serves requests of this kind has room for one more."""

MOST_FLOWS = 64
"""Flows of one account, by kind and priority, from which empty ones are forgotten."""


class Band:
    """All that wait with one priority, whatever their kind."""

    __slots__ = ("bytes", "newest", "priority", "queued", "settings")

    def __init__(self, priority: int, settings: BandSettings) -> None:
        self.priority = priority
        self.settings = settings
        self.queued = 0
        self.bytes = 0
        self.newest = Heap()


class Rank:
    """The requests of one kind and priority."""

    __slots__ = ("fairness", "flows", "priority", "queued", "served_at", "settings")

    def __init__(self, priority: int, settings: BandSettings) -> None:
        self.priority = priority
        self.settings = settings
        self.fairness: RunningFairness = settings.fairness.start()
        self.flows: dict[str, Flow] = {}
        """By fairness id."""
        self.queued = 0
        self.served_at = 0.0
        """When one of them went last, or began to wait where nobody waited before."""


class Lane:
    """The requests of one kind: whoever has room for one of them has it for each."""

    __slots__ = ("kind", "order", "queued", "ranks", "turn")

    def __init__(self, kind: Hashable) -> None:
        self.kind = kind
        self.ranks: dict[int, Rank] = {}
        self.order: list[Rank] = []
        """The same, the most important first."""
        self.queued = 0
        self.turn = 0
        """Number of the turn in which one of them went last."""

    def check(self) -> None:
        """Assert that sums and both directions agree."""
        assert self.order == sorted(self.ranks.values(), key=by_priority, reverse=True)
        assert self.queued == sum(rank.queued for rank in self.order)
        for rank in self.order:
            assert rank.flows and rank.queued == sum(flow.queued for flow in rank.flows.values())
            for who, flow in rank.flows.items():
                assert flow in flow.account.flows and flow.account.id == who
                assert flow.queued == len(flow.heap.live())
                assert flow.heap.size() <= 2 * flow.queued + COMPACT


def by_priority(rank: Rank) -> int:
    """What ranks are ordered by."""
    return rank.priority


class Lanes:
    """Every lane of a pool: where each request waits, and whose turn it is."""

    def __init__(self, band_settings: Callable[[int], BandSettings]) -> None:
        """*band_settings*: those of a priority, asked for when its first request comes."""
        self._band_settings = band_settings
        self._lanes: dict[Hashable, Lane] = {}
        """By kind; kept while their fairness remembers something."""

    def __len__(self) -> int:
        return len(self._lanes)

    def add(self, ticket: Ticket, now: float | None) -> None:
        """Into the queue of its flow; *now*: None: it waited elsewhere before."""
        account = ticket.account
        assert account is not None
        if len(account.flows) >= MOST_FLOWS:
            self._tidy(account)
        lane = self._lanes.get(ticket.kind)
        if lane is None:
            lane = self._lanes[ticket.kind] = Lane(ticket.kind)
        rank = lane.ranks.get(ticket.priority)
        if rank is None:
            settings = self._band_settings(ticket.priority)
            rank = lane.ranks[ticket.priority] = Rank(ticket.priority, settings)
            lane.order = sorted(lane.ranks.values(), key=by_priority, reverse=True)
        if not rank.queued:
            rank.served_at = ticket.arrived_at if now is None else now
        flow = rank.flows.get(account.id)
        if flow is None:
            flow = rank.flows[account.id] = Flow(account, ticket.kind, ticket.priority)
            account.flows.append(flow)
        ticket.flow = flow
        flow.heap.add(rank.settings.ordering.rank(ticket), ticket)
        flow.queued += 1
        flow.bytes += ticket.bytes
        rank.queued += 1
        lane.queued += 1
        rank.fairness.add(flow)

    def remove(self, ticket: Ticket) -> None:
        """Out of the queue of its flow."""
        flow = ticket.flow
        assert flow is not None
        lane = self._lanes[flow.kind]
        rank = lane.ranks[flow.priority]
        ticket.waiting = False
        flow.queued -= 1
        flow.bytes -= ticket.bytes
        flow.heap.left()
        rank.queued -= 1
        lane.queued -= 1

    def choose(self, room: Room, before: float | None) -> tuple[Lane, Rank, bool] | None:
        """The queue whose turn it is, of those that have room; True: by its age.

        *before*: one that was served last before then has its turn by age; None: none has.
        """
        best: tuple[Lane, Rank] | None = None
        aged: tuple[Lane, Rank] | None = None
        for lane in self._lanes.values():
            if not lane.queued or not room(lane.kind):
                continue
            top: Rank | None = None
            for rank in lane.order:
                if not rank.queued:
                    continue
                if top is None:
                    top = rank
                if before is None:
                    break
                if rank.served_at <= before and (aged is None or rank.served_at < aged[1].served_at):
                    aged = lane, rank
            if top is not None and (
                best is None
                or top.priority > best[1].priority
                or (top.priority == best[1].priority and lane.turn < best[0].turn)
            ):
                best = lane, top
        if best is None:
            return None
        if aged is not None and aged[1].priority < best[1].priority:
            return *aged, True
        return *best, False

    def correct(self, flow: Flow, more: float) -> None:
        """A request of the flow used so many tokens more than it counted for (below 0: fewer)."""
        lane = self._lanes.get(flow.kind)
        rank = None if lane is None else lane.ranks.get(flow.priority)
        if rank is not None and rank.flows.get(flow.account.id) is flow:
            rank.fairness.corrected(flow, more)

    def fairness(self, flow: Flow) -> RunningFairness:
        """The one that holds the flow."""
        return self._lanes[flow.kind].ranks[flow.priority].fairness

    def forget(self, flow: Flow) -> None:
        """Nothing waits in the flow, and what it used matters no more."""
        flow.account.flows.remove(flow)
        lane = self._lanes[flow.kind]
        rank = lane.ranks[flow.priority]
        del rank.flows[flow.account.id]
        if not rank.flows:
            del lane.ranks[flow.priority]
            lane.order.remove(rank)
            if not lane.ranks:
                del self._lanes[flow.kind]

    def clear(self) -> None:
        """Nobody waits; forget what every flow has used."""
        for lane in self._lanes.values():
            for rank in lane.order:
                for flow in rank.flows.values():
                    flow.account.flows.remove(flow)
        self._lanes.clear()

    def queued(self) -> int:
        """Requests in all lanes."""
        return sum(lane.queued for lane in self._lanes.values())

    def check(self) -> None:
        """See `Lane.check`."""
        for lane in self._lanes.values():
            lane.check()

    def _tidy(self, account: Account) -> None:
        """Forget the older half of its flows, as far as nothing waits in them."""
        for flow in account.flows[: MOST_FLOWS // 2]:
            if not flow.queued:
                self.forget(flow)
