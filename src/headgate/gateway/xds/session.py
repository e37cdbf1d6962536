"""One delta-xDS stream as a pure state machine: what Envoy asked for and holds, what it should be sent next.

Order is the point. Nothing that Envoy holds may name something that it lacks, so a change travels in steps,
each begun when Envoy acknowledged the one before:

1. new and changed clusters and at once their endpoints (Envoy acknowledges a cluster when it has both);
2. routes, once every cluster that they name is acknowledged together with its endpoints;
3. listeners, once the clusters that they name are too (Envoy holds a listener back until its routes came);
4. removed clusters, once nothing that Envoy holds names them, and a linger later: a request that waits in a
   filter looks its cluster up only after the wait.

A version that Envoy refuses is not sent again until its content changes, and holds nothing else up: routes
that name a refused cluster go out, and only requests to that cluster fail.
"""

import re
from collections.abc import Iterable, Mapping
from typing import assert_never

import msgspec

from headgate.gateway.xds.versions import KINDS, Kind, Resource, Target
from headgate.model.problems import Place, Problem

MAX_RESOURCES = 500
"""Resources in one response: keeps messages far below gRPC's default limit of 4 MiB."""


class Requested(msgspec.Struct, frozen=True, kw_only=True):
    """A DeltaDiscoveryRequest: a subscription change, an acknowledgement or a refusal, or several at once."""

    kind: Kind
    subscribe: tuple[str, ...] = ()
    unsubscribe: tuple[str, ...] = ()
    initial_versions: Mapping[str, str] = msgspec.field(default_factory=dict)
    """Name → version that Envoy holds from an earlier stream; in the first request of a kind only."""
    nonce: str = ""
    error: str | None = None
    """Envoy's message when it refuses the response with this nonce."""


class Published(msgspec.Struct, frozen=True):
    """The resources as they should be from now on."""

    target: Target


class Ticked(msgspec.Struct, frozen=True):
    """Time passed; send one at `DeltaSession.wake_at`."""


Event = Requested | Published | Ticked


class Response(msgspec.Struct, frozen=True, kw_only=True):
    """A DeltaDiscoveryResponse to send."""

    kind: Kind
    nonce: str
    changed: tuple[Resource, ...] = ()
    removed: tuple[str, ...] = ()


class Refusal(msgspec.Struct, frozen=True):
    """A resource version that Envoy refused, and why."""

    version: str
    message: str


