"""One request while it is being decided, or waits for that."""

from collections.abc import Mapping
from math import inf

from headgate.flow.queue import Ticket
from headgate.model.decisions import PriorResult
from headgate.model.endpoints import Pool
from headgate.model.ids import EndpointId, StreamId
from headgate.model.requests import InferenceRequest
from headgate.scheduling.tokens import UNKNOWN
from headgate.wire.blocks import of_model


class Case:
    """An arrival and what was found out about it."""

    __slots__ = (
        "arrived_at",
        "averages",
        "bound",
        "ceiling",
        "holder",
        "kind",
        "listed",
        "model",
        "now",
        "output_tokens",
        "prior",
        "priority",
        "prompt_tokens",
        "request",
        "session",
        "stream",
        "ticket",
        "who",
    )

    def __init__(self, stream: StreamId, request: InferenceRequest, now: float, priority: int | None) -> None:
        self.stream = stream
        self.request = request
        self.arrived_at = now
        self.now = now
        """When it is decided."""
        self.priority = priority
        self.model = request.model
        """The name that engines know."""
        self.averages = UNKNOWN
        """Of requests to the model, when the numbers of tokens below were expected."""
        self.prompt_tokens = 0
        self.output_tokens = 0
        self.listed: frozenset[int] | None = None
        """As `Ask.listed`."""
        self.session: str | None = None
        """Digest of what names its session; None: nothing does."""
        self.bound: EndpointId | None = None
        """Where its session was sent last; None: it names none, or nobody knows."""
        self.ceiling = inf
        """As `Ask.ceiling`."""
        self.holder: EndpointId | None = None
        """Who keeps the answer that it goes on with: it alone may serve."""
        self.prior: PriorResult | None = None
        self.kind = 0
        self.who: str | None = None
        """Fairness id."""
        self.ticket: Ticket | None = None
        """Where flow control counts it."""

    @property
    def queued_behind(self) -> int | None:
        """How many waited before it when it came; None: it did not wait."""
        return None if self.ticket is None else self.ticket.ahead

    @property
    def rewritten(self) -> str | None:
        """Name to put into the body, when it is another one than the client's."""
        return None if self.model == self.request.model else self.model

    def blocks(self, pool: Pool, aliases: Mapping[str, str]) -> bytes:
        """The prompt's blocks as the model that is served has them, by whatever name the client knows it."""
        request, model = self.request, self.model
        blocks = request.blocks
        if request.tools_first and (model in pool.tools_first or "*" in pool.tools_first):
            blocks = request.tools_first
        if model is not None and aliases:
            model = aliases.get(model, model)
        return blocks if model == request.model else of_model(blocks, request.model, model)
