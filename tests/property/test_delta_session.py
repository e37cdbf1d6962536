"""A model Envoy on the other end of a delta-xDS stream, answering in any order and with any mood."""

from collections import deque

import hypothesis.strategies as st
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from tests.xds_resources import content_of, wanted_of

from headgate.gateway.xds.events import Published, Requested, Response, Ticked
from headgate.gateway.xds.session import DeltaSession
from headgate.gateway.xds.versions import KINDS, Json, Kind, Resource, Wanted, difference

NAMES = ("a", "b", "c")
LINGER = 5.0

contents = st.fixed_dictionaries(
    {
        "clusters": st.dictionaries(st.sampled_from(NAMES), st.integers(0, 2)),
        "routes": st.dictionaries(st.sampled_from(("r1", "r2")), st.sets(st.sampled_from(NAMES))),
        "scopes": st.dictionaries(st.sampled_from(("s1", "s2")), st.sets(st.sampled_from(NAMES))),
        "endpoints": st.integers(0, 1),
        "bad": st.sets(st.sampled_from(NAMES), max_size=1),
    }
)


def make(content: dict[str, object]) -> Wanted:
    """A data plane whose routes name only clusters that it has, as the translator makes them."""
    clusters: dict[str, int] = content["clusters"]  # type: ignore[assignment]
    routes: dict[str, set[str]] = content["routes"]  # type: ignore[assignment]
    bad: set[str] = content["bad"]  # type: ignore[assignment]
    scopes: dict[str, set[str]] = content["scopes"]  # type: ignore[assignment]
    scoped: dict[str, Json] = {"l-scoped": {"scopedRoutes": {"name": "hosts"}}} if scopes else {}
    named = {name: sorted(of & clusters.keys()) for name, of in routes.items()}
    wanted: dict[str, dict[str, Json]] = {
        "cluster": {n: {"type": "EDS", "rev": r, "bad": n in bad} for n, r in clusters.items()},
        "endpoint": {n: {"clusterName": n, "rev": content["endpoints"]} for n in clusters},
        "route": {n: {"routes": [{"cluster": c} for c in of]} for n, of in named.items()},
        "scope": {
            n: {"routes": [{"cluster": c} for c in sorted(of & clusters.keys())]} for n, of in scopes.items()
        },
        "listener": {**{f"l-{n}": {"rds": {"routeConfigName": n}} for n in named}, **scoped},
    }
    return wanted_of(wanted)


class ModelEnvoy:
    """Holds what it accepted, subscribes as Envoy does, and fails when told to name what it lacks."""

    def __init__(self) -> None:
        self.has: dict[Kind, dict[str, Resource]] = {kind: {} for kind in KINDS}
        self.endpoints_fresh: set[str] = set()
        """Clusters whose present version has seen an endpoint message."""
        self.waiting: list[Requested] = []
        """Answers on clusters, kept back until every cluster is warm, as Envoy does."""
        self.ever_refused: set[str] = set()
        self.asked_for_scopes = False

    def warm(self, name: str) -> bool:
        return name in self.has["cluster"] and name in self.endpoints_fresh

    def take(self, response: Response) -> list[Requested]:
        """Apply a response; the subscriptions that follow from it, and the answers that are due."""
        bad = [each.name for each in response.changed if content_of(each).get("bad")]
        before = self._wanted()
        for each in response.changed:
            if each.name in bad:
                self.ever_refused.add(each.name)
                continue
            if each.kind in ("route", "scope"):
                for cluster in each.names_clusters:
                    assert self.warm(cluster) or cluster in self.ever_refused, (each.name, cluster)
            if each.kind == "cluster" and self.has["cluster"].get(each.name) != each:
                self.endpoints_fresh.discard(each.name)
            if each.kind == "endpoint":
                self.endpoints_fresh.add(each.name)
            self.has[each.kind][each.name] = each
        for name in response.removed:
            if response.kind == "cluster":
                users = [
                    each.name
                    for kind in ("route", "scope")
                    for each in self.has[kind].values()
                    if name in each.names_clusters
                ]
                assert not users, (name, users)
                self.endpoints_fresh.discard(name)
            if response.kind in ("cluster", "listener", "scope"):
                self.has[response.kind].pop(name, None)
            elif response.kind == "endpoint":
                self.endpoints_fresh.add(name)
        error = f"refused: {', '.join(bad)}" if bad else None
        self.waiting.append(Requested(kind=response.kind, nonce=response.nonce, error=error))
        return [*self._follow(before, self._wanted()), *self._scopes(), *self._answers()]

    def _takes_scopes(self) -> bool:
        return any(each.takes_scopes for each in self.has["listener"].values())

    def _scopes(self) -> list[Requested]:
        """The subscription to all scopes, once a listener needs them."""
        if self.asked_for_scopes or not self._takes_scopes():
            return []
        self.asked_for_scopes = True
        return [Requested(kind="scope")]

    def _answers(self) -> list[Requested]:
        warming = self.has["cluster"].keys() - self.endpoints_fresh
        ready = [each for each in self.waiting if each.kind != "cluster" or not warming]
        self.waiting = [each for each in self.waiting if each not in ready]
        return ready

    def _wanted(self) -> dict[Kind, set[str]]:
        return {
            "endpoint": set(self.has["cluster"]),
            "route": {name for each in self.has["listener"].values() for name in each.names_routes},
        }

    def _follow(self, before: dict[Kind, set[str]], after: dict[Kind, set[str]]) -> list[Requested]:
        requests: list[Requested] = []
        for kind in before:
            new, old = sorted(after[kind] - before[kind]), sorted(before[kind] - after[kind])
            for name in old:
                self.has[kind].pop(name, None)
            if new or old:
                requests.append(Requested(kind=kind, subscribe=tuple(new), unsubscribe=tuple(old)))
        return requests

    def connect(self) -> list[Requested]:
        """The first requests of a stream, with what is held from the one before."""
        wanted = self._wanted()
        self.waiting = []
        versions = {kind: {n: r.version for n, r in self.has[kind].items()} for kind in KINDS}
        first = [Requested(kind=kind, initial_versions=versions[kind]) for kind in ("cluster", "listener")]
        self.asked_for_scopes = self._takes_scopes()
        if self.asked_for_scopes:
            first.append(Requested(kind="scope", initial_versions=versions["scope"]))
        else:
            self.has["scope"] = {}
        for kind, names in wanted.items():
            if names:
                first.append(
                    Requested(kind=kind, subscribe=tuple(sorted(names)), initial_versions=versions[kind])
                )
        return first


