"""The last decisions of a process, by request id and by age. Pure: the shell gives the clocks' difference."""

import heapq
import itertools
from collections import OrderedDict
from collections.abc import Callable, Iterable

import msgspec

from headgate.app.processes.lines import written_time
from headgate.model.decisions import Decision, DecisionRecord
from headgate.model.endings import why
from headgate.model.ids import RequestId, StreamId
from headgate.model.requests import Outcome
from headgate.picker.choice import Choice

CAPACITY = 10_000
"""Records at most."""
ROOM_BYTES = 128 << 20
"""Of all records together, as `_size` estimates them: 1,300 of a pool of 1,000 endpoints."""
ANSWER_BYTES = 4 << 20
"""Of the records in one answer together, as `_size` estimates them; written out they are three times that."""
RECORD_BYTES = 1000
"""A record without candidates and strings."""
CANDIDATE_BYTES = 100
"""One candidate in a record."""


class _Entry:
    __slots__ = ("decision", "outcome", "size")

    def __init__(self, decision: Choice | Decision, size: int) -> None:
        self.decision = decision
        self.size = size
        self.outcome: Outcome | None = None


def _looked_at(decision: Choice | Decision) -> int:
    return decision.looked_at if isinstance(decision, Choice) else len(decision.candidates)


def _size(decision: Choice | Decision) -> int:
    """About how many bytes a record takes; strings of clients count with their length."""
    texts = len(decision.request_id)
    for text in (decision.model, decision.target_model, decision.objective):
        if text is not None:
            texts += len(text)
    return RECORD_BYTES + CANDIDATE_BYTES * _looked_at(decision) + 4 * texts


class DecisionLog:
    """A ring of records. A request id that comes again (a client may choose it) finds the newest."""

    def __init__(
        self, wall_time: Callable[[float], float], capacity: int = CAPACITY, room_bytes: int = ROOM_BYTES
    ) -> None:
        """*wall_time*: the machine's clock to Unix seconds, asked when a record is read."""
        self._wall_time = wall_time
        self._capacity = capacity
        self._room = room_bytes
        self._entries: OrderedDict[StreamId, _Entry] = OrderedDict()
        self._by_request: dict[RequestId, StreamId] = {}

    def record(self, stream: StreamId, decision: Choice | Decision) -> None:
        """Adds a decision; the oldest makes room."""
        size = _size(decision)
        self._room -= size
        entries = self._entries
        while entries and (len(entries) >= self._capacity or self._room < 0):
            self._drop_oldest()
        entries[stream] = _Entry(decision, size)
        self._by_request[decision.request_id] = stream

    def _drop_oldest(self) -> None:
        oldest, dropped = self._entries.popitem(last=False)
        self._room += dropped.size
        if self._by_request.get(dropped.decision.request_id) == oldest:
            del self._by_request[dropped.decision.request_id]

    def conclude(self, stream: StreamId, outcome: Outcome) -> None:
        """Attaches what happened; nothing for a record that has left the ring."""
        found = self._entries.get(stream)
        if found is not None:
            found.outcome = outcome

    def find(self, request_id: RequestId) -> DecisionRecord | None:
        """The newest record of a request id."""
        stream = self._by_request.get(request_id)
        return None if stream is None else self._written(self._entries[stream])

    def last(self, limit: int) -> list[DecisionRecord]:
        """The newest records, newest first; fewer than *limit* where they are more than `ANSWER_BYTES`."""
        found: list[DecisionRecord] = []
        room = ANSWER_BYTES
        for entry in itertools.islice(reversed(self._entries.values()), max(0, limit)):
            room -= entry.size
            if room < 0 and found:
                break
            found.append(self._written(entry))
        return found

    def recent(self, limit: int) -> list[DecisionRecord]:
        """As `last`, without candidates."""
        return self._brief(itertools.islice(reversed(self._entries.values()), max(0, limit)))

    def slowest(self, limit: int) -> list[DecisionRecord]:
        """The remembered requests that took longest, slowest first, without candidates.

        By time to first token, else by duration; those that still run and refusals are left out.
        """
        ended = (entry for entry in self._entries.values() if entry.outcome is not None)
        return self._brief(heapq.nlargest(max(0, limit), ended, key=_took_s))

    def _brief(self, entries: Iterable[_Entry]) -> list[DecisionRecord]:
        found: list[DecisionRecord] = []
        room = ANSWER_BYTES
        for entry in entries:
            room -= entry.size - CANDIDATE_BYTES * _looked_at(entry.decision)
            if room < 0 and found:
                break
            found.append(self._written(entry, brief=True))
        return found

    def _written(self, entry: _Entry, *, brief: bool = False) -> DecisionRecord:
        decision = entry.decision
        if isinstance(decision, Choice):
            decision = decision.written(brief=brief)
        elif brief:
            decision = msgspec.structs.replace(decision, candidates=())
        outcome, at = entry.outcome, self._wall_time(decision.at)
        lasted_s = None if outcome is None else outcome.duration_s
        return DecisionRecord(
            decision=decision,
            wall_time=at,
            time=written_time(at),
            ended=None if lasted_s is None else written_time(at + lasted_s),
            outcome=outcome,
            why=why(decision, outcome),
        )


def _took_s(entry: _Entry) -> float:
    outcome = entry.outcome
    if outcome is None:
        return 0.0
    return outcome.duration_s or 0.0 if outcome.ttft_s is None else outcome.ttft_s
