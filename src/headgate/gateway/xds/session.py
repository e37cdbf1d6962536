"""One delta-xDS stream as a pure state machine: what Envoy asked for and holds, what it should be sent next.

Order is the point. Nothing that Envoy holds may name something that it lacks, so a change travels in steps,
each begun when Envoy acknowledged the one before:

1. new and changed clusters and at once their endpoints (Envoy acknowledges a cluster when it has both);
2. routes and scopes, once every cluster that they name is acknowledged together with its endpoints;
3. listeners, once the clusters that they name are too (Envoy holds a listener back until its routes came);
4. removed scopes, once no listener looks for them and a linger later; Envoy has no other route for their
   hosts;
5. removed clusters, once nothing that Envoy holds names them, and a linger later: a request that waits in a
   filter looks its cluster up only after the wait.

A version that Envoy refuses is not sent again until its content changes, and holds nothing else up: routes
that name a refused cluster go out, and only requests to that cluster fail.

The work of an event is proportional to what it is about, not to what there is.
"""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from typing import assert_never

from headgate.gateway.xds.events import Event, Held, Published, Requested, Response, Ticked
from headgate.gateway.xds.subscription import Subscription
from headgate.gateway.xds.versions import KINDS, Kind, Resource, Wanted, apply
from headgate.model.problems import Place, Problem

MAX_RESOURCES = 500
"""Resources in one response: keeps messages far below gRPC's default limit of 4 MiB."""

REFUSED = "Envoy refused this version and keeps what it had: "
"""How what Envoy says of a resource begins."""

_ONE_BY_ONE: tuple[Kind, ...] = ("secret",)
"""Kinds that are sent in a response each. Envoy names no secret that it refuses, and says yes to one that it
refused when it comes again (seen with 1.40): its first word must be about that secret alone."""

_NAMING: tuple[Kind, ...] = ("route", "scope", "listener")
"""Kinds that name clusters that they need."""


