"""Which endpoint lists which model name, and so who may serve a request for it."""

from collections.abc import Iterable

from headgate.model.load import ModelCard
from headgate.picker.member import Member
from headgate.scheduling.api import DOWN

NOBODY: frozenset[int] = frozenset()


def lengths(cards: Iterable[ModelCard]) -> dict[str, int]:
    """Model name → `max_model_len`; adapters have their base model's."""
    by_name = {card.id: card for card in cards}
    found = {}
    for name, card in by_name.items():
        parent = by_name.get(card.parent or "")
        length = card.max_model_len or (parent.max_model_len if parent is not None else None)
        if length:
            found[name] = length
    return found


class Listings:
    """The model lists of a pool's members, by name."""

    def __init__(self) -> None:
        self._homes: dict[str, frozenset[int]] = {}
        """Name → slots that list it."""
        self._told = False
        """Anybody's names are known."""
        self._untold: tuple[Member, ...] = ()
        """Members whose names are not known, or not any more."""
        self.aliases: dict[str, str] = {}
        """Name → the first one of the same base model (its card has the same `root`), where there are
        several."""
        self._joined: frozenset[int] = NOBODY
        """Slots of engines that also take `BASE:ADAPTER` for an adapter."""

    def collect(self, members: Iterable[Member]) -> None:
        """Take in what these members, all there are, have told."""
        homes: dict[str, set[int]] = {}
        untold = []
        joined = set()
        self._told = False
        roots: dict[str, set[str]] = {}
        for member in members:
            slot = member.state.slot
            if member.knows_models:
                self._told = True
            else:
                untold.append(member)
            for card in member.models:
                homes.setdefault(card.id, set()).add(slot)
                if card.parent is None and card.root:
                    roots.setdefault(card.root, set()).add(card.id)
                if card.owned_by == "sglang":
                    joined.add(slot)
        self._homes = {name: frozenset(slots) for name, slots in homes.items()}
        self._untold = tuple(untold)
        self.aliases = {}
        for names in roots.values():
            if len(names) > 1:
                self.aliases.update(dict.fromkeys(names, min(names)))
        self._joined = frozenset(joined)

    def may_serve(self, name: str | None) -> frozenset[int] | None:
        """Slots of the endpoints that may have the model; None: nothing speaks against anyone.

        Those that list the name, where anybody does. Else those that have not told, unless they are down
        too; empty: all have told, and none lists it.
        """
        if name is None or not self._told:
            return None
        found = self._homes.get(name)
        if found is None and self._joined and ":" in name:
            found = self._homes.get(name.rpartition(":")[0], NOBODY) & self._joined or None
        if found is not None:
            return found
        if not self._untold:
            return NOBODY
        slots = [member.state.slot for member in self._untold if member.state.severity < DOWN]
        return frozenset(slots) if slots else None
