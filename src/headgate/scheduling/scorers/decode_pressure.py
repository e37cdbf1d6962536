"""How slow decoding is where many sequences already run: the default policy's third term."""

from collections.abc import Sequence

from headgate.scheduling.api import Ask, EndpointState, Scorer
from headgate.scheduling.costs import H100_8B


class DecodePressure(Scorer, frozen=True):
    """`K·(A + DB·in_flight_i + CT·context_i)`: K decode steps of the endpoint as it is now, in seconds."""

    steps: float = 16.0
    """K."""
    step_s: float = H100_8B.step_s
    sequence_s: float = H100_8B.sequence_s
    context_token_s: float = H100_8B.context_token_s

    def score(self, ask: Ask, endpoints: Sequence[EndpointState]) -> list[float]:
        """Seconds of decoding per endpoint."""
        base, sequence, token = (
            self.steps * self.step_s,
            self.steps * self.sequence_s,
            self.steps * self.context_token_s,
        )
        return [
            base
            + sequence * (state.in_flight + state.extra_requests)
            + token * (state.context_tokens + state.extra_context_tokens)
            for state in endpoints
        ]