class DeltaSession:
    """One ADS stream. `handle` takes every event in order; at most one response of a kind is in flight."""

    def __init__(self, wanted: Wanted, *, linger_s: float) -> None:
        """Lead Envoy to *wanted*; a removed cluster stays for *linger_s* seconds after its last use."""
        self._wanted: Wanted = {kind: dict(wanted[kind]) for kind in KINDS}
        self._linger_s = linger_s
        self._of: dict[Kind, Subscription] = {kind: Subscription(kind, self._wanted[kind]) for kind in KINDS}
        self._blocked: dict[str, dict[tuple[Kind, str], None]] = {}
        """Cluster → what waits for it. What waits is not in `pending`."""
        self._uses: Counter[str] = Counter()
        """Cluster → how many routes, scopes and listeners that Envoy holds name it."""
        self._unknown = 0
        """Routes, scopes and listeners that Envoy holds of which it is not known what they name."""
        self._unused_since: dict[str, float] = {}
        """Of clusters that leave and that nothing names."""
        self._unlooked_since: dict[str, float] = {}
        """Of scopes that leave, and that no listener looks for."""
        self._endpoint_of: dict[str, set[str]] = {}
        """Endpoint resource → wanted clusters that need it."""
        for each in self._wanted["cluster"].values():
            self._note_endpoints(each)
        self._nonces = 0
        self.looked_at = 0
        """Resources looked at so far: the cost of events, for tests."""
        self.wake_at: float | None = None
        """When to send `Ticked` (the caller's clock, seconds); None: not needed."""

    def handle(self, event: Event, now: float) -> list[Response]:
        """Take in *event*; the responses to send now, in order."""
        match event:
            case Requested():
                self._request(event)
            case Published():
                self._publish(event)
            case Ticked():
                pass
            case _:
                assert_never(event)
        return self._next(now)

    @property
    def settled(self) -> bool:
        """Whether Envoy acknowledged or refused every listener, route and scope, and all they name."""
        routes, refused = self._of["route"], self._of["listener"].refused
        # nobody asks for the routes of a listener that Envoy does not open
        listeners = [each for name, each in self._wanted["listener"].items() if name not in refused]
        return (
            self._of["cluster"].asked
            and self._of["listener"].asked
            and not self._blocked
            and not any(self._under_way(kind) for kind in KINDS)
            and not any(each.wants(name) for each in self._of.values() for name in each.pending)
            and all(routes.wants(name) for each in listeners for name in each.names_routes)
            and (self._of["scope"].asked or not any(each.takes_scopes for each in listeners))
        )

    @property
    def problems(self) -> tuple[Problem, ...]:
        """What Envoy refuses now, with its message."""
        found: list[Problem] = []
        for kind, subscription in self._of.items():
            for name, refusal in sorted(subscription.refused.items()):
                message = f"{REFUSED}{_words(refusal.message)}"
                found.append(Problem(Place(object=f"{kind} {name}"), "RefusedByEnvoy", message))
        return tuple(found)

    def held(self, kind: Kind) -> Mapping[str, str]:
        """Name → version of what Envoy acknowledged."""
        return {name: held.version for name, held in self._of[kind].held.items()}

    def count(self, kind: Kind) -> int:
        """How many resources of a kind Envoy acknowledged."""
        return len(self._of[kind].held)

    def _publish(self, event: Published) -> None:
        clusters = self._wanted["cluster"]
        for each in event.changes.changed:
            if each.kind == "cluster" and (before := clusters.get(each.name)) is not None:
                self._forget_endpoints(before)
        for kind, name in event.changes.removed:
            if kind == "cluster" and (before := clusters.get(name)) is not None:
                self._forget_endpoints(before)
        apply(self._wanted, event.changes)
        names: dict[Kind, list[str]] = {}
        for each in event.changes.changed:
            names.setdefault(each.kind, []).append(each.name)
            if each.kind == "cluster":
                self._note_endpoints(each)
        for kind, name in event.changes.removed:
            names.setdefault(kind, []).append(name)
        for kind, some in names.items():
            self.looked_at += len(some)
            self._of[kind].published(some)
            if kind in _NAMING:
                for name in some:
                    self._recognize(self._of[kind], name)
            if kind == "cluster":
                for name in some:
                    self._release(name)

    def _recognize(self, subscription: Subscription, name: str) -> None:
        """What Envoy brought along from an earlier stream may be what is wanted now."""
        held, wanted = subscription.held.get(name), subscription.wanted.get(name)
        if held is None or wanted is None or held.resource is not None or held.version != wanted.version:
            return
        subscription.held[name] = Held(held.version, wanted)
        self._use(None, -1)
        self._use(wanted, 1)

    def _request(self, event: Requested) -> None:
        subscription = self._of[event.kind]
        before = self._snapshot_of_uses(subscription, event)
        answered = subscription.answered(event.nonce, event.error) if event.nonce else ()
        dropped = subscription.request(event)
        self._count_uses(subscription, before)
        self.looked_at += len(answered) + len(dropped) + len(event.subscribe) + len(event.unsubscribe)
        for resource in answered:
            self._now_another(resource.kind, resource.name)
        for name in event.initial_versions:
            self._now_another(event.kind, name)
        for name in dropped:
            if event.kind == "cluster":
                self._release(name)

    def _now_another(self, kind: Kind, name: str) -> None:
        """Envoy has answered on a resource, or said that it has it: whoever waits for a cluster may go."""
        if kind == "cluster":
            self._release(name)
        elif kind == "endpoint":
            for cluster in self._endpoint_of.get(name, ()):
                self._release(cluster)

    def _release(self, cluster: str) -> None:
        for kind, name in self._blocked.pop(cluster, ()):
            self._of[kind].pending[name] = None

    def _snapshot_of_uses(
        self, subscription: Subscription, event: Requested
    ) -> dict[str, Resource | None] | None:
        """What the names that an event may change are held as, where they count as uses of clusters."""
        if subscription.kind not in _NAMING:
            return None
        sent = subscription.in_flight
        names = {each.name for each in sent.changed} if sent is not None else set()
        names.update(event.subscribe, event.unsubscribe, event.initial_versions)
        if not subscription.asked:
            names.update(subscription.held)
        return {
            name: held.resource for name in names if (held := subscription.held.get(name)) is not None
        } | {name: _NOT_HELD for name in names if name not in subscription.held}

    def _count_uses(self, subscription: Subscription, before: dict[str, Resource | None] | None) -> None:
        for name, old in (before or {}).items():
            held = subscription.held.get(name)
            new = _NOT_HELD if held is None else held.resource
            if new is not old:
                self._use(old, -1)
                self._use(new, 1)

    def _use(self, resource: Resource | None, times: int) -> None:
        if resource is None:
            self._unknown += times
            return
        for name in resource.names_clusters:
            self._uses[name] += times
            if not self._uses[name]:
                del self._uses[name]

    def _next(self, now: float) -> list[Response]:
        responses: list[Response] = []
        self._note_unused_clusters(now)
        self._note_unused_scopes(now)
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
        due: list[float] = []
        if self._of["cluster"].in_flight is None:  # its answer is an event
            due += self._unused_since.values()
        if self._of["scope"].in_flight is None:
            due += self._unlooked_since.values()
        self.wake_at = min(due) + self._linger_s if due else None
        return responses

    def _changes(self, subscription: Subscription) -> Response | None:
        together: list[Resource] = []
        single: Resource | None = None
        for name in tuple(subscription.pending):
            self.looked_at += 1
            resource = self._unsent(subscription, name)
            if resource is None:
                del subscription.pending[name]
                continue
            waits_for = self._waits_for(resource)
            if waits_for is not None:
                del subscription.pending[name]
                self._blocked.setdefault(waits_for, {})[subscription.kind, name] = None
            elif self._too_early(resource):
                continue
            elif name in subscription.alone:
                single = single or resource
            else:
                together.append(resource)
                if len(together) == (1 if subscription.kind in _ONE_BY_ONE else MAX_RESOURCES):
                    break
        chosen = together or ([single] if single is not None else [])
        if not chosen:
            return None
        for resource in chosen:
            del subscription.pending[resource.name]
            known = resource.name in subscription.held or resource.name in subscription.uncertain
            if resource.kind == "cluster" and known:
                endpoints = self._of["endpoint"]
                endpoints.resend |= resource.names_endpoints
                endpoints.pending.update(dict.fromkeys(resource.names_endpoints))
        return self._response(subscription.kind, changed=tuple(chosen))

    def _unsent(self, subscription: Subscription, name: str) -> Resource | None:
        """What Envoy should be sent of *name*; None: nothing."""
        if not subscription.wants(name):
            return None
        wanted = self._wanted[subscription.kind].get(name)
        if wanted is not None:
            return None if subscription.settled(name) else wanted
        if name in subscription.resend:  # left, while a change of its cluster, which still serves, needs it
            held = subscription.held.get(name)
            if held is not None and held.resource is not None:
                return held.resource
            subscription.lacking.add(name)  # its content is not known: Envoy is told that there is none
        return None

    def _nothing(self, subscription: Subscription) -> Response | None:
        """An empty first response, when Envoy waits for one and nothing is on its way."""
        if not subscription.owed or subscription.pending:
            return None
        if any(kind == subscription.kind for some in self._blocked.values() for kind, _ in some):
            return None
        return self._response(subscription.kind)

    def _too_early(self, resource: Resource) -> bool:
        """Endpoints that Envoy takes in before their changed cluster do not warm it: their turn comes after,
        so the cluster waits until none of them is on its way."""
        if resource.kind != "cluster":
            return False
        return any(sent.name in resource.names_endpoints for sent in self._under_way("endpoint"))

    def _waits_for(self, resource: Resource) -> str | None:
        """A cluster without which *resource* must not go."""
        if resource.kind not in _NAMING:
            return None
        known = self._wanted["cluster"]
        return next(
            (each for each in resource.names_clusters if each in known and not self._ready(each)), None
        )

    def _under_way(self, kind: Kind) -> tuple[Resource, ...]:
        sent = self._of[kind].in_flight
        return () if sent is None else sent.changed

    def _ready(self, name: str) -> bool:
        """Whether requests to the cluster can succeed in Envoy, or waiting any longer cannot help."""
        clusters, endpoints = self._of["cluster"], self._of["endpoint"]
        if not clusters.settled(name):
            return False
        held = clusters.held.get(name)
        if held is None:
            return True  # refused, and there is no older one: waiting would hold up the others
        return held.resource is None or all(
            endpoints.settled(each) or (each in endpoints.held and each not in endpoints.resend)
            for each in held.resource.names_endpoints
        )

    def _removals(self, subscription: Subscription, now: float) -> Response | None:
        gone: Collection[str] = ()
        match subscription.kind:
            case "listener":
                gone = subscription.leaving
            case "scope":
                gone = self._over(self._unlooked_since, now)
            case "cluster":
                gone = self._over(self._unused_since, now)
            case "secret" | "route" | "endpoint":
                # Envoy gives these up by itself, with what named them
                gone = subscription.lacking
            case _:
                assert_never(subscription.kind)
        if not gone:
            return None
        some = tuple(sorted(gone)[:MAX_RESOURCES])
        if subscription.kind in _NAMING:
            for name in some:
                held = subscription.held.get(name)
                self._use(_NOT_HELD if held is None else held.resource, -1)
        since = {"cluster": self._unused_since, "scope": self._unlooked_since}.get(subscription.kind, {})
        for name in some:
            since.pop(name, None)
        subscription.removed(some)
        return self._response(subscription.kind, removed=some)

    def _note_unused_clusters(self, now: float) -> None:
        """Since when each cluster that leaves is named by nothing that Envoy holds or is being sent."""
        leaving = self._of["cluster"].leaving
        if not leaving and not self._unused_since:
            return
        unused: Iterable[str] = ()
        if leaving and self._all_is_known():
            sent: set[str] = set()
            for kind in _NAMING:
                for each in (*self._under_way(kind), *self._of[kind].uncertain.values()):
                    sent |= each.names_clusters
            unused = [name for name in leaving if not self._uses[name] and name not in sent]
        self._unused_since = {name: self._unused_since.get(name, now) for name in unused}

    def _over(self, since: Mapping[str, float], now: float) -> list[str]:
        return [name for name, began in since.items() if now >= began + self._linger_s]

    def _note_unused_scopes(self, now: float) -> None:
        """Since when no listener of Envoy's looks for the scopes that leave: since it holds the listeners
        that are wanted. Its connections of before end a little later."""
        scopes, listeners = self._of["scope"], self._of["listener"]
        if not scopes.leaving and not self._unlooked_since:
            return
        held = {name: each.version for name, each in listeners.held.items()}
        at_rest = held == {name: each.version for name, each in self._wanted["listener"].items()}
        names = scopes.leaving if at_rest else ()
        self._unlooked_since = {name: self._unlooked_since.get(name, now) for name in names}

    def _all_is_known(self) -> bool:
        """Whether it is known what Envoy holds and what that names."""
        if self._unknown or not self._of["listener"].asked:
            return False
        held = [each.resource for each in self._of["listener"].held.values() if each.resource is not None]
        if not self._of["scope"].asked and any(each.takes_scopes for each in held):
            return False
        return self._of["route"].asked or not any(each.names_routes for each in held)

    def _note_endpoints(self, cluster: Resource) -> None:
        for each in cluster.names_endpoints:
            self._endpoint_of.setdefault(each, set()).add(cluster.name)

    def _forget_endpoints(self, cluster: Resource) -> None:
        for each in cluster.names_endpoints:
            self._endpoint_of.get(each, set()).discard(cluster.name)

    def _response(
        self, kind: Kind, *, changed: tuple[Resource, ...] = (), removed: tuple[str, ...] = ()
    ) -> Response:
        self._nonces += 1
        return Response(kind=kind, nonce=str(self._nonces), changed=changed, removed=removed)


_VALIDATION = "Proto constraint validation failed"


def _words(message: str) -> str:
    """What Envoy says, without the whole resource, which it shows before some of its reasons."""
    _, found, why = message.partition(_VALIDATION)
    return f"{found}{why}".strip() if found else message.strip()


_NOT_HELD = Resource(kind="route", name="", version="", body=b"")
"""Stands for a name that Envoy does not hold: it names no cluster."""
