"""A request that goes on with a kept answer can only be served where that is kept."""

from collections.abc import Mapping, Sequence
from typing import ClassVar

from headgate.scheduling.api import Ask, EndpointState, Filter


class KeepsAnswer(Filter, frozen=True):
    """Only the endpoint that keeps the answer, while it is there; everyone else where it is not."""

    hard: ClassVar[bool] = True

    def refuse(self, ask: Ask, endpoints: Sequence[EndpointState]) -> Mapping[int, str]:
        """Refuse the others."""
        holder = ask.holder
        if holder is None:
            return {}
        return {
            position: "does not keep the answer that the request goes on with"
            for position, state in enumerate(endpoints)
            if state.slot != holder
        }
