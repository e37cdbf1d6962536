"""What a Gateway's status says beside the plan's results: addresses, and why it has none."""

from typing import Any

import pytest

from headgate.app.controller.writes import (
    FINALIZER,
    addresses_of,
    is_refusal,
    marked,
    with_addresses,
    with_condition,
    with_trouble,
)
from headgate.gateway.plan.classes import Claim
from headgate.io.kube.client import ApiError


@pytest.mark.parametrize(
    ("spec", "ingress", "expected"),
    [
        ({"type": "LoadBalancer", "clusterIP": "10.0.0.1"}, [], ()),
        ({"type": "LoadBalancer"}, [{"ip": "1.2.3.4"}], (("IPAddress", "1.2.3.4"),)),
        ({"type": "LoadBalancer"}, [{"hostname": "lb.example.com"}, {}], (("Hostname", "lb.example.com"),)),
        ({"type": "ClusterIP", "clusterIP": "10.0.0.1"}, [], (("IPAddress", "10.0.0.1"),)),
        (
            {"type": "NodePort", "clusterIP": "10.0.0.1", "clusterIPs": ["10.0.0.1", "fd00::1"]},
            [],
            (("IPAddress", "10.0.0.1"), ("IPAddress", "fd00::1")),
        ),
        ({"clusterIP": "None"}, [], ()),
    ],
)
def test_addresses_of_a_service(spec: Any, ingress: Any, expected: Any) -> None:
    assert addresses_of({"spec": spec, "status": {"loadBalancer": {"ingress": ingress}}}) == expected


def test_addresses_and_reasons_are_put_into_a_status() -> None:
    base = {
        "conditions": [
            {"type": kind, "status": "True", "reason": kind, "message": ""}
            for kind in ("Accepted", "Programmed")
        ]
    }
    assert with_addresses(base, (("IPAddress", "1.2.3.4"),))["addresses"] == [
        {"type": "IPAddress", "value": "1.2.3.4"}
    ]
    found = with_condition(base, ("Programmed",), "AddressNotAssigned", "none yet")
    assert [(each["type"], each["status"], each["reason"]) for each in found["conditions"]] == [
        ("Accepted", "True", "Accepted"),
        ("Programmed", "False", "AddressNotAssigned"),
    ]
    already = {"conditions": [{"type": "Programmed", "status": "False", "reason": "Invalid", "message": "m"}]}
    assert with_condition(already, ("Programmed",), "AddressNotAssigned", "none yet") == already


def test_a_class_has_the_finalizer_while_gateways_have_it() -> None:
    used, unused = marked("headgate", Claim("u1", True)), marked("headgate", Claim("u1", False))
    assert used.shared and unused.shared, "others made it"
    assert used.objects[0]["metadata"] == {"name": "headgate", "uid": "u1", "finalizers": [FINALIZER]}
    assert unused.objects[0]["metadata"] == {"name": "headgate", "uid": "u1"}


@pytest.mark.parametrize(
    ("status", "reason", "message", "expected"),
    [
        (422, "Invalid", "spec.x", "InvalidParameters"),
        (500, "InternalError", "failed to create typed patch object (…)", "InvalidParameters"),
        (403, "Forbidden", "exceeded quota", "NoResources"),
        (0, "NotOurs", "rename one of the two", "NoResources"),
        (500, "InternalError", "etcdserver: request timed out", ""),
        (429, "TooManyRequests", "", ""),
        (0, "Unreachable", "", ""),
    ],
)
def test_what_is_refused_for_good_is_told_from_a_server_that_is_busy(
    status: int, reason: str, message: str, expected: str
) -> None:
    error = ApiError(status, reason, message)
    assert is_refusal(error) is bool(expected)
    if expected:
        base = {"conditions": [{"type": "Programmed", "status": "True", "reason": "Programmed"}]}
        (found,) = with_trouble(base, error)["conditions"]
        assert (found["status"], found["reason"]) == ("False", expected) and message in found["message"]
