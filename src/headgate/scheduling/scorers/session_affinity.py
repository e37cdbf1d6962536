"""Prefer the endpoint that the request's session was sent to last."""

from collections.abc import Sequence

from headgate.scheduling.api import Ask, EndpointState, Scorer


class SessionAffinity(Scorer, frozen=True):
    """Costs `away` everywhere else; silent without a session, and where that endpoint is no choice.

    A preference, no law: whoever is unwell or has its fill is filtered out before, and an endpoint that is
    dearer by more than `weight` times `away` does not get the request. Then the session moves there.
    """

    away: float = 1.0
    """In the profile's currency: seconds in the default one."""

    def score(self, ask: Ask, endpoints: Sequence[EndpointState]) -> list[float]:
        """The surcharge per endpoint; empty without a session."""
        slot = ask.session_slot
        if slot is None or all(state.slot != slot for state in endpoints):
            return []
        return [0.0 if state.slot == slot else self.away for state in endpoints]
