"""Tells when an endpoint falls ill, gets worse or comes back: once each, and seldom when it flaps. Pure."""

from collections import deque
from collections.abc import Collection, Mapping
from typing import Literal

import msgspec

from headgate.model.ids import EndpointId
from headgate.model.words import counted
from headgate.picker.health import Condition

MOST_TOLD = 6
"""Changes of one endpoint that are told within `WITHIN_S`; later ones are summed up."""
WITHIN_S = 60.0
TRIED_S = 2.0
"""An endpoint that waits for its trial for so long is told of: there are no requests to try it with."""


Told = Condition | Literal["refusing"]
"""`refusing`: up, and it refuses what others of its pool answer well."""


class HealthChange(msgspec.Struct, frozen=True, kw_only=True):
    """An endpoint is in another condition than was told last."""

    endpoint: EndpointId
    condition: Told
    """`up`, `suspect` (it shows no sign of life), `down`, `refusing`, or `probing`: the next one tries it."""
    reason: str = ""
    """Why it is not up."""
    lasted_s: float | None = None
    """How long it was not up; None: it fell ill just now."""
    untold: int = 0
    """Changes before this one that were not told, to keep the log short."""

    def __str__(self) -> str:
        more = f"; {counted(self.untold, 'more change')} before that" if self.untold else ""
        if self.condition == "up":
            return f"{self.endpoint} is up again after {self.lasted_s or 0.0:.1f} s{more}"
        if self.condition == "probing":
            return f"{self.endpoint} may be well again, the next request tries it{more}"
        if self.condition == "refusing":
            return f"{self.endpoint} is up and refuses requests: {self.reason}{more}"
        word = "hanging" if self.condition == "suspect" else "down"
        return f"{self.endpoint} is {word}: {self.reason}{more}"


class _Known:
    __slots__ = ("condition", "ill_since", "probing_since", "told", "told_at", "untold")

    def __init__(self) -> None:
        self.condition: Told = "up"
        self.probing_since: float | None = None
        self.told: Told = "up"
        self.told_at: deque[float] = deque(maxlen=MOST_TOLD)
        self.ill_since: float | None = None
        self.untold = 0


class HealthChanges:
    """Of one pool. `update` is to be called several times a second."""

    def __init__(self) -> None:
        self._known: dict[EndpointId, _Known] = {}
        """Endpoints that were not up within `WITHIN_S`."""

    def update(
        self,
        unwell: Mapping[EndpointId, tuple[Told, str]],
        members: Collection[EndpointId],
        now: float,
    ) -> list[HealthChange]:
        """What is to be told; *unwell*: those of *members* that are not up, with the reasons."""
        changes: list[HealthChange] = []
        for endpoint in [*self._known, *(each for each in unwell if each not in self._known)]:
            if endpoint not in members:  # that it left is told by others
                self._known.pop(endpoint, None)
                continue
            known = self._known.setdefault(endpoint, _Known())
            condition, reason = unwell.get(endpoint, ("up", ""))
            if condition != "probing":
                known.probing_since = None
            elif known.probing_since is None:
                known.probing_since = now
            if known.probing_since is not None and now - known.probing_since < TRIED_S:
                condition, reason = "down", "it is being tried"
            change = self._change(known, endpoint, condition, reason, now)
            if change is not None:
                changes.append(change)
            elif known.told == known.condition == "up" and now - known.told_at[-1] > WITHIN_S:
                del self._known[endpoint]
        return changes

    def _change(
        self, known: _Known, endpoint: EndpointId, condition: Told, reason: str, now: float
    ) -> HealthChange | None:
        if condition != known.condition:
            known.condition = condition
            known.untold += 1
            if condition != "up" and known.ill_since is None:
                known.ill_since = now
        often = len(known.told_at) == MOST_TOLD and now - known.told_at[0] < WITHIN_S
        if condition == known.told or often:
            return None
        lasted_s = None if condition != "up" or known.ill_since is None else now - known.ill_since
        change = HealthChange(
            endpoint=endpoint, condition=condition, reason=reason, lasted_s=lasted_s, untold=known.untold - 1
        )
        known.told, known.untold = condition, 0
        known.told_at.append(now)
        if condition == "up":
            known.ill_since = None
        return change
