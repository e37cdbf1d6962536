"""Scripts over one delta-xDS stream: what Envoy says, and exactly what it must be sent next."""

from collections.abc import Mapping

import pytest
from tests.xds_resources import content_of, made, wanted_of

from headgate.gateway.xds.events import Published, Requested, Response, Ticked
from headgate.gateway.xds.session import DeltaSession
from headgate.gateway.xds.versions import KINDS, Json, Kind, Wanted, difference, nothing

LINGER = 10.0


def cluster(revision: int = 0) -> Json:
    return {"type": "EDS", "connectTimeout": f"{revision}s"}


def route(*clusters: str) -> Json:
    return {"virtualHosts": [{"routes": [{"route": {"cluster": name}} for name in clusters]}]}


LISTENER: Json = {"filterChains": [{"filters": [{"typedConfig": {"rds": {"routeConfigName": "r"}}}]}]}


def goal(clusters: Mapping[str, Json], routes: Json, listener: Json = LISTENER) -> Wanted:
    endpoints = {name: {"clusterName": name} for name in clusters}
    return wanted_of(
        {"cluster": clusters, "endpoint": endpoints, "route": {"r": routes}, "listener": {"l": listener}}
    )


class Stream:
    """A session with a client that can be scripted in a line."""

    def __init__(self, wanted: Wanted) -> None:
        self.session = DeltaSession(wanted, linger_s=LINGER)
        self.wanted = wanted
        self.now = 0.0
        self.nonces: dict[str, str] = {}

    def _short(self, responses: list[Response]) -> list[str]:
        for response in responses:
            self.nonces[response.kind] = response.nonce
        return [
            f"{each.kind} {' '.join([*(r.name for r in each.changed), *('-' + n for n in each.removed)])}"
            for each in responses
        ]

    def ask(self, kind: Kind, *names: str, has: Mapping[str, str] | None = None) -> list[str]:
        asked = Requested(kind=kind, subscribe=names, initial_versions=has or {})
        return self._short(self.session.handle(asked, self.now))

    def leave(self, kind: Kind, *names: str) -> list[str]:
        return self._short(self.session.handle(Requested(kind=kind, unsubscribe=names), self.now))

    def ack(self, kind: Kind, error: str | None = None) -> list[str]:
        nonce = self.nonces.pop(kind)
        return self._short(self.session.handle(Requested(kind=kind, nonce=nonce, error=error), self.now))

    def publish(self, wanted: Wanted) -> list[str]:
        changes, self.wanted = difference(self.wanted, wanted), wanted
        return self._short(self.session.handle(Published(changes), self.now))

    def tick(self, now: float) -> list[str]:
        self.now = now
        return self._short(self.session.handle(Ticked(), now))


def started(wanted: Wanted) -> Stream:
    """A stream whose Envoy has everything."""
    stream = Stream(wanted)
    stream.ask("cluster")
    stream.ask("endpoint", *wanted["cluster"])
    stream.ask("listener")
    stream.ask("route", "r")
    for _ in range(4):
        for kind in list(stream.nonces):
            stream.ack(kind)  # type: ignore[arg-type]
    assert stream.session.settled
    return stream


def test_a_start_goes_clusters_endpoints_then_listeners_and_routes() -> None:
    stream = Stream(goal({"a": cluster()}, route("a")))
    assert stream.ask("cluster") == ["cluster a"]
    assert stream.ask("route", "r") == []
    assert stream.ask("listener") == ["listener l"]  # names no cluster itself
    assert stream.ask("endpoint", "a") == ["endpoint a"]  # Envoy asks before it acknowledges
    assert stream.ack("endpoint") == []
    assert stream.ack("cluster") == ["route r"]
    assert not stream.session.settled
    assert stream.ack("route") == []
    assert stream.ack("listener") == []
    assert stream.session.settled


def test_an_empty_start_is_answered_so_that_envoy_does_not_wait() -> None:
    stream = Stream(nothing())
    assert stream.ask("cluster") == ["cluster "]
    assert stream.ask("listener") == ["listener "]
    assert stream.ack("cluster") == []
    assert Stream(nothing()).ask("cluster", has={"a": "1"}) == []


def test_only_what_changed_is_sent() -> None:
    stream = started(goal({"a": cluster(), "b": cluster()}, route("a")))
    assert stream.publish(goal({"a": cluster(), "b": cluster()}, route("a"))) == []
    assert stream.publish(goal({"a": cluster(), "b": cluster()}, route("b"))) == ["route r"]


