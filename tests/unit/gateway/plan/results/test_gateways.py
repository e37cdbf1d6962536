"""What Gateways, ListenerSets, listeners and policies say, as the Gateway API's own tests ask for it."""

from collections.abc import Mapping
from typing import Any

import msgspec
from tests.live.harness.echo import service
from tests.live.harness.http_cases import listener_set
from tests.live.harness.lab import route
from tests.manifests import Manifest, decoded
from tests.resolved import world

from headgate.gateway.plan.results import of_objects
from headgate.gateway.settings import GatewaySettings

SERVICE = service("one", 1)


def listener(name: str, host: str = "", port: int = 80, protocol: str = "HTTP", **more: Any) -> Manifest:
    named = {"hostname": host} if host else {}
    return {"name": name, "port": port, "protocol": protocol, **named, **more}


def gate(*listeners: Manifest, name: str = "sets", **spec: Any) -> Manifest:
    return {
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "Gateway",
        "metadata": {"name": name},
        "spec": {"gatewayClassName": "headgate", "listeners": list(listeners), **spec},
    }


def routed(name: str, parent: str = "sets", **spec: Any) -> Manifest:
    return route(name, "one", parentRefs=[{"name": parent}], **spec)


def results(*objects: Manifest) -> Mapping[str, Any]:
    """`Kind name` → status, as on a cluster."""
    found = world(decoded(*objects, *SERVICE), GatewaySettings(per_gateway=True))
    made = {each: found.get(of_objects.result, each) for each in of_objects.judged(found)}
    return {f"{each.kind} {each.name}": msgspec.to_builtins(result) for each, result in made.items()}


def said(status: Mapping[str, Any]) -> dict[str, tuple[str, str]]:
    """Type → status and reason."""
    return {each["type"]: (each["status"], each["reason"]) for each in status["conditions"]}


