"""What a scheduling plugin is given and what it answers: filters, scorers, and the state they look at.

A plugin is a frozen struct that is also its own configuration: `{type: decode-pressure, weight: 2}` decodes
into `DecodePressure(weight=2)`. A plugin with a memory (or dice) keeps it out of the struct: `start` gives
the running part, owned by one pool's scheduler. Plugins live one per file in `filters/` and `scorers/`.
"""

from collections.abc import Mapping, Sequence
from math import inf
from types import MappingProxyType
from typing import ClassVar, Protocol

import msgspec

from headgate.model.randomness import Rng
from headgate.model.requests import InferenceRequest
from headgate.registry import plugin_type
from headgate.scheduling.state import COOLING, DOWN, FINE, SUSPECT, EndpointState, Line

__all__ = [
    "COOLING",
    "DOWN",
    "FINE",
    "SUSPECT",
    "Ask",
    "EndpointState",
    "Filter",
    "Line",
    "Profile",
    "RunningFilter",
    "RunningScorer",
    "Scorer",
    "plugin_type",
]


_NOBODY: Mapping[int, str] = MappingProxyType({})


class Ask(msgspec.Struct, frozen=True, gc=False):
    """One request to be placed, with what the machine worked out for it."""

    request: InferenceRequest
    now: float
    prompt_tokens: int
    matched: Mapping[int, int]
    """Slot → prompt tokens believed cached there; slots without any are absent."""
    model: str | None = None
    """Name the engine will see."""
    adapter: str | None = None
    """The same name when it is known to be a LoRA adapter."""
    well: bool = False
    """True when every endpoint is FINE, at full share and has room."""
    sharers: int = 0
    """Requests in flight behind the same cached prefix."""
    listed: frozenset[int] | None = None
    """Slots of the endpoints that may have the model; None: nothing speaks against anyone."""
    doubtful: Mapping[int, str] = _NOBODY
    """Slot → why the endpoint is doubtful for requests like this one."""
    ceiling: float = inf
    """The part of a full load that may be there with this request, above 0 and up to 1; infinity: any."""
    holder: int | None = None
    """Slot of the endpoint that keeps the answer that the request goes on with; None: anybody may serve."""
    session_slot: int | None = None
    """Where the request's session was sent last; None: there is no session, or no such endpoint any more."""


class RunningFilter(Protocol):
    """A filter at work in one pool."""

    def refuse(self, ask: Ask, endpoints: Sequence[EndpointState]) -> Mapping[int, str]:
        """Positions in *endpoints* that must not serve, each with a short reason; usually empty."""
        ...


class RunningScorer(Protocol):
    """A scorer at work in one pool."""

    def score(self, ask: Ask, endpoints: Sequence[EndpointState]) -> Sequence[float]:
        """One cost per endpoint, the lower the better, aligned; empty: nothing to say about this request."""
        ...

    def sent(self, ask: Ask, endpoint: EndpointState) -> None:
        """The request went to *endpoint*."""
        ...


class Filter(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag=plugin_type, tag_field="type"
):
    """Takes endpoints out of the choice.

    A *hard* filter is law: whom it refuses never serves, and the request fails when nobody is left. Whom a
    soft one refuses may still end the fallback list; a soft filter that refuses everyone is ignored.
    """

    hard: ClassVar[bool] = False
    only_unwell: ClassVar[bool] = False
    """It refuses nobody while every endpoint is FINE, at full share and has room: then it is not asked."""

    def start(self, rng: Rng) -> RunningFilter:
        """The running part for one pool; the filter itself when it remembers nothing."""
        return self

    def refuse(self, ask: Ask, endpoints: Sequence[EndpointState]) -> Mapping[int, str]:
        """See `RunningFilter.refuse`; refuses nobody unless overridden."""
        return {}


class Scorer(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag=plugin_type, tag_field="type"
):
    """A term of a candidate's cost; the scheduler adds `weight` times what it says.

    It overrides `line` if that can say it all: the scheduler asks again only when an endpoint has changed.
    Else it overrides `score`, which is asked for every request.
    """

    weight: float = 1.0

    def start(self, rng: Rng) -> RunningScorer:
        """The running part for one pool; the scorer itself when it remembers nothing."""
        return self

    def line(self, endpoint: EndpointState) -> Line:
        """The endpoint's cost, when it depends on its state and the request's uncached tokens alone."""
        raise NotImplementedError

    def score(self, ask: Ask, endpoints: Sequence[EndpointState]) -> Sequence[float]:
        """See `RunningScorer.score`; what `line` says unless overridden."""
        lines = [(self.line(state), state.slot) for state in endpoints]
        prompt, matched = ask.prompt_tokens, ask.matched
        share = 1.0 / (1 + ask.sharers)
        return [
            base + (slope + shared * share) * (prompt - matched.get(slot, 0))
            for (base, slope, shared), slot in lines
        ]

    def sent(self, ask: Ask, endpoint: EndpointState) -> None:
        """See `RunningScorer.sent`; forgets it unless overridden."""


class Profile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A named routing policy: which filters, which weighted scorers, how long a fallback list."""

    name: str
    filters: tuple[Filter, ...] = ()
    scorers: tuple[Scorer, ...] = ()
    max_endpoints: int = 4
    """The pick and its fallbacks, together."""
