"""How slow decoding is where many sequences already run: the default policy's third term."""

from headgate.scheduling.api import EndpointState, Line, Scorer
from headgate.scheduling.costs import H100_8B


class DecodePressure(Scorer, frozen=True):
    """`pace_i·K·(A + DB·in_flight_i + CT·context_i)`: K decode steps as things are there, in seconds."""

    steps: float = 32.0
    """K."""
    step_s: float = H100_8B.step_s
    sequence_s: float = H100_8B.sequence_s
    context_token_s: float = H100_8B.context_token_s

    def line(self, endpoint: EndpointState) -> Line:
        """Seconds of decoding, whatever the request."""
        sequences = endpoint.in_flight + endpoint.extra_requests
        context = endpoint.context_tokens + endpoint.extra_context_tokens
        step_s = self.step_s + self.sequence_s * sequences + self.context_token_s * context
        return endpoint.pace * self.steps * step_s, 0.0, 0.0
