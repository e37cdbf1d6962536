"""The counter of errors that no server gave."""

from typing import get_args

from headgate.gateway.envoy.own_answers import OF_PICKER, counter, reasons, teller
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
    text = str(counter(SETTINGS, "port-80"))
    assert "RESP(" not in text
    assert all(f"'{reason}'" in text for reason in reasons(SETTINGS))


def test_answers_of_servers_are_left_out_and_good_ones_cost_a_comparison_only() -> None:
    first, *_, last = counter(SETTINGS, "port-80")["filter"]["and_filter"]["filters"]
    assert first["status_code_filter"]["comparison"]["value"]["default_value"] == 400
    assert "via_upstream" in str(last)


def test_the_controller_is_told_of_errors_alone_and_of_no_header_that_may_be_secret() -> None:
    log = teller()
    first, *_, last = log["filter"]["and_filter"]["filters"]
    assert first["status_code_filter"]["comparison"]["value"]["default_value"] == 400
    assert '["decision"] != "fallback"' in str(last)
    told = log["typed_config"]
    assert told["additional_request_headers_to_log"] == [":method", "x-gateway-model-name"]
    assert told["additional_response_headers_to_log"] == ["x-headgate-reason"]
