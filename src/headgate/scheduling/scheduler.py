"""Runs a profile for one pool: filters, weighted scorers, then the choice, with what a record of it needs."""

from collections.abc import Mapping, Sequence

import msgspec

from headgate.model.randomness import Rng
from headgate.scheduling.api import Ask, EndpointState, Profile, RunningScorer, Scorer
from headgate.scheduling.placement import Placement
from headgate.scheduling.state import Seen


class Scheduler:
    """One pool's running profile."""

    def __init__(self, profile: Profile, rng: Rng) -> None:
        self.profile = profile
        self._rng = rng
        self._filters = [
            (_name(plugin), plugin.hard, plugin.start(rng))
            for plugin in sorted(profile.filters, key=lambda plugin: not plugin.hard)
        ]
        always = {_name(plugin) for plugin in profile.filters if not plugin.only_unwell}
        self._filters_when_well = [each for each in self._filters if each[0] in always]
        with_line = [plugin for plugin in profile.scorers if _has_line(plugin)]
        self._line_names = tuple([_name(plugin) for plugin in with_line])
        self._lines = [(plugin.line, plugin.weight) for plugin in with_line]
        self._others: list[tuple[str, float, RunningScorer]] = [
            (_name(plugin), plugin.weight, plugin.start(rng))
            for plugin in profile.scorers
            if not _has_line(plugin)
        ]
        self._known: Sequence[EndpointState] = ()
        self._places: Mapping[int, int] = {}
        """Slot → position, in `_known`."""

    def schedule(self, ask: Ask, endpoints: Sequence[EndpointState]) -> Placement:
        """Choose among *endpoints*, a sequence that is never changed. Ties: least recently given a cold
        prompt, then the dice."""
        kept, refused, spare = self._filter(ask, endpoints)
        look = self._look
        seen = [state.seen or look(state) for state in endpoints]
        matched, prompt, share = ask.matched, ask.prompt_tokens, 1.0 / (1 + ask.sharers)
        if not kept:
            return Placement(
                (),
                None,
                0.0,
                ask.now,
                prompt,
                matched,
                tuple(seen),
                self._line_names,
                (),
                refused,
                ask.sharers,
            )
        rows = seen if kept is endpoints else [state.seen or look(state) for state in kept]
        costs = [one.base + (one.slope + one.shared * share) * prompt for one in rows]
        if matched:
            places = self._places if kept is self._known else self._find(kept)
            for slot, tokens in matched.items():
                if (place := places.get(slot)) is not None:
                    one = rows[place]
                    costs[place] = one.base + (one.slope + one.shared * share) * (prompt - tokens)
        columns = self._add_columns(ask, kept, costs) if self._others else ()
        ranking = self._rank(kept, costs)
        first, most = ranking[0], self.profile.max_endpoints
        order = [kept[position] for position in ranking[:most]]
        if spare and len(order) < most:
            spare.sort(key=lambda state: (state.severity, state.in_flight))
            order += spare[: most - len(order)]
        return Placement(
            tuple(order),
            rows[first],
            costs[first],
            ask.now,
            prompt,
            matched,
            tuple(seen),
            self._line_names,
            columns,
            refused,
            ask.sharers,
        )

    def may_serve(self, ask: Ask, endpoints: Sequence[EndpointState]) -> Sequence[EndpointState]:
        """Those of *endpoints* that no hard filter refuses."""
        for _, hard, running in self._filters:
            if hard and (out := running.refuse(ask, endpoints)):
                endpoints = [state for position, state in enumerate(endpoints) if position not in out]
        return endpoints

    def sent(self, ask: Ask, endpoint: EndpointState) -> None:
        """Tell the scorers where the request went."""
        for _, _, running in self._others:
            running.sent(ask, endpoint)

    def check(self, endpoints: Sequence[EndpointState]) -> None:
        """Assert that what was made of *endpoints* earlier is still true."""
        for state in endpoints:
            before = state.seen
            assert before is None or before.agrees(self._look(state)), state.id

    def _filter(
        self, ask: Ask, endpoints: Sequence[EndpointState]
    ) -> tuple[Sequence[EndpointState], dict[int, tuple[str, str]] | None, list[EndpointState]]:
        """Who is kept (*endpoints* itself when everyone is), who is refused by whom, who may stand last."""
        kept = endpoints
        refused: dict[int, tuple[str, str]] | None = None
        spare: list[EndpointState] = []
        for name, hard, running in self._filters_when_well if ask.well else self._filters:
            out = running.refuse(ask, kept)
            if not out or (len(out) == len(kept) and not hard):
                continue
            if refused is None:
                refused = {}
            for position, reason in out.items():
                refused[kept[position].slot] = (name, reason)
            if not hard:
                spare += [kept[position] for position in out]
            kept = [state for position, state in enumerate(kept) if position not in out]
        return kept, refused, spare

    def _look(self, state: EndpointState) -> Seen:
        lines = []
        base = slope = shared = 0.0
        for line, weight in self._lines:
            at_none, per_token, to_share = line(state)
            if weight != 1.0:
                at_none, per_token, to_share = weight * at_none, weight * per_token, weight * to_share
            base += at_none
            slope += per_token
            shared += to_share
            lines.append((at_none, per_token, to_share))
        made = Seen(state, base, slope, shared, tuple(lines))
        state.seen = made
        return made

    def _find(self, kept: Sequence[EndpointState]) -> Mapping[int, int]:
        places = {state.slot: position for position, state in enumerate(kept)}
        self._known, self._places = kept, places
        return places

    def _add_columns(
        self, ask: Ask, kept: Sequence[EndpointState], costs: list[float]
    ) -> Sequence[tuple[str, Mapping[int, float]]]:
        """Add what the scorers without a line say to *costs*, and give it for the record."""
        columns = []
        for name, weight, running in self._others:
            column = running.score(ask, kept)
            if not column:
                continue
            weighted = {state.slot: weight * cost for state, cost in zip(kept, column, strict=True)}
            for position, cost in enumerate(weighted.values()):
                costs[position] += cost
            columns.append((name, weighted))
        return columns

    def _rank(self, kept: Sequence[EndpointState], costs: list[float]) -> list[int]:
        """Positions, the cheapest first; the first of equals is drawn."""
        ranking = sorted(range(len(costs)), key=costs.__getitem__)
        lowest = costs[ranking[0]]
        if len(ranking) > 1 and costs[ranking[1]] == lowest:
            ties = [position for position in ranking if costs[position] == lowest]
            first = min([kept[position].cold_turn for position in ties])
            ties = [position for position in ties if kept[position].cold_turn == first]
            pick = ties[int(self._rng.random() * len(ties))]
            ranking.remove(pick)
            ranking.insert(0, pick)
        return ranking


def _name(plugin: msgspec.Struct) -> str:
    return str(plugin.__struct_config__.tag)


def _has_line(plugin: Scorer) -> bool:
    return type(plugin).line is not Scorer.line
