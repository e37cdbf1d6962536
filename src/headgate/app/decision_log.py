"""The last decisions of a process, by request id and by age. Pure: the shell gives the wall time."""

from collections import OrderedDict

from headgate.model.decisions import Decision, DecisionRecord
from headgate.model.ids import RequestId, StreamId
from headgate.model.requests import Outcome

CAPACITY = 10_000
"""Records at most."""
CANDIDATES = 200_000
"""Candidates in all records together at most: in a pool of 100 endpoints that is the last 2,000 requests."""


class DecisionLog:
    """A ring of records. A request id that comes again (a client may choose it) finds the newest."""

    def __init__(self, capacity: int = CAPACITY, candidates: int = CANDIDATES) -> None:
        self._capacity = capacity
        self._room = candidates
        self._records: OrderedDict[StreamId, DecisionRecord] = OrderedDict()
        self._by_request: dict[RequestId, StreamId] = {}

    def record(self, stream: StreamId, decision: Decision, wall_time: float) -> None:
        """Adds a decision; the oldest makes room. *wall_time* is in Unix seconds."""
        self._room -= len(decision.candidates)
        while self._records and (len(self._records) >= self._capacity or self._room < 0):
            self._drop_oldest()
        self._records[stream] = DecisionRecord(decision=decision, wall_time=wall_time)
        self._by_request[decision.request_id] = stream

    def _drop_oldest(self) -> None:
        oldest, dropped = self._records.popitem(last=False)
        self._room += len(dropped.decision.candidates)
        if self._by_request.get(dropped.decision.request_id) == oldest:
            del self._by_request[dropped.decision.request_id]

    def conclude(self, stream: StreamId, outcome: Outcome) -> Decision | None:
        """Attaches what happened; the decision, None when it has left the ring."""
        found = self._records.get(stream)
        if found is None:
            return None
        self._records[stream] = DecisionRecord(
            decision=found.decision, wall_time=found.wall_time, outcome=outcome
        )
        return found.decision

    def find(self, request_id: RequestId) -> DecisionRecord | None:
        """The newest record of a request id."""
        stream = self._by_request.get(request_id)
        return None if stream is None else self._records[stream]

    def last(self, limit: int) -> list[DecisionRecord]:
        """The newest records, newest first."""
        found: list[DecisionRecord] = []
        for record in reversed(self._records.values()):
            if len(found) >= limit:
                break
            found.append(record)
        return found