def test_a_new_cluster_arrives_before_the_route_that_names_it() -> None:
    stream = started(goal({"a": cluster()}, route("a")))
    assert stream.publish(goal({"a": cluster(), "b": cluster()}, route("b"))) == ["cluster b"]
    assert stream.ack("cluster") == []
    assert stream.ask("endpoint", "b") == ["endpoint b"]
    assert stream.ack("endpoint") == ["route r"]


def test_a_removed_cluster_waits_for_the_routes_and_lingers() -> None:
    stream = started(goal({"a": cluster(), "b": cluster()}, route("a")))
    assert stream.publish(goal({"b": cluster()}, route("b"))) == ["route r"]
    assert stream.tick(100.0) == []  # Envoy has not acknowledged the route: it may still use "a"
    assert stream.ack("route") == []
    assert stream.session.wake_at == 100.0 + LINGER
    assert stream.tick(109.0) == []
    assert stream.tick(110.0) == ["cluster -a"]
    assert stream.ack("cluster") == []
    assert stream.session.wake_at is None


def test_a_cluster_that_comes_back_while_it_lingers_is_never_removed() -> None:
    both = goal({"a": cluster(), "b": cluster()}, route("a"))
    stream = started(both)
    stream.publish(goal({"b": cluster()}, route("b")))
    stream.ack("route")
    assert stream.publish(both) == ["route r"]
    assert stream.tick(1000.0) == []


def test_a_cluster_wanted_again_while_its_removal_is_under_way_is_sent_before_its_routes() -> None:
    both = goal({"a": cluster(), "b": cluster()}, route("a"))
    stream = started(both)
    stream.publish(goal({"b": cluster()}, route("b")))
    stream.ack("route")
    assert stream.tick(LINGER) == ["cluster -a"]
    assert stream.publish(both) == []
    assert stream.ack("cluster") == ["cluster a"]
    assert stream.ack("cluster") == ["route r"]


def test_a_changed_cluster_gets_its_endpoints_again() -> None:
    stream = started(goal({"a": cluster(1)}, route("a")))
    assert stream.publish(goal({"a": cluster(2)}, route("a"))) == ["cluster a", "endpoint a"]
    stream.ack("endpoint")
    assert stream.ack("cluster") == []


def test_a_changed_cluster_gets_its_endpoints_even_when_both_leave_meanwhile() -> None:
    stream = started(goal({"a": cluster(1), "b": cluster()}, route("a")))
    assert stream.ask("endpoint", "b") == ["endpoint b"]
    assert stream.publish(goal({"a": cluster(2), "b": cluster()}, route("a"))) == ["cluster a"]
    assert stream.publish(goal({"b": cluster()}, route("b"))) == []  # "b" is on its way again
    assert stream.ack("endpoint") == ["endpoint a", "route r"]


def test_endpoints_under_way_go_before_a_change_of_their_cluster() -> None:
    stream = started(goal({"a": cluster(1)}, route("a")))
    changed = wanted_of(
        {**_plain(goal({"a": cluster(1)}, route("a"))), "endpoint": {"a": {"endpoints": [1]}}}
    )
    assert stream.publish(changed) == ["endpoint a"]
    assert stream.publish(goal({"a": cluster(2)}, route("a"))) == []
    assert stream.ack("endpoint") == ["cluster a", "endpoint a"]


def _plain(wanted: Wanted) -> dict[str, Mapping[str, Json]]:
    return {kind: {n: content_of(each) for n, each in of.items()} for kind, of in wanted.items()}


def test_a_refused_version_is_not_sent_again_and_holds_nothing_up() -> None:
    stream = Stream(goal({"a": cluster(), "bad": cluster()}, route("a", "bad")))
    assert stream.ask("cluster") == ["cluster a bad"]
    stream.ask("route", "r")
    assert stream.ack("cluster", error="Error adding/updating cluster(s) bad: no") == ["cluster a"]
    assert stream.ask("endpoint", "a") == ["endpoint a"]
    assert stream.ack("endpoint") == []
    assert stream.ack("cluster") == ["route r"]
    [problem] = stream.session.problems
    assert problem.place.object == "cluster bad"
    assert "cluster(s) bad: no" in problem.message
    assert stream.publish(goal({"a": cluster(), "bad": cluster(3)}, route("a", "bad"))) == ["cluster bad"]
    assert stream.ack("cluster") == []
    assert stream.session.problems == ()


