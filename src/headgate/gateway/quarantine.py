"""Which object makes what Envoy refuses: it is found by trying halves, named, and left out.

Pure: whoever runs it hands over what the source says, applies the changes that come back, and tells whether
Envoy has taken everything that these made, or what it said. Objects that Envoy took stay; one that it refused
is served as it was before, if it was, until it changes.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence

import msgspec

from headgate.model.change import Change
from headgate.model.meta import Identity, KubeObject
from headgate.model.objects import (
    AccessPolicy,
    BackendAuthPolicy,
    BackendTLSPolicy,
    ConfigMap,
    Gateway,
    GRPCRoute,
    HTTPRoute,
    InferencePool,
    InferencePoolX,
    ListenerSet,
    ReferenceGrant,
    Secret,
)
from headgate.model.problems import Problem

SUSPECTS: tuple[type[KubeObject], ...] = (
    ReferenceGrant,
    Gateway,
    ListenerSet,
    InferencePool,
    InferencePoolX,
    ConfigMap,
    Secret,
    BackendTLSPolicy,
    BackendAuthPolicy,
    AccessPolicy,
    GRPCRoute,
    HTTPRoute,
)
"""Kinds that may be left out, in the order in which they are tried: what others hang on comes first, since of
two that Envoy refuses together the later one is named. All others (endpoints, Services) pass by at once."""


_RANKS = {(each.GROUP, each.KIND): rank for rank, each in enumerate(SUSPECTS)}
"""(group, kind) → place in that order."""


class Held(msgspec.Struct, frozen=True):
    """An object that is not served as it is."""

    object: KubeObject
    message: str
    """Envoy's."""
    served_before: bool
    """What it was before is served on."""


class Quarantine:
    """What of the source's objects Envoy is given."""

    def __init__(self) -> None:
        self._good: dict[Identity, KubeObject] = {}
        """What Envoy took, of the kinds that may be left out."""
        self._fresh: dict[Identity, KubeObject | None] = {}
        """What the source says otherwise; None: it is gone. Not yet judged."""
        self._groups: list[list[Identity]] = []
        """Parts of `_fresh` that are to be tried, the next one last; empty: all of it is given."""
        self._later: dict[Identity, KubeObject | None] = {}
        """What changed while halves are tried."""
        self._held: dict[Identity, Held] = {}

    @property
    def trying(self) -> bool:
        """Halves are being tried: what is given is not all that the source says."""
        return bool(self._groups)

    @property
    def held(self) -> Mapping[Identity, Held]:
        """What is not served as it is."""
        return self._held

    @property
    def problems(self) -> tuple[Problem, ...]:
        """What is left out, and why."""
        return tuple(
            Problem(
                held.object.place(),
                "RefusedByEnvoy",
                f"Envoy refuses what this makes: {held.message}; "
                + ("what it was before is served on" if held.served_before else "it is left out"),
            )
            for _, held in sorted(self._held.items())
        )

    def said(self, changes: Iterable[Change]) -> list[Change]:
        """Changes of the source → those to be applied now. An object that was left out is tried again."""
        now: list[Change] = []
        for each in changes:
            if (each.identity.group, each.identity.kind) not in _RANKS:
                now.append(each)
            elif self.trying:
                self._later[each.identity] = each.object
            else:
                self._held.pop(each.identity, None)
                self._fresh[each.identity] = each.object
                now.append(each)
        return now

    def taken(self) -> list[Change]:
        """Envoy has taken all that it was given: changes to be applied next."""
        if not self.trying:
            self._keep(self._fresh)
            self._fresh = {}
            return []
        group = self._groups.pop()
        self._keep({each: self._fresh.pop(each) for each in group})
        return self._go_on()

    def refused(self, message: str, made_of: Collection[Identity]) -> list[Change]:
        """Envoy has refused a resource that was *made_of* these objects: changes to be applied next."""
        if not self.trying:
            suspects = [each for each in self._fresh if each in made_of] or list(self._fresh)
            if not suspects:
                return []
            ranked = ((_RANKS[each.group, each.kind], each) for each in suspects)
            self._groups = [[each for _, each in sorted(ranked)]]
        group = self._groups.pop()
        undone = [Change(each, self._good.get(each)) for each in group]
        if len(group) == 1:
            found = self._fresh.pop(group[0])
            if found is not None:
                self._held[group[0]] = Held(found, message.strip()[:500], group[0] in self._good)
        else:
            half = len(group) // 2
            self._groups += [group[half:], group[:half]]
        return _merged(undone, self._go_on())

    def _go_on(self) -> list[Change]:
        """What is tried next, or what came in the meantime."""
        if self.trying:
            return [Change(each, self._fresh[each]) for each in self._groups[-1]]
        later, self._later = self._later, {}
        return self.said(Change(identity, found) for identity, found in later.items())

    def _keep(self, some: Mapping[Identity, KubeObject | None]) -> None:
        for identity, found in some.items():
            if found is None:
                self._good.pop(identity, None)
            else:
                self._good[identity] = found


def _merged(first: Sequence[Change], then: Sequence[Change]) -> list[Change]:
    """Both, the later of two for one object."""
    return list({each.identity: each for each in (*first, *then)}.values())