class _Subscription:
    """One kind of resource on the stream: what Envoy wants, what it holds, what it refused."""

    def __init__(self, kind: Kind) -> None:
        self.kind = kind
        self.asked = False
        self.wildcard = False
        self.names: set[str] = set()
        self.held: dict[str, str] = {}
        self.absent: set[str] = set()
        """Names that Envoy asked for and was told do not exist."""
        self.refused: dict[str, Refusal] = {}
        self.alone: set[str] = set()
        """Sent one by one, because Envoy refused a response without saying which resource was wrong."""
        self.resend: set[str] = set()
        self.uncertain: dict[str, Resource] = {}
        """Sent beside something that was refused: Envoy may have taken it or not."""
        self.in_flight: Response | None = None
        self.owed = False
        """Envoy's start waits for a first word on this kind, be it that there is nothing."""

    def wants(self, name: str) -> bool:
        return self.wildcard or name in self.names

    def settled(self, name: str, target: Resource | None) -> bool:
        """Whether Envoy acknowledged or refused exactly this version of *name*."""
        if target is None:
            return True
        refusal = self.refused.get(name)
        if refusal is not None and refusal.version == target.version:
            return True
        doubtful = name in self.resend or name in self.uncertain
        return self.held.get(name) == target.version and not doubtful

    def request(self, event: Requested) -> None:
        first, self.asked = not self.asked, True
        if first:
            self.held = dict(event.initial_versions)
            self.wildcard = self.kind in ("cluster", "listener") and not event.subscribe
            self.owed = self.kind in ("cluster", "listener") and not event.initial_versions
        for name in event.unsubscribe:
            if name == "*":
                self.wildcard = False
            self.names.discard(name)
            if not self.wildcard:
                self._forget(name)
        for name in event.subscribe:
            if name == "*":
                self.wildcard = True
                continue
            self.names.add(name)
            self.absent.discard(name)
            if not (first and name in event.initial_versions):
                self.held.pop(name, None)
        if not self.wildcard:
            for name in self.held.keys() - self.names:
                self._forget(name)

    def _forget(self, name: str) -> None:
        self.held.pop(name, None)
        self.absent.discard(name)
        self.resend.discard(name)
        self.refused.pop(name, None)
        self.uncertain.pop(name, None)

    def answered(self, nonce: str, error: str | None) -> None:
        """Envoy's word on the response in flight; anything about another response is stale."""
        sent = self.in_flight
        if sent is None or nonce != sent.nonce:
            return
        self.in_flight = None
        if error is None:
            for resource in sent.changed:
                self._hold(resource)
            return
        names = [resource.name for resource in sent.changed]
        blamed = set(names) if len(names) == 1 else _named(names, error)
        if not blamed:
            self.alone.update(names)
        for resource in sent.changed:
            if resource.name in blamed:
                self.refused[resource.name] = Refusal(resource.version, error)
                self.alone.discard(resource.name)
                self.resend.discard(resource.name)
            else:
                self.uncertain[resource.name] = resource

    def _hold(self, resource: Resource) -> None:
        if self.wants(resource.name):
            self.held[resource.name] = resource.version
        self.refused.pop(resource.name, None)
        self.uncertain.pop(resource.name, None)
        self.alone.discard(resource.name)
        self.resend.discard(resource.name)

    def surplus(self, target: Mapping[str, Resource]) -> set[str]:
        """What Envoy holds, or may hold, and should not."""
        return (self.held.keys() | self.uncertain.keys()) - target.keys()

    def unsent(self, target: Mapping[str, Resource]) -> list[Resource]:
        """What Envoy wants, lacks and did not refuse."""
        names: Iterable[str] = target if self.wildcard else sorted(self.names & target.keys())
        return [target[name] for name in names if not self.settled(name, target[name])]