def test_a_refusal_that_names_nobody_is_narrowed_down_one_by_one() -> None:
    stream = Stream(goal({"a": cluster(), "b": cluster()}, route("a")))
    assert stream.ask("cluster") == ["cluster a b"]
    assert stream.ack("cluster", error="something") == ["cluster a"]
    assert stream.ack("cluster", error="something") == ["cluster b"]
    assert stream.ack("cluster") == []
    assert [problem.place.object for problem in stream.session.problems] == ["cluster a"]


def test_a_name_inside_a_longer_name_is_not_blamed() -> None:
    stream = Stream(goal({"pool/a": cluster(), "pool/a/b": cluster()}, route()))
    stream.ask("cluster")
    stream.ack("cluster", error="pool/a/b: no")
    assert [problem.place.object for problem in stream.session.problems] == ["cluster pool/a/b"]


def test_the_routes_of_a_listener_that_is_refused_are_not_waited_for() -> None:
    """One listener cannot have its port: Envoy asks for the routes of the other one alone."""
    other: Json = {"filterChains": [{"filters": [{"typedConfig": {"rds": {"routeConfigName": "r2"}}}]}]}
    content = {"listener": {"l": LISTENER, "other": other}, "route": {"r": route(), "r2": route()}}
    stream = Stream(wanted_of(content))
    stream.ask("cluster")
    stream.ack("cluster")
    assert stream.ask("listener") == ["listener l other"]
    assert stream.ack("listener", error="other: cannot bind\n") == ["listener l"]
    assert stream.ask("route", "r") == ["route r"]
    assert stream.ack("route") == stream.ack("listener") == []
    assert stream.session.settled
    (problem,) = stream.session.problems
    assert problem.place.object == "listener other" and problem.message.endswith("cannot bind")
    stream.publish(wanted_of({**content, "listener": {"l": LISTENER, "other": {**other, "version": 2}}}))
    assert not stream.session.settled  # it is tried again


def test_what_envoy_shows_of_a_resource_is_not_told() -> None:
    stream = Stream(goal({"a": cluster()}, route()))
    stream.ask("cluster")
    why = "Proto constraint validation failed (ClusterValidationError.X: bad)"
    stream.ack("cluster", error='goo.gle/debugstr  \nname: "a"\n' + "x: 1\n" * 500 + f": {why}: ")
    (problem,) = stream.session.problems
    assert problem.message.endswith(f"had: {why}:"), problem.message


def test_a_returning_envoy_gets_only_the_differences() -> None:
    old, new = goal({"a": cluster(), "x": cluster()}, route("a")), goal({"a": cluster()}, route("a"))
    stream = Stream(new)
    held = {kind: {name: each.version for name, each in old[kind].items()} for kind in KINDS}
    assert stream.ask("cluster", has=held["cluster"]) == []
    assert stream.ask("endpoint", "a", "x", has=held["endpoint"]) == []
    assert stream.ask("listener", has=held["listener"]) == []
    assert stream.ask("route", "r", has=held["route"]) == []
    assert stream.session.settled
    assert stream.tick(LINGER) == ["cluster -x"]


def test_routes_of_an_unknown_version_keep_their_clusters_until_they_are_replaced() -> None:
    stream = Stream(goal({"a": cluster()}, route("a")))
    had = {"a": stream_version("cluster", "a"), "x": "1"}
    stream.ask("cluster", has=had)
    stream.ask("endpoint", "a", has={"a": made("endpoint", "a", {"clusterName": "a"}).version})
    stream.ask("listener")
    assert stream.ask("route", "r", has={"r": "unknown"}) == ["route r"]
    stream.ack("listener")
    assert stream.tick(1000.0) == []
    stream.ack("route")
    assert stream.tick(1000.0 + LINGER) == ["cluster -x"]


def stream_version(kind: Kind, name: str) -> str:
    return made(kind, name, cluster()).version


def test_a_name_that_does_not_exist_is_said_to_be_absent_once() -> None:
    stream = Stream(goal({"a": cluster()}, route("a")))
    assert stream.ask("endpoint", "nobody") == ["endpoint -nobody"]
    assert stream.ack("endpoint") == []
    assert stream.tick(1.0) == []


