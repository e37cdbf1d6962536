"""Runs a profile for one pool: filters, weighted scorers, then the choice, with the record of why."""

from collections.abc import Sequence

import msgspec

from headgate.model.decisions import Candidate, Term
from headgate.model.ports import Rng
from headgate.scheduling.api import Ask, EndpointState, Profile, RunningScorer


class Placement(msgspec.Struct, frozen=True):
    """Where a request may go."""

    order: tuple[EndpointState, ...]
    """The pick, then fallbacks, at most `max_endpoints`; empty when a hard filter left nobody."""
    candidates: tuple[Candidate, ...]
    """Everyone who was looked at, in the order given."""


class Scheduler:
    """One pool's running profile."""

    def __init__(self, profile: Profile, rng: Rng) -> None:
        self.profile = profile
        self._rng = rng
        self._filters = [
            (_name(plugin), plugin.hard, plugin.start(rng))
            for plugin in sorted(profile.filters, key=lambda plugin: not plugin.hard)
        ]
        self._scorers: list[tuple[str, float, RunningScorer]] = [
            (_name(plugin), plugin.weight, plugin.start(rng)) for plugin in profile.scorers
        ]

    def schedule(self, ask: Ask, endpoints: Sequence[EndpointState]) -> Placement:
        """Choose among *endpoints*. Ties: least recently given a cold prompt, then the dice."""
        refused: dict[int, tuple[str, str]] = {}
        spare: list[EndpointState] = []
        kept: Sequence[EndpointState] = endpoints
        for name, hard, running in self._filters:
            out = running.refuse(ask, kept)
            if not out or (len(out) == len(kept) and not hard):
                continue
            for position, reason in out.items():
                refused[kept[position].slot] = (name, reason)
            if not hard:
                spare += [kept[position] for position in out]
            kept = [state for position, state in enumerate(kept) if position not in out]
        if not kept:
            return Placement((), _record(ask, endpoints, (), (), {}, refused))
        columns = self._columns(ask, kept)
        costs = [sum(row) for row in zip(*(column for _, column in columns), strict=True)] or [0.0] * len(
            kept
        )
        order = self._order(kept, costs, spare)
        rows = {state.slot: position for position, state in enumerate(kept)} if refused else None
        return Placement(order, _record(ask, endpoints, columns, costs, rows, refused))

    def sent(self, ask: Ask, endpoint: EndpointState) -> None:
        """Tell the scorers where the request went."""
        for _, _, running in self._scorers:
            running.sent(ask, endpoint)

    def _columns(self, ask: Ask, kept: Sequence[EndpointState]) -> list[tuple[str, Sequence[float]]]:
        columns: list[tuple[str, Sequence[float]]] = []
        for name, weight, running in self._scorers:
            column = running.score(ask, kept)
            if column:
                columns.append((name, column if weight == 1.0 else [weight * cost for cost in column]))
        return columns

    def _order(
        self, kept: Sequence[EndpointState], costs: Sequence[float], spare: list[EndpointState]
    ) -> tuple[EndpointState, ...]:
        most = self.profile.max_endpoints
        ranking = sorted(range(len(kept)), key=costs.__getitem__)
        lowest = costs[ranking[0]]
        if len(ranking) > 1 and costs[ranking[1]] == lowest:
            ties = [position for position in ranking if costs[position] == lowest]
            first = min(kept[position].cold_turn for position in ties)
            ties = [position for position in ties if kept[position].cold_turn == first]
            pick = ties[int(self._rng.random() * len(ties))]
            ranking.remove(pick)
            ranking.insert(0, pick)
        order = [kept[position] for position in ranking[:most]]
        if spare and len(order) < most:
            spare.sort(key=lambda state: (state.severity, state.in_flight))
            order += spare[: most - len(order)]
        return tuple(order)


def _name(plugin: msgspec.Struct) -> str:
    return str(plugin.__struct_config__.tag)


def _record(
    ask: Ask,
    endpoints: Sequence[EndpointState],
    columns: Sequence[tuple[str, Sequence[float]]],
    costs: Sequence[float],
    rows: dict[int, int] | None,
    refused: dict[int, tuple[str, str]],
) -> tuple[Candidate, ...]:
    """One Candidate per endpoint; *rows* maps slots to positions in *costs*, None when they are the same."""
    now, matched = ask.now, ask.matched.get
    made: list[Candidate] = []
    for position, state in enumerate(endpoints):
        slot = state.slot
        row = position if rows is None else rows.get(slot)
        name, reason = (None, None) if row is not None else refused[slot]
        made.append(
            Candidate(
                endpoint=state.id,
                name=state.name,
                filtered_by=name,
                filter_reason=reason,
                cost=None if row is None else costs[row],
                terms=() if row is None else tuple([Term(label, column[row]) for label, column in columns]),
                matched_tokens=matched(slot, 0),
                in_flight=state.in_flight,
                pending_tokens=state.pending_tokens,
                metrics_age_s=None if state.scraped_at is None else now - state.scraped_at,
            )
        )
    return tuple(made)
