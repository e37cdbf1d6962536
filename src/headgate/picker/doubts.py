"""Who refuses what its siblings answer well: a wrong model, a lost adapter, a key of its own.

A 401, 403 or 404 may be the client's mistake or the endpoint's. It is the endpoint's while others answer
requests of the same kind (path and model) well and this one refuses every one of them. A client's mistake is
refused by sound endpoints too; that clears the others.
"""

from collections import OrderedDict
from collections.abc import Mapping
from types import MappingProxyType

import msgspec

REFUSALS = frozenset({401, 402, 403, 404, 405, 407, 410, 421, 426})
"""Statuses that can be the endpoint's fault. 400, 413, 422 and the like judge the request's content."""

IN_A_ROW = 5
"""So many refusals in a row, without a good answer, are a doubt."""
FRESH_S = 60.0
"""So long a sibling's good answer counts."""
KINDS = 64
"""Kinds of requests remembered, the last used."""

NOBODY: Mapping[int, str] = MappingProxyType({})


class _Refusing(msgspec.Struct):
    """One endpoint that refuses requests of one kind."""

    streak: int = 0
    until: float = 0.0
    rest_s: float = 0.0
    reason: str = ""


class _Kind(msgspec.Struct):
    """What became of requests of one kind; by slot."""

    well_at: dict[int, float] = {}
    """When a sound endpoint last answered well."""
    refusing: dict[int, _Refusing] = {}


class Doubts:
    """The doubtful endpoints of one pool. A kind is any number that stands for path and model."""

    def __init__(self, first_rest_s: float, longest_rest_s: float) -> None:
        """*first_rest_s*: a doubtful endpoint is tried again after so long, each time in vain after twice
        as long, *longest_rest_s* at most."""
        self._first_rest_s = first_rest_s
        self._longest_rest_s = longest_rest_s
        self._kinds: OrderedDict[int, _Kind] = OrderedDict()

    def answered(self, kind: int, slot: int, now: float) -> None:
        """The endpoint answered a request of this kind well."""
        found = self._kinds.get(kind)
        if found is None:
            found = self._kinds[kind] = _Kind()
            if len(self._kinds) > KINDS:
                self._kinds.popitem(last=False)
        else:
            self._kinds.move_to_end(kind)
        found.well_at[slot] = now
        if found.refusing:
            found.refusing.pop(slot, None)

    def refused(self, kind: int, slot: int, what: str, now: float) -> None:
        """The endpoint refused a request of this kind; *what* says how, for people."""
        found = self._kinds.get(kind)
        if found is None:
            return  # nobody answers it well
        mine = found.refusing.setdefault(slot, _Refusing())
        mine.streak += 1
        if mine.streak >= IN_A_ROW:
            found.well_at.pop(slot, None)
            if now >= mine.until:
                mine.rest_s = min(2 * mine.rest_s or self._first_rest_s, self._longest_rest_s)
                mine.until = now + mine.rest_s
            mine.reason = f"{what}, {mine.streak} in a row, where others answer well"
        elif slot in found.well_at:
            found.refusing = {slot: mine}  # a sound endpoint refuses it too

    def of(self, kind: int, now: float) -> Mapping[int, str]:
        """Slot → why the endpoint is doubtful for requests of this kind; usually empty."""
        found = self._kinds.get(kind)
        if found is None or not found.refusing:
            return NOBODY
        doubtful = {
            slot: one.reason
            for slot, one in found.refusing.items()
            if one.streak >= IN_A_ROW and now < one.until
        }
        if not doubtful or not any(
            now - at <= FRESH_S and slot not in found.refusing for slot, at in found.well_at.items()
        ):
            return NOBODY
        return doubtful

    def about(self, slot: int, now: float) -> str:
        """Why the endpoint is doubtful for some kind of request; empty when it is for none."""
        reasons = (self.of(kind, now).get(slot, "") for kind in self._kinds)
        return next((reason for reason in reasons if reason), "")

    def refusing(self) -> Mapping[int, str]:
        """Slot → what it refuses; until it answers its like well, or a sound one refuses that too."""
        return {
            slot: one.reason
            for kind in self._kinds.values()
            if kind.refusing and not kind.well_at.keys() <= kind.refusing.keys()
            for slot, one in kind.refusing.items()
            if one.reason
        }

    def forget(self, slot: int) -> None:
        """The slot may be another endpoint's from now on."""
        for kind in self._kinds.values():
            kind.well_at.pop(slot, None)
            kind.refusing.pop(slot, None)