def test_asking_again_for_a_held_name_sends_it_again() -> None:
    stream = started(goal({"a": cluster()}, route("a")))
    assert stream.ask("endpoint", "a") == ["endpoint a"]


def test_what_envoy_left_is_not_sent() -> None:
    stream = started(goal({"a": cluster(), "b": cluster()}, route("a")))
    stream.leave("endpoint", "b")
    changed = _plain(goal({"a": cluster(), "b": cluster()}, route("a")))
    changed["endpoint"] = {"a": {"clusterName": "a"}, "b": {"n": 1}}
    assert stream.publish(wanted_of(changed)) == []


def test_a_listener_waits_for_the_clusters_it_names() -> None:
    logging = {
        **LISTENER,
        "accessLog": [{"typedConfig": {"grpcService": {"envoyGrpc": {"clusterName": "a"}}}}],
    }
    stream = Stream(goal({"a": cluster()}, route("a"), logging))
    assert stream.ask("listener") == []
    stream.ask("cluster")
    stream.ask("endpoint", "a")
    stream.ack("cluster")
    assert stream.ack("endpoint") == ["listener l"]


def test_a_stale_acknowledgement_changes_nothing() -> None:
    stream = Stream(goal({"a": cluster()}, route("a")))
    stream.ask("cluster")
    assert stream.session.handle(Requested(kind="cluster", nonce="999"), 0.0) == []
    assert stream.session.held("cluster") == {}


@pytest.mark.parametrize("asked", [(), ("*",)])
def test_both_spellings_of_the_wildcard(asked: tuple[str, ...]) -> None:
    assert Stream(goal({"a": cluster()}, route("a"))).ask("cluster", *asked) == ["cluster a"]


SCOPED: Json = {"filterChains": [{"filters": [{"typedConfig": {"scopedRoutes": {"name": "hosts"}}}]}]}


def scoped_goal(clusters: Mapping[str, Json], scopes: Mapping[str, Json], listener: Json = SCOPED) -> Wanted:
    endpoints = {name: {"clusterName": name} for name in clusters}
    content = {"cluster": clusters, "endpoint": endpoints, "scope": scopes, "listener": {"l": listener}}
    return wanted_of(content)


def test_scopes_stay_until_no_listener_looks_for_them_and_a_linger_later() -> None:
    stream = Stream(scoped_goal({"a": cluster()}, {"s": route("a")}))
    assert stream.ask("cluster") == ["cluster a"]
    assert stream.ask("endpoint", "a") == ["endpoint a"]
    assert stream.ack("endpoint") == stream.ack("cluster") == []
    assert stream.ask("listener") == ["listener l"]
    before = stream.session.settled
    assert stream.ask("scope") == ["scope s"]
    assert stream.ack("scope") == stream.ack("listener") == []
    assert (before, stream.session.settled) == (False, True)
    assert stream.publish(scoped_goal({"a": cluster()}, {}, {"plain": 1})) == ["listener l"]
    assert stream.tick(100.0) == []
    assert stream.ack("listener") == []
    assert stream.session.wake_at == 100.0 + LINGER
    assert stream.tick(100.0 + LINGER) == ["scope -s"]


def test_a_scope_is_sent_when_envoy_says_last_that_it_has_the_endpoints() -> None:
    wanted = scoped_goal({"a": cluster()}, {"s": route("a")})
    has = {kind: {name: each.version for name, each in wanted[kind].items()} for kind in KINDS}
    stream = Stream(wanted)
    assert stream.ask("cluster", has=has["cluster"]) == []
    assert stream.ask("scope", has={"s": "another"}) == []
    assert stream.ask("endpoint", "a", has=has["endpoint"]) == ["scope s"]


def test_a_version_that_envoy_brought_along_is_known_once_it_is_wanted() -> None:
    old, new = goal({"a": cluster()}, route("a")), goal({"a": cluster(), "b": cluster()}, route("b"))
    has = {kind: {name: each.version for name, each in old[kind].items()} for kind in KINDS}
    stream = Stream(new)
    stream.ask("listener", has=has["listener"])
    stream.ask("route", "r", has=has["route"])
    assert stream.ask("cluster", has=has["cluster"]) == ["cluster b"]
    assert stream.publish(old) == []
    assert stream.ask("endpoint", "a", has=has["endpoint"]) == []
    assert stream.ack("cluster") == []
    assert stream.tick(LINGER) == ["cluster -b"]
