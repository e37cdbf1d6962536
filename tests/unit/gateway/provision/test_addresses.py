"""Addresses that a Gateway asks for: which can be had, and what is said of others."""

from typing import Any

import pytest
from tests import manifests as manifest

from headgate.app.controller.writes import with_refusal
from headgate.gateway.provision.addresses import asked, missing, refused
from headgate.manifests.decode import decode
from headgate.model.objects import Gateway


def gateway(*addresses: dict[str, Any]) -> Gateway:
    made = manifest.gateway("gate")
    made["spec"]["addresses"] = list(addresses)
    found = decode(made, "", lambda _: 0).object
    assert isinstance(found, Gateway)
    return found


V4, V6 = {"value": "192.0.2.1"}, {"type": "IPAddress", "value": "2001:db8::1"}


@pytest.mark.parametrize(
    ("addresses", "accepted", "reason"),
    [
        ([V4, {"type": "example.com/name", "value": "x"}], False, "UnsupportedAddress"),
        ([{"type": "Hostname", "value": "example.com"}], False, "UnsupportedAddress"),
        ([V4, {"value": "192.0.2.2"}], True, "AddressNotUsable"),
    ],
)
def test_what_cannot_be_had(addresses: Any, accepted: bool, reason: str) -> None:
    found = refused(gateway(*addresses))
    assert found is not None and (found.accepted, found.reason) == (accepted, reason)


def test_one_of_each_family_may_be_had_and_one_without_a_value_is_any() -> None:
    assert refused(gateway(V4, V6)) is None and asked(gateway(V4, V6)) == ("192.0.2.1", "2001:db8::1")
    assert refused(gateway({"type": "IPAddress"})) is None and asked(gateway({"type": "IPAddress"})) == ()


def test_what_was_not_given_is_not_usable() -> None:
    assert missing((), ("10.0.0.1",)) is None and missing(("10.0.0.1",), ("10.0.0.1",)) is None
    found = missing(("192.0.2.1",), ("10.0.0.1",))
    assert found is not None and found.reason == "AddressNotUsable" and "192.0.2.1" in found.message


def test_the_status_says_it() -> None:
    base = {
        "conditions": [
            {"type": kind, "status": "True", "reason": kind, "message": ""}
            for kind in ("Accepted", "Programmed")
        ]
    }

    def said(*addresses: dict[str, Any]) -> list[tuple[str, str, str]]:
        why = refused(gateway(*addresses))
        assert why is not None
        return [
            (each["type"], each["status"], each["reason"]) for each in with_refusal(base, why)["conditions"]
        ]

    assert said({"type": "Hostname", "value": "h"}) == [
        ("Accepted", "False", "UnsupportedAddress"),
        ("Programmed", "False", "AddressNotUsable"),
    ]
    assert said(V4, {"value": "192.0.2.2"}) == [
        ("Accepted", "True", "Accepted"),
        ("Programmed", "False", "AddressNotUsable"),
    ]
