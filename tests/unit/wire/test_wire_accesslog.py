"""Access-log entries to endings."""

from typing import Any

import pytest
from envoy.data.accesslog.v3.accesslog_pb2 import HTTPRequestProperties
from envoy.service.accesslog.v3.als_pb2 import StreamAccessLogsMessage

from headgate.model.ids import EndpointId, StreamId
from headgate.model.own_answers import OwnAnswer
from headgate.model.requests import Usage
from headgate.wire.accesslog import (
    LONGEST_DETAILS,
    LONGEST_PATH,
    read_entries,
    read_own_answers,
)
from headgate.wire.said import RequestEnded
from headgate.wire.stream_key import StreamKeys

KEYS = StreamKeys("n", b"")


def message(flags: tuple[str, ...] = (), *, ours: bool = True, usage: bool = True, served: str = "") -> bytes:
    log = StreamAccessLogsMessage()
    entry = log.http_logs.log_entry.add()
    metadata = entry.common_properties.metadata.filter_metadata
    if ours:
        metadata["headgate"]["stream"] = KEYS.key(7)
    if usage:
        metadata["headgate.usage"].update({"prompt": 5, "completion": 2, "cached": 4})
    if served:
        metadata["envoy.lb"]["x-gateway-destination-endpoint-served"] = served
    for flag in flags:
        setattr(entry.common_properties.response_flags, flag, True)
    address = entry.common_properties.upstream_remote_address.socket_address
    address.address, address.port_value = "10.0.0.1", 8000
    entry.response.response_code.value = 200
    data: bytes = log.SerializeToString()
    return data


@pytest.mark.parametrize(
    ("flags", "ending"),
    [
        ((), "complete"),
        (("downstream_connection_termination",), "aborted"),
        (("downstream_remote_reset", "upstream_remote_reset"), "aborted"),
        (("upstream_connection_failure",), "failed"),
        (("upstream_retry_limit_exceeded",), "failed"),
        (("no_healthy_upstream",), "failed"),
    ],
)
def test_endings(flags: tuple[str, ...], ending: str) -> None:
    (entry,) = read_entries(message(flags), KEYS).ended
    assert entry == RequestEnded(StreamId(7), ending, 200, Usage(5, 2, 4), EndpointId("10.0.0.1:8000"))  # type: ignore[arg-type]


def test_envoys_own_word_for_the_endpoint_counts_first() -> None:
    assert read_entries(message(served="10.0.0.2:8000"), KEYS).ended[0].served == "10.0.0.2:8000"


@pytest.mark.parametrize(
    ("details", "refused", "kept"),
    [
        ("via_upstream", None, None),
        ("", None, None),
        ("response_timeout", None, "response_timeout"),
        ("lua_response", "gave-up", "gave-up"),
        ("response_timeout", "", "response_timeout"),
        ("\x1b[2J é", None, "?[2J ?"),
        ("a" * 9999, None, "a" * LONGEST_DETAILS),
    ],
)
def test_what_ended_it_is_kept_in_short(details: str, refused: str | None, kept: str | None) -> None:
    log = StreamAccessLogsMessage.FromString(message())
    entry = log.http_logs.log_entry[0]
    entry.response.response_code_details = details
    entry.common_properties.upstream_request_attempt_count = 2
    if refused is not None:
        entry.common_properties.metadata.filter_metadata["headgate.attempts"]["reason"] = refused
    over = read_entries(log.SerializeToString(), KEYS).ended[0]
    assert (over.details, over.attempts) == (kept, 2)


def test_usage_may_be_missing() -> None:
    assert read_entries(message(usage=False), KEYS).ended[0].usage is None


def test_other_requests_are_left_out() -> None:
    assert read_entries(message(ours=False), KEYS).ended == ()


def test_other_bytes_are_refused() -> None:
    with pytest.raises(ValueError, match="not a StreamAccessLogsMessage"):
        read_entries(b"\xff\xff\xff", KEYS)


@pytest.mark.parametrize("number", [float("inf"), float("nan"), -1.0, 1e300])
def test_counts_that_are_none_do_not_spoil_the_rest(number: float) -> None:
    log = StreamAccessLogsMessage.FromString(message())
    usage = log.http_logs.log_entry[0].common_properties.metadata.filter_metadata["headgate.usage"]
    usage.fields["completion"].number_value = number
    usage.fields["cached"].string_value = "²"
    (entry,) = read_entries(log.SerializeToString(), KEYS).ended
    assert entry.usage == Usage(5, 0, None)


def own_answer(**request: Any) -> StreamAccessLogsMessage:
    log = StreamAccessLogsMessage()
    log.identifier.node.id = "gate"
    entry = log.http_logs.log_entry.add()
    entry.request.CopyFrom(HTTPRequestProperties(**{"request_id": "r", "path": "/", **request}))
    entry.response.response_code.value = 404
    return log


def test_an_answer_of_the_gateway_is_kept_without_query_and_without_other_headers() -> None:
    headers = {":method": "BREW", "x-gateway-model-name": "m", "authorization": "s3cr3t"}
    log = own_answer(
        authority="h", path="/b", original_path="/a?key=s3cr3t", referer="s3cr3t", request_headers=headers
    )
    entry = log.http_logs.log_entry[0]
    entry.response.response_headers["x-headgate-reason"] = "no-route"
    entry.common_properties.downstream_local_address.socket_address.port_value = 8080
    entry.common_properties.start_time.FromMilliseconds(1500)
    node, (found,) = read_own_answers(log.SerializeToString())
    assert node == "gate"
    assert found == OwnAnswer(
        request_id="r",
        at=1.5,
        port=8080,
        method="BREW",
        host="h",
        path="/a",
        model="m",
        status=404,
        reason="no-route",
    )


def test_texts_of_clients_are_cut() -> None:
    _, (found,) = read_own_answers(own_answer(path="/" * 99_999, request_id="x" * 9999).SerializeToString())
    assert len(found.path) == LONGEST_PATH
    assert len(found.request_id) == 256


def test_an_answer_that_nobody_could_ask_for_is_left_out() -> None:
    assert read_own_answers(own_answer(request_id="").SerializeToString()) == ("gate", [])
    with pytest.raises(ValueError, match="not a StreamAccessLogsMessage"):
        read_own_answers(b"\xff\xff\xff")


def test_ends_of_streams_that_are_not_ours_or_that_somebody_guessed_are_left_out() -> None:
    other = StreamKeys("n", b"of another process")
    forged = f"{KEYS.name(7)}-{KEYS.key(8).rpartition('-')[2]}"
    for stream in ("n-x", "", KEYS.name(7), other.key(7), forged, "m-7-" + KEYS.key(7)[4:]):
        log = StreamAccessLogsMessage.FromString(message())
        metadata = log.http_logs.log_entry[0].common_properties.metadata.filter_metadata
        metadata["headgate"]["stream"] = stream
        assert read_entries(log.SerializeToString(), KEYS).ended == (), stream
