"""The last errors that Envoys gave by themselves, by request id. Pure."""

from collections import OrderedDict
from collections.abc import Sequence

from headgate.model.own_answers import OwnAnswer

CAPACITY = 2000
"""Answers at most."""
ROOM_BYTES = 4 << 20
"""Of all of them together, about."""


class AnswerLog:
    """A ring. A request id that comes again (a client may choose it) finds the newest."""

    def __init__(self, capacity: int = CAPACITY, room_bytes: int = ROOM_BYTES) -> None:
        self._capacity = capacity
        self._room = room_bytes
        self._found: OrderedDict[str, tuple[str, OwnAnswer]] = OrderedDict()

    def take(self, dataplane: str, answers: Sequence[OwnAnswer]) -> None:
        """Adds what an Envoy of *dataplane* answered; the oldest make room."""
        found = self._found
        for each in answers:
            if (before := found.pop(each.request_id, None)) is not None:
                self._room += before[1].bytes
            found[each.request_id] = dataplane, each
            self._room -= each.bytes
            while len(found) > self._capacity or self._room < 0:
                _, (_, oldest) = found.popitem(last=False)
                self._room += oldest.bytes

    def find(self, request_id: str) -> tuple[str, OwnAnswer] | None:
        """The answer, and the data plane of the Envoy that gave it."""
        return self._found.get(request_id)
