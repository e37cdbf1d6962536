"""The last decisions of a process, by request id and by age. Pure: the shell gives the clocks' difference."""

import itertools
from collections import OrderedDict
from collections.abc import Callable

from headgate.model.decisions import Decision, DecisionRecord
from headgate.model.ids import RequestId, StreamId
from headgate.model.requests import Outcome
from headgate.picker.choice import Choice

CAPACITY = 10_000
"""Records at most."""
CANDIDATES = 1_000_000
"""Candidates in all records together at most: of a pool of 1,000 endpoints the last 1,000 requests."""


class _Entry:
    __slots__ = ("candidates", "decision", "outcome")

    def __init__(self, decision: Choice | Decision, candidates: int) -> None:
        self.decision = decision
        self.candidates = candidates
        self.outcome: Outcome | None = None


class DecisionLog:
    """A ring of records. A request id that comes again (a client may choose it) finds the newest."""

    def __init__(
        self, wall_time: Callable[[float], float], capacity: int = CAPACITY, candidates: int = CANDIDATES
    ) -> None:
        """*wall_time*: the machine's clock to Unix seconds, asked when a record is read."""
        self._wall_time = wall_time
        self._capacity = capacity
        self._room = candidates
        self._entries: OrderedDict[StreamId, _Entry] = OrderedDict()
        self._by_request: dict[RequestId, StreamId] = {}

    def record(self, stream: StreamId, decision: Choice | Decision) -> None:
        """Adds a decision; the oldest makes room."""
        size = decision.looked_at if isinstance(decision, Choice) else len(decision.candidates)
        self._room -= size
        entries = self._entries
        while entries and (len(entries) >= self._capacity or self._room < 0):
            self._drop_oldest()
        entries[stream] = _Entry(decision, size)
        self._by_request[decision.request_id] = stream

    def _drop_oldest(self) -> None:
        oldest, dropped = self._entries.popitem(last=False)
        self._room += dropped.candidates
        if self._by_request.get(dropped.decision.request_id) == oldest:
            del self._by_request[dropped.decision.request_id]

    def conclude(self, stream: StreamId, outcome: Outcome) -> Choice | Decision | None:
        """Attaches what happened; the decision, None when it has left the ring."""
        found = self._entries.get(stream)
        if found is None:
            return None
        found.outcome = outcome
        return found.decision

    def find(self, request_id: RequestId) -> DecisionRecord | None:
        """The newest record of a request id."""
        stream = self._by_request.get(request_id)
        return None if stream is None else self._written(self._entries[stream])

    def last(self, limit: int) -> list[DecisionRecord]:
        """The newest records, newest first."""
        return [
            self._written(each) for each in itertools.islice(reversed(self._entries.values()), max(0, limit))
        ]

    def _written(self, entry: _Entry) -> DecisionRecord:
        decision = entry.decision.written() if isinstance(entry.decision, Choice) else entry.decision
        return DecisionRecord(
            decision=decision, wall_time=self._wall_time(decision.at), outcome=entry.outcome
        )
