"""Certificates of listeners: what is served with them, what is refused, and that no key is ever shown."""

import base64
from typing import Any

import pytest
from tests import manifests as manifest
from tests.live.harness.certificates import Authority
from tests.manifests import Manifest
from tests.resolved import world

from headgate.gateway import resources
from headgate.gateway.plan.classes import ALL
from headgate.gateway.plan.listeners import Listener, dataplane_listeners
from headgate.gateway.settings import GatewaySettings
from headgate.gateway.translate import translate
from headgate.model.tls_material import Pair

AUTHORITY = Authority()
PAIR = AUTHORITY.sign("a.example")
OTHER = AUTHORITY.sign("b.example")


def secret(name: str, chain: bytes = PAIR.chain, key: bytes = PAIR.key, **metadata: Any) -> Manifest:
    data = {
        "tls.crt": base64.b64encode(chain).decode(),
        "tls.key": base64.b64encode(key).decode(),
    }
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name, **metadata}, "data": data}


def gateway(*refs: dict[str, str], **more: Any) -> Manifest:
    listener = {"name": "https", "port": 443, "protocol": "HTTPS", "tls": {"certificateRefs": list(refs)}}
    spec = {"gatewayClassName": "headgate", "listeners": [{**listener, **more}]}
    return manifest.manifest("Gateway", "gate", spec)


def judged(*objects: Manifest) -> Listener:
    (found,) = world(manifest.snapshot(*objects)).get(dataplane_listeners, ALL)
    return found


def test_a_listener_with_its_certificate_is_served() -> None:
    found = judged(gateway({"name": "web"}), secret("web"))
    assert (found.served, found.port, found.certificates) == (True, 8443, ("default/web",))


@pytest.mark.parametrize(
    ("made", "reason", "words"),
    [
        ([], "InvalidCertificateRef", "no Secret default/web"),
        ([secret("web", key=OTHER.key)], "InvalidCertificateRef", "not the key of"),
        ([secret("web", chain=b"x")], "InvalidCertificateRef", "no PEM certificate"),
        ([secret("web", key=b"x")], "InvalidCertificateRef", "no PEM private key"),
    ],
)
def test_what_is_no_certificate_is_told_and_not_served(made: list[Manifest], reason: str, words: str) -> None:
    found = judged(gateway({"name": "web"}), *made)
    assert (found.served, found.reason) == (False, reason)
    assert words in found.message


def test_one_wrong_reference_of_two_costs_itself() -> None:
    found = judged(gateway({"name": "web"}, {"name": "nobody"}), secret("web"))
    assert found.served and found.certificates == ("default/web",)
    assert [(field, reason) for field, reason, _ in found.refs] == [
        ("tls.certificateRefs[1]", "InvalidCertificateRef")
    ]


def test_another_namespace_must_grant() -> None:
    elsewhere = gateway({"name": "web", "namespace": "certs"})
    grant = {
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "ReferenceGrant",
        "metadata": {"name": "g", "namespace": "certs"},
        "spec": {
            "from": [{"group": "gateway.networking.k8s.io", "kind": "Gateway", "namespace": "default"}],
            "to": [{"group": "", "kind": "Secret"}],
        },
    }
    assert judged(elsewhere, secret("web", namespace="certs")).reason == "RefNotPermitted"
    assert judged(elsewhere, secret("web", namespace="certs"), grant).served


def test_nothing_that_is_printed_has_a_key() -> None:
    snapshot = manifest.snapshot(gateway({"name": "web"}), secret("web"))
    shown = repr(translate(snapshot, GatewaySettings()).resources)
    assert "BEGIN CERTIFICATE" in shown
    assert "PRIVATE KEY" not in shown
    made = world(snapshot).get(resources.one, (ALL, "secret", "certificate/default/web"))
    assert b"PRIVATE KEY" in made.body
    assert "PRIVATE KEY" not in repr(made)
    assert "PRIVATE" not in repr(Pair(PAIR.chain.decode(), PAIR.key.decode()))


def test_hosts_of_other_listeners_are_misdirected() -> None:
    spec = {
        "gatewayClassName": "headgate",
        "listeners": [
            {
                "name": host,
                "port": 443,
                "protocol": "HTTPS",
                "hostname": f"{host}.example",
                "tls": {"certificateRefs": [{"name": "web"}]},
            }
            for host in ("a", "b")
        ],
    }
    route = manifest.route(manifest.rule("llm"))
    objects = (manifest.manifest("Gateway", "gate", spec), route, manifest.pool("llm"), secret("web"))
    found = translate(manifest.snapshot(*objects), GatewaySettings()).resources["route"]
    assert {name: [host["domains"] for host in each["virtual_hosts"]] for name, each in found.items()} == {
        "port-8443/a.example": [["a.example"], ["b.example"]],
        "port-8443/b.example": [["b.example"], ["a.example"]],
    }
    (refused,) = found["port-8443/a.example"]["virtual_hosts"][1]["routes"]
    assert refused["direct_response"]["status"] == 421
