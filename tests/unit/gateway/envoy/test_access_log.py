"""The access log that Envoy is told to write."""

import re

from headgate.gateway.envoy import listeners, protos
from headgate.gateway.envoy.access_log import FIELDS, access_log
from headgate.gateway.envoy.bootstrap import FLUSH_MS
from headgate.gateway.settings import GatewaySettings

HEADERS_LOGGED = {
    ":method",
    ":authority",
    "user-agent",
    "x-request-id",
    "x-gateway-model-name",
    "x-headgate-reason",
}
"""All that is written of requests and responses besides the path."""


def test_only_named_headers_are_logged_and_each_is_cut() -> None:
    found = re.findall(r"%(?:REQ|RESP)\(([^)]*)\)(:\d+)?%", "".join(FIELDS.values()))
    assert {name.lower() for name, _ in found} == HEADERS_LOGGED
    assert all(cut for _, cut in found)


def test_the_path_is_logged_without_its_query() -> None:
    assert [text for text in FIELDS.values() if "PATH" in text] == [FIELDS["path"]]
    assert FIELDS["path"].startswith("%PATH(NQ:")


def test_nothing_is_logged_unless_asked_for() -> None:
    plain = listeners.listener("port-80", 80, [listeners.Chain("port-80")], GatewaySettings())
    logged = listeners.listener(
        "port-80", 80, [listeners.Chain("port-80")], GatewaySettings(access_log="/dev/stdout")
    )
    assert "access_loggers.file" not in str(plain)
    assert "'/dev/stdout'" in str(logged)
    assert len(str(logged)) > len(str(plain))
    protos.to_message("listener", logged)


def test_health_questions_are_left_out() -> None:
    assert {"not_health_check_filter": {}} in access_log("/x")["filter"]["and_filter"]["filters"]


def test_lines_come_out_soon() -> None:
    assert FLUSH_MS <= 1000
