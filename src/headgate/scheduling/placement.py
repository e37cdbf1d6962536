"""Where a request may go, and why: kept as it was found, written out when somebody reads it."""

from collections.abc import Mapping, Sequence

import msgspec

from headgate.model.decisions import Candidate, Term
from headgate.scheduling.state import EndpointState, Seen


class Placement(msgspec.Struct, frozen=True, gc=False):
    """A scheduler's answer to one request."""

    order: tuple[EndpointState, ...]
    """The pick, then fallbacks, at most `max_endpoints`; empty when a hard filter left nobody."""
    pick: Seen | None
    """The first of `order`."""
    cost: float
    """Of the pick."""
    at: float
    prompt_tokens: int
    matched: Mapping[int, int]
    """Slot → prompt tokens believed cached there."""
    seen: tuple[Seen, ...]
    """Everyone who was looked at, in the order given."""
    line_names: tuple[str, ...]
    """Of the scorers whose lines `seen` holds."""
    columns: Sequence[tuple[str, Mapping[int, float]]] = ()
    """Of the other scorers: name, and slot → weighted cost."""
    refused: Mapping[int, tuple[str, str]] | None = None
    """Slot → filter and reason."""
    sharers: int = 0
    """Requests in flight behind the same cached prefix."""

    @property
    def candidates(self) -> tuple[Candidate, ...]:
        """How everyone fared."""
        return tuple([self._candidate(one) for one in self.seen])

    def _candidate(self, one: Seen) -> Candidate:
        matched = self.matched.get(one.slot, 0)
        own = self.prompt_tokens - matched
        filtered_by, reason = (self.refused or {}).get(one.slot, (None, None))
        terms: list[Term] = []
        if filtered_by is None:
            named = zip(self.line_names, one.lines, strict=True)
            share = 1.0 / (1 + self.sharers)
            terms += [
                Term(name, base + (slope + shared * share) * own) for name, (base, slope, shared) in named
            ]
            terms += [Term(name, column[one.slot]) for name, column in self.columns]
        return Candidate(
            endpoint=one.endpoint,
            name=one.name,
            filtered_by=filtered_by,
            filter_reason=reason,
            cost=None if filtered_by is not None else sum(term.value for term in terms),
            terms=tuple(terms),
            matched_tokens=matched,
            in_flight=one.in_flight,
            pending_tokens=one.pending_tokens,
            pace=one.pace,
            metrics_age_s=None if one.scraped_at is None else self.at - one.scraped_at,
        )
