"""An endpoint that has its fill is avoided while another one has room: a request would only wait there."""

from collections.abc import Mapping, Sequence
from typing import ClassVar

from headgate.scheduling.api import Ask, EndpointState, Filter


class HasRoom(Filter, frozen=True):
    """Only endpoints with room for one more; nobody is known to be full where flow control is off."""

    only_unwell: ClassVar[bool] = True

    def refuse(self, ask: Ask, endpoints: Sequence[EndpointState]) -> Mapping[int, str]:
        """Refuse whoever is full, or as full as it may be for the request's priority."""
        return {
            position: "has its fill"
            if state.full
            else f"{ask.ceiling:.0%} taken, the ceiling of its priority"
            for position, state in enumerate(endpoints)
            if not state.has_room(ask.ceiling)
        }
