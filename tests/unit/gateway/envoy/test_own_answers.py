"""The counter of errors that no server gave."""

from typing import get_args

from headgate.gateway.envoy.own_answers import OF_PICKER, counter, reasons
from headgate.gateway.envoy.replies import replies
from headgate.gateway.settings import GatewaySettings
from headgate.picker.actions import Reason

SETTINGS = GatewaySettings()


def test_every_reason_of_the_gateway_and_of_the_picker_has_a_counter() -> None:
    known = reasons(SETTINGS)
    assert set(OF_PICKER) == set(get_args(Reason))
    assert {reply.reason for reply in replies(SETTINGS)} | set(OF_PICKER) <= set(known)
    assert len(known) == len(set(known))


def test_what_a_server_or_a_picker_says_makes_no_new_counter() -> None:
    text = str(counter(SETTINGS))
    assert "RESP(" not in text
    assert all(f"'{reason}'" in text for reason in reasons(SETTINGS))


def test_answers_of_servers_are_left_out_and_good_ones_cost_a_comparison_only() -> None:
    first, *_, last = counter(SETTINGS)["filter"]["and_filter"]["filters"]
    assert first["status_code_filter"]["comparison"]["value"]["default_value"] == 400
    assert "via_upstream" in str(last)