def of_listener(status: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found: Mapping[str, Any] = next(each for each in status["listeners"] if each["name"] == name)
    return found


SERVED = {
    "Accepted": ("True", "Accepted"),
    "Programmed": ("True", "Programmed"),
    "ResolvedRefs": ("True", "ResolvedRefs"),
    "Conflicted": ("False", "NoConflicts"),
}


def conflict(reason: str) -> dict[str, tuple[str, str]]:
    return {
        "Accepted": ("False", reason),
        "Programmed": ("False", reason),
        "ResolvedRefs": ("True", "ResolvedRefs"),
        "Conflicted": ("True", reason),
    }


OPEN = {"namespaces": {"from": "Same"}}


def test_of_equal_host_names_the_gateways_counts_then_the_first_sets() -> None:
    found = results(
        gate(listener("own", "own.test"), listener("both", "both.test"), allowedListeners=OPEN),
        listener_set("a", ("first", "first.test"), ("both", "both.test"), ("sets", "sets.test")),
        listener_set("b", ("both", "both.test")),
        listener_set("c", ("second", "second.test"), ("sets", "sets.test")),
        listener_set("d", ("sets", "sets.test")),
    )
    gateway = found["Gateway sets"]
    assert said(gateway)["Accepted"][0] == "True"
    assert said(of_listener(gateway, "both")) == SERVED
    assert gateway["attachedListenerSets"] == 2
    for name, good, bad in (("a", ("first", "sets"), ("both",)), ("c", ("second",), ("sets",))):
        status = found[f"ListenerSet {name}"]
        assert (said(status)["Accepted"][0], said(status)["Programmed"]) == ("True", ("True", "Programmed"))
        assert all(said(of_listener(status, each)) == SERVED for each in good)
        assert all(said(of_listener(status, each)) == conflict("HostnameConflict") for each in bad)
    for name, bad_one in (("b", "both"), ("d", "sets")):
        status = found[f"ListenerSet {name}"]
        assert said(status) == dict.fromkeys(("Accepted", "Programmed"), ("False", "ListenersNotValid"))
        assert said(of_listener(status, bad_one)) == conflict("HostnameConflict")


def test_another_protocol_on_a_taken_port_is_a_conflict_and_none_of_ours_elsewhere() -> None:
    taken = listener_set("a", ("first", "first.test"), ("tcp", ""))
    taken["spec"]["listeners"][1] = listener("tcp", protocol="TCP")
    alone = gate(listener("odd", port=1111, protocol="INVALID"), name="alone")
    mixed = gate(listener("http"), listener("odd", port=1111, protocol="INVALID"), name="mixed")
    found = results(gate(listener("own", "own.test"), allowedListeners=OPEN), taken, alone, mixed)
    status = found["ListenerSet a"]
    assert said(of_listener(status, "first")) == SERVED
    wrong = said(of_listener(status, "tcp"))
    assert {wrong[each] for each in ("Accepted", "Programmed")} == {("False", "ProtocolConflict")}
    assert wrong["Conflicted"] == ("True", "ProtocolConflict")
    assert said(found["Gateway alone"])["Accepted"] == ("False", "ListenersNotValid")
    assert said(found["Gateway mixed"])["Accepted"][0] == "True"
    for name in ("alone", "mixed"):
        odd = of_listener(found[f"Gateway {name}"], "odd")
        assert said(odd)["Accepted"] == ("False", "UnsupportedProtocol")
        assert not odd["supportedKinds"] and odd["attachedRoutes"] == 0


def test_routes_count_where_they_attach_also_where_a_certificate_is_missing() -> None:
    certificate = {"certificateRefs": [{"name": "missing"}]}
    found = results(
        gate(listener("http", "foo.test"), name="two"),
        routed("r-1", "two"),
        routed("r-2", "two"),
        routed("r-3", "two", hostnames=["no.test"]),
        gate(listener("tls", port=443, protocol="HTTPS", tls=certificate), name="unready"),
        routed("r-4", "unready", rules=[{"backendRefs": [{"name": "nowhere", "port": 80}]}]),
    )
    assert of_listener(found["Gateway two"], "http")["attachedRoutes"] == 2
    (parent,) = found["HTTPRoute r-3"]["parents"]
    assert said(parent)["Accepted"] == ("False", "NoMatchingListenerHostname")
    tls = of_listener(found["Gateway unready"], "tls")
    assert tls["attachedRoutes"] == 1
    assert (said(tls)["Programmed"][0], said(tls)["ResolvedRefs"]) == (
        "False",
        ("False", "InvalidCertificateRef"),
    )
    (parent,) = found["HTTPRoute r-4"]["parents"]
    assert said(parent)["ResolvedRefs"] == ("False", "BackendNotFound")


def test_a_listener_names_the_kinds_that_may_attach() -> None:
    def kinds(*names: str) -> Manifest:
        return {"allowedRoutes": {"kinds": [{"kind": name} for name in names]}}

    found = results(
        gate(listener("http", **kinds("InvalidRoute")), name="none"),
        gate(listener("http", **kinds("InvalidRoute", "HTTPRoute")), name="one"),
    )
    for name, served in (("none", []), ("one", ["HTTPRoute"])):
        status = of_listener(found[f"Gateway {name}"], "http")
        assert said(status)["ResolvedRefs"] == ("False", "InvalidRouteKinds")
        assert [each["kind"] for each in status["supportedKinds"]] == served


def test_sets_from_where_none_may_come_are_refused_and_not_counted() -> None:
    found = results(gate(listener("own", "own.test")), listener_set("a", ("first", "first.test")))
    expected = dict.fromkeys(("Accepted", "Programmed"), ("False", "NotAllowed"))
    assert said(found["ListenerSet a"]) == expected
    assert found["Gateway sets"]["attachedListenerSets"] == 0


def test_a_parent_that_no_listener_fits() -> None:
    def parent(name: str, **ref: Any) -> Manifest:
        return route(name, "one", parentRefs=[{"name": "sets", **ref}])

    found = results(
        gate(listener("http", "a.test"), listener("other", "b.test", 8080)),
        parent("section", sectionName="none"),
        parent("port", port=81),
        parent("both", sectionName="http", port=8080),
    )
    for name in ("section", "port", "both"):
        (status,) = found[f"HTTPRoute {name}"]["parents"]
        assert said(status)["Accepted"] == ("False", "NoMatchingParent")


def test_a_policy_whose_authorities_are_of_no_known_kind() -> None:
    policy = {
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "BackendTLSPolicy",
        "metadata": {"name": "policy"},
        "spec": {
            "targetRefs": [{"group": "", "kind": "Service", "name": "one"}],
            "validation": {
                "hostname": "a.test",
                "caCertificateRefs": [{"group": "invalid.io", "kind": "Invalid", "name": "x"}],
            },
        },
    }
    found = results(gate(listener("http")), routed("r"), policy)
    (ancestor,) = found["BackendTLSPolicy policy"]["ancestors"]
    assert said(ancestor) == {
        "Accepted": ("False", "NoValidCACertificate"),
        "ResolvedRefs": ("False", "InvalidKind"),
    }
