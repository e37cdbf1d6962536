"""Passive health: who seems unwell is avoided while someone better is there."""

from collections.abc import Mapping, Sequence
from typing import ClassVar

from headgate.scheduling.api import Ask, EndpointState, Filter


class Healthy(Filter, frozen=True):
    """Only the least unwell endpoints; suspicion alone never refuses: all equally unwell, all stay."""

    only_unwell: ClassVar[bool] = True

    def refuse(self, ask: Ask, endpoints: Sequence[EndpointState]) -> Mapping[int, str]:
        """Refuse whoever is worse off than the best one."""
        severities = [state.severity for state in endpoints]
        best = min(severities, default=0)
        if max(severities, default=0) == best:
            return {}
        return {
            position: endpoints[position].complaint
            for position, severity in enumerate(severities)
            if severity > best
        }
