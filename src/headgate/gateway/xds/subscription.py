"""One kind of resource on a delta-xDS stream: what Envoy wants, what it holds, what it refused.

Nothing here looks at all resources after the start: `pending`, `leaving` and `lacking` name what there may be
to do, and each event adds to them only what it is about.
"""

from collections.abc import Iterable, Mapping

from headgate.gateway.xds.events import Held, Refusal, Requested, Response, blamed_by
from headgate.gateway.xds.versions import Kind, Resource

WILDCARD: frozenset[Kind] = frozenset(("cluster", "scope", "listener"))
"""Kinds that Envoy asks for without names, and of which it waits for a first word at its start."""


class Subscription:
    """State of one kind. The session decides what goes when."""

    def __init__(self, kind: Kind, wanted: Mapping[str, Resource]) -> None:
        """*wanted* is the session's, and changes under way."""
        self.kind = kind
        self.wanted = wanted
        self.asked = False
        self.wildcard = False
        self.names: set[str] = set()
        self.held: dict[str, Held] = {}
        self.pending: dict[str, None] = {}
        """Names of which Envoy may need a message; every wanted name that is not settled is here or waits for
        a cluster."""
        self.leaving: set[str] = set()
        """Names that Envoy holds, or may hold, and that are wanted no longer."""
        self.lacking: set[str] = set()
        """Names that Envoy asked for, that do not exist, and of which it was not told so."""
        self.refused: dict[str, Refusal] = {}
        self.alone: set[str] = set()
        """Sent one by one, because Envoy refused a response without saying which resource was wrong."""
        self.resend: set[str] = set()
        """To be sent again although Envoy holds them."""
        self.uncertain: dict[str, Resource] = {}
        """Sent beside something that was refused: Envoy may have taken it or not."""
        self.in_flight: Response | None = None
        self.owed = False
        """Envoy's start waits for a first word on this kind."""

    def wants(self, name: str) -> bool:
        """Whether Envoy asked for it."""
        return self.wildcard or name in self.names

    def settled(self, name: str) -> bool:
        """Whether Envoy acknowledged or refused what is wanted of *name*."""
        wanted = self.wanted.get(name)
        if wanted is None:
            return name not in self.resend
        refusal = self.refused.get(name)
        if refusal is not None and refusal.resource.version == wanted.version:
            return True
        held = self.held.get(name)
        doubtful = name in self.resend or name in self.uncertain
        return held is not None and held.version == wanted.version and not doubtful

    def published(self, names: Iterable[str]) -> None:
        """These names are wanted in another form, or no longer."""
        for name in names:
            refusal, wanted = self.refused.get(name), self.wanted.get(name)
            if refusal is not None and (wanted is None or wanted.version != refusal.resource.version):
                del self.refused[name]
            if wanted is not None:
                self.pending[name] = None
                self.leaving.discard(name)
                self.lacking.discard(name)
                continue
            self.pending.pop(name, None)
            self.alone.discard(name)
            if name in self.held or name in self.uncertain:
                self.leaving.add(name)
                if name in self.resend:
                    self.pending[name] = None
            elif name in self.names:
                self.lacking.add(name)

    def request(self, event: Requested) -> list[str]:
        """Take in what Envoy asks for and gives up; the names that it no longer holds."""
        first, self.asked = not self.asked, True
        dropped: list[str] = []
        if first:
            for name, version in event.initial_versions.items():
                wanted = self.wanted.get(name)
                known = wanted if wanted is not None and wanted.version == version else None
                self.held[name] = Held(version, known)
            self.wildcard = self.kind in WILDCARD and not event.subscribe
            self.owed = self.kind in WILDCARD and not event.initial_versions
        for name in event.unsubscribe:
            if name == "*":
                self.wildcard = False
            self.names.discard(name)
            if not self.wildcard:
                dropped += self._forget(name)
        for name in event.subscribe:
            if name == "*":
                self.wildcard = True
                self.pending.update(dict.fromkeys(self.wanted))
                continue
            self.names.add(name)
            if not (first and name in event.initial_versions) and self.held.pop(name, None) is not None:
                dropped.append(name)
            self._ask(name)
        if first:
            if self.wildcard:
                self.pending.update(dict.fromkeys(self.wanted))
            else:
                for name in self.held.keys() - self.names:
                    dropped += self._forget(name)
            self.leaving.update(self.held.keys() - self.wanted.keys())
        return dropped

    def _ask(self, name: str) -> None:
        if name in self.wanted or (name in self.resend and name in self.held):
            self.pending[name] = None
        elif name not in self.held:
            self.lacking.add(name)

    def _forget(self, name: str) -> list[str]:
        held = self.held.pop(name, None)
        for some in (self.resend, self.leaving, self.lacking):
            some.discard(name)
        self.refused.pop(name, None)
        self.uncertain.pop(name, None)
        self.pending.pop(name, None)
        return [name] if held is not None else []

    def answered(self, nonce: str, error: str | None) -> tuple[Resource, ...]:
        """Envoy's word on the response in flight; what it was about. Words on another response are stale."""
        sent = self.in_flight
        if sent is None or nonce != sent.nonce:
            return ()
        self.in_flight = None
        if error is None:
            for resource in sent.changed:
                self._hold(resource)
            return sent.changed
        names = [resource.name for resource in sent.changed]
        blamed = set(names) if len(names) == 1 else blamed_by(names, error)
        if not blamed:
            self.alone.update(names)
        for resource in sent.changed:
            name = resource.name
            wanted = self.wanted.get(name)
            if name not in blamed:
                self.uncertain[name] = resource
                self.pending[name] = None
                if wanted is None:
                    self.leaving.add(name)
                continue
            self.alone.discard(name)
            self.resend.discard(name)
            if wanted is not None and wanted.version == resource.version:
                self.refused[name] = Refusal(resource, error)
            else:
                self.pending[name] = None
        return sent.changed

    def _hold(self, resource: Resource) -> None:
        name = resource.name
        if self.wants(name):
            self.held[name] = Held(resource.version, resource)
            if name not in self.wanted:
                self.leaving.add(name)
        self.refused.pop(name, None)
        self.uncertain.pop(name, None)
        self.alone.discard(name)
        self.resend.discard(name)
        if not self.settled(name):
            self.pending[name] = None

    def removed(self, names: Iterable[str]) -> None:
        """Envoy is told that these are gone. Nothing can be wrong with a removal: it is done, whatever it
        says."""
        for name in names:
            self.held.pop(name, None)
            self.uncertain.pop(name, None)
            for some in (self.leaving, self.lacking, self.resend):
                some.discard(name)