class DeltaSession:
    """One ADS stream. `handle` takes every event in order; at most one response of a kind is in flight."""

    def __init__(self, target: Target, *, linger_s: float) -> None:
        """Lead Envoy to *target*; a removed cluster stays for *linger_s* seconds after its last use."""
        self._target = target
        self._linger_s = linger_s
        self._of: dict[Kind, _Subscription] = {kind: _Subscription(kind) for kind in KINDS}
        self._known: dict[tuple[Kind, str, str], Resource] = {}
        """Content by kind, name, version of everything sent or held: to know what Envoy's copy names."""
        self._unused_since: dict[str, float] = {}
        self._nonces = 0
        self.wake_at: float | None = None
        """When to send `Ticked` (the caller's clock, seconds); None: not needed."""

    def handle(self, event: Event, now: float) -> list[Response]:
        """Take in *event*; the responses to send now, in order."""
        match event:
            case Requested():
                subscription = self._of[event.kind]
                if event.nonce:
                    subscription.answered(event.nonce, event.error)
                subscription.request(event)
            case Published():
                self._target = event.target
            case Ticked():
                pass
            case _:
                assert_never(event)
        self._tidy()
        return self._next(now)

    @property
    def settled(self) -> bool:
        """Whether Envoy acknowledged or refused every listener and route, and all they name."""
        clusters, listeners = self._target.of("cluster"), self._target.of("listener")
        asked = self._of["cluster"].asked and self._of["listener"].asked
        routes = {name for listener in listeners.values() for name in listener.names_routes}
        return (
            asked
            and all(self._of["listener"].settled(name, listener) for name, listener in listeners.items())
            and all(self._of["route"].settled(name, self._target.of("route").get(name)) for name in routes)
            and all(self._cluster_ready(name) for name in clusters)
        )

    @property
    def problems(self) -> tuple[Problem, ...]:
        """What Envoy refuses now, with its message."""
        found: list[Problem] = []
        for kind, subscription in self._of.items():
            for name, refusal in sorted(subscription.refused.items()):
                message = f"Envoy refused this version and keeps what it had: {refusal.message}"
                found.append(Problem(Place(object=f"{kind} {name}"), "RefusedByEnvoy", message))
        return tuple(found)

    def held(self, kind: Kind) -> Mapping[str, str]:
        """Name → version of what Envoy acknowledged."""
        return dict(self._of[kind].held)

    def _tidy(self) -> None:
        """Drop what the target makes pointless: refusals of old content, and content that nobody holds."""
        in_use: set[tuple[Kind, str, str]] = set()
        for kind, subscription in self._of.items():
            target = self._target.of(kind)
            for name, refusal in list(subscription.refused.items()):
                if name not in target or target[name].version != refusal.version:
                    del subscription.refused[name]
            subscription.alone &= target.keys()
            subscription.resend &= target.keys() | subscription.held.keys()
            subscription.absent -= target.keys()
            in_use.update((kind, name, version) for name, version in subscription.held.items())
            for name, resource in target.items():
                key = (kind, name, resource.version)
                if subscription.held.get(name) == resource.version:
                    self._known[key] = resource
            if subscription.in_flight is not None:
                in_use.update((kind, sent.name, sent.version) for sent in subscription.in_flight.changed)
        self._known = {key: resource for key, resource in self._known.items() if key in in_use}

    def _next(self, now: float) -> list[Response]:
        responses: list[Response] = []
        self._note_unused_clusters(now)
        for kind in KINDS:
            subscription = self._of[kind]
            if not subscription.asked or subscription.in_flight is not None:
                continue
            response = (
                self._changes(subscription)
                or self._removals(subscription, now)
                or self._nothing(subscription)
            )
            if response is not None:
                subscription.in_flight, subscription.owed = response, False
                responses.append(response)
        removable = self._unused_since.keys() & self._of["cluster"].surplus(self._target.of("cluster"))
        due = min((self._unused_since[name] for name in removable), default=None)
        busy = self._of["cluster"].in_flight is not None
        self.wake_at = None if due is None or busy else due + self._linger_s
        return responses

    def _changes(self, subscription: _Subscription) -> Response | None:
        unsent = subscription.unsent(self._target.of(subscription.kind)) + self._left_warming(subscription)
        allowed = [resource for resource in unsent if self._may_go(resource)]
        together = [resource for resource in allowed if resource.name not in subscription.alone]
        chosen = together[:MAX_RESOURCES] or allowed[:1]
        if not chosen:
            return None
        for resource in chosen:
            self._known[subscription.kind, resource.name, resource.version] = resource
            if resource.kind == "cluster" and resource.name in subscription.held:
                self._of["endpoint"].resend |= resource.names_endpoints
        return self._response(subscription.kind, changed=tuple(chosen))

    def _left_warming(self, subscription: _Subscription) -> list[Resource]:
        """Endpoints that left the target while a change of their cluster, which still serves, needs them."""
        lost = subscription.resend - self._target.of(subscription.kind).keys()
        held = ((subscription.kind, name, subscription.held.get(name, "")) for name in sorted(lost))
        return [self._known[key] for key in held if key in self._known]

    def _nothing(self, subscription: _Subscription) -> Response | None:
        """An empty first response, when Envoy waits for one and nothing is on its way."""
        if not subscription.owed or subscription.unsent(self._target.of(subscription.kind)):
            return None
        return self._response(subscription.kind)

    def _may_go(self, resource: Resource) -> bool:
        match resource.kind:
            case "cluster":
                # endpoints that Envoy takes in before the cluster do not warm it: their turn comes after
                return all(sent.name not in resource.names_endpoints for sent in self._under_way("endpoint"))
            case "endpoint":
                # never held back: Envoy acknowledges clusters only when their endpoints have come
                return True
            case "route" | "listener":
                known = self._target.of("cluster")
                return all(self._cluster_ready(name) for name in resource.names_clusters if name in known)
            case _:
                assert_never(resource.kind)

    def _under_way(self, kind: Kind) -> tuple[Resource, ...]:
        sent = self._of[kind].in_flight
        return () if sent is None else sent.changed

    def _cluster_ready(self, name: str) -> bool:
        """Whether requests to the cluster can succeed in Envoy, or waiting any longer cannot help."""
        clusters, endpoints = self._of["cluster"], self._of["endpoint"]
        if not clusters.settled(name, self._target.of("cluster")[name]):
            return False
        if name not in clusters.held:
            return True  # refused, and there is no older one: waiting would hold up the others
        held = self._known.get(("cluster", name, clusters.held[name]))
        target = self._target.of("endpoint")
        return held is None or all(
            endpoints.settled(each, target.get(each))
            or (each in endpoints.held and each not in endpoints.resend)
            for each in held.names_endpoints
        )

    def _removals(self, subscription: _Subscription, now: float) -> Response | None:
        target = self._target.of(subscription.kind)
        gone: list[str] = []
        match subscription.kind:
            case "listener":
                gone = list(subscription.surplus(target))
            case "cluster":
                gone = [name for name, since in self._unused_since.items() if now >= since + self._linger_s]
            case "route" | "endpoint":
                # Envoy gives these up by itself, with the listener or cluster that named them
                lacking = subscription.names - subscription.held.keys() - subscription.absent
                gone = [name for name in lacking if name not in target]
            case _:
                assert_never(subscription.kind)
        if not gone:
            return None
        gone = sorted(gone)[:MAX_RESOURCES]
        for name in gone:  # nothing can be wrong with a removal: it is done whatever Envoy says
            subscription.held.pop(name, None)
            subscription.uncertain.pop(name, None)
            subscription.absent.add(name)
        return self._response(subscription.kind, removed=tuple(gone))

    def _note_unused_clusters(self, now: float) -> None:
        """Since when each cluster that has left the target is named by nothing that Envoy holds."""
        surplus = self._of["cluster"].surplus(self._target.of("cluster"))
        named = self._named_by_envoy() if surplus else None
        unused = surplus - named if named is not None else frozenset[str]()
        self._unused_since = {name: self._unused_since.get(name, now) for name in unused}

    def _named_by_envoy(self) -> set[str] | None:
        """Clusters named by what Envoy holds or is being sent; None when it holds something we never saw."""
        named: set[str] = set()
        for kind in KINDS:
            subscription = self._of[kind]
            if not subscription.asked and (
                kind == "listener" or (kind == "route" and self._routes_to_come())
            ):
                return None
            for sent in (*self._under_way(kind), *subscription.uncertain.values()):
                named |= sent.names_clusters
            for name, version in subscription.held.items():
                resource = self._known.get((kind, name, version))
                if resource is not None:
                    named |= resource.names_clusters
                elif kind in ("listener", "route"):
                    return None
        return named

    def _routes_to_come(self) -> bool:
        """Whether Envoy holds listeners that make it ask for routes."""
        held = self._of["listener"].held.items()
        known = [self._known.get(("listener", name, version)) for name, version in held]
        return any(listener is None or listener.names_routes for listener in known)

    def _response(
        self, kind: Kind, *, changed: tuple[Resource, ...] = (), removed: tuple[str, ...] = ()
    ) -> Response:
        self._nonces += 1
        return Response(kind=kind, nonce=str(self._nonces), changed=changed, removed=removed)


def _named(names: Iterable[str], message: str) -> set[str]:
    """Which of *names* stand in the message as whole words."""
    return {name for name in names if re.search(rf"(?<![\w./:-]){re.escape(name)}(?![\w/-]|[.:]\w)", message)}