class Stream(RuleBasedStateMachine):
    """Responses and requests travel in order within a kind, and wait as long as hypothesis likes."""

    @initialize(content=contents)
    def start(self, content: dict[str, object]) -> None:
        self.now = 0.0
        self.wanted = make(content)
        self.envoy = ModelEnvoy()
        self.reconnect()

    @rule()
    def reconnect(self) -> None:
        self.session = DeltaSession(self.wanted, linger_s=LINGER)
        self.to_envoy: deque[Response] = deque()
        self.to_session: deque[Requested] = deque(self.envoy.connect())

    @rule(content=contents)
    def publish(self, content: dict[str, object]) -> None:
        before, self.wanted = self.wanted, make(content)
        changes = difference(before, self.wanted)
        self.to_envoy.extend(self.session.handle(Published(changes), self.now))

    @precondition(lambda self: self.to_envoy)
    @rule()
    def envoy_reads(self) -> None:
        self.to_session.extend(self.envoy.take(self.to_envoy.popleft()))

    @precondition(lambda self: self.to_session)
    @rule()
    def session_reads(self) -> None:
        self.to_envoy.extend(self.session.handle(self.to_session.popleft(), self.now))

    @rule(wait=st.sampled_from((1.0, LINGER)))
    def time_passes(self, wait: float) -> None:
        self.now += wait
        self.to_envoy.extend(self.session.handle(Ticked(), self.now))

    @invariant()
    def one_response_of_a_kind_at_a_time(self) -> None:
        kinds = [response.kind for response in self.to_envoy]
        assert len(kinds) == len(set(kinds))

    def teardown(self) -> None:
        if not hasattr(self, "session"):
            return
        for _ in range(200):
            if self.to_session:
                self.session_reads()
            elif self.to_envoy:
                self.envoy_reads()
            elif self.session.wake_at is not None:
                self.time_passes(LINGER)
            else:
                break
        else:
            raise AssertionError("the stream never comes to rest")
        assert self.session.settled
        self.envoy_has_the_target()

    def envoy_has_the_target(self) -> None:
        bad = {name for name, each in self.wanted["cluster"].items() if content_of(each)["bad"]}
        for kind in KINDS:
            has = {n: r.version for n, r in self.envoy.has[kind].items() if n not in bad}
            wants = {n: r.version for n, r in self.wanted[kind].items() if n not in bad}
            assert has == wants, kind
        for cluster in self.envoy.has["cluster"]:
            assert self.envoy.warm(cluster)
        assert {problem.place.object for problem in self.session.problems} == {f"cluster {n}" for n in bad}


TestDeltaSession = Stream.TestCase
TestDeltaSession.settings = settings(
    max_examples=150, stateful_step_count=40, deadline=None, derandomize=True
)
