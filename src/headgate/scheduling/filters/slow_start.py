"""Slow start: a new or recovered endpoint looks idle and must not swallow a burst with a cold cache."""

from collections.abc import Mapping, Sequence
from typing import ClassVar

from headgate.scheduling.api import Ask, EndpointState, Filter


class SlowStart(Filter, frozen=True):
    """A ramping endpoint's requests in flight stay below its share of the others' mean, at least one."""

    only_unwell: ClassVar[bool] = True

    def refuse(self, ask: Ask, endpoints: Sequence[EndpointState]) -> Mapping[int, str]:
        """Refuse ramping endpoints at their cap; nobody when no endpoint is at full share to compare with."""
        ramping = [position for position, state in enumerate(endpoints) if state.ramp < 1.0]
        others = len(endpoints) - len(ramping)
        if not ramping or not others:
            return {}
        mean = sum(state.in_flight for state in endpoints if state.ramp >= 1.0) / others
        return {
            position: f"slow start: {state.in_flight} in flight at {state.ramp:.0%} of the mean {mean:.1f}"
            for position in ramping
            if (state := endpoints[position]).in_flight >= max(1.0, state.ramp * mean)
        }
