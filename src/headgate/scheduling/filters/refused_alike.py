"""A fast 401 or 404 must not attract traffic: who refuses what others answer well is avoided."""

from collections.abc import Mapping, Sequence

from headgate.scheduling.api import Ask, EndpointState, Filter


class RefusedAlike(Filter, frozen=True):
    """Avoids endpoints that refused requests like this one (path and model) while siblings answer them."""

    def refuse(self, ask: Ask, endpoints: Sequence[EndpointState]) -> Mapping[int, str]:
        """Refuse the doubtful ones; nobody, most of the time."""
        doubtful = ask.doubtful
        if not doubtful:
            return {}
        return {
            position: doubtful[state.slot]
            for position, state in enumerate(endpoints)
            if state.slot in doubtful
        }
