"""Both wires say and answer the same, whatever the peer sends: orders that Envoy makes, and those that it should not."""

import json
from typing import Any

import pytest
from envoy.service.accesslog.v3.als_pb2 import StreamAccessLogsMessage
from envoy.service.ext_proc.v3 import external_processor_pb2 as pb
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.forms import field, file, multipart
from tests.wires import NativeConversation, cases

from headgate.model.headers import POOL_ATTRIBUTES
from headgate.model.load import ModelCard
from headgate.model.sessions import Sources, sources
from headgate.wire.accesslog import read_entries
from headgate.wire.extproc import Conversation, Settings, WireError
from headgate.wire.native import logged, native_settings
from headgate.wire.said import RequestArrived
from headgate.wire.stream_key import StreamKeys

native = pytest.importorskip("headgate_native")

KEYS = StreamKeys("n", b"")
PATIENT = settings(max_examples=cases(300), deadline=None, suppress_health_check=[HealthCheck.too_slow])
CHAT = json.dumps(
    {"model": "asked", "messages": [{"role": "user", "content": "é" * 90}], "stream": True}
).encode()
ODD = b'{"model":"asked","messages":[{"role":7,"content":{"a":1e999}}]}'
COUNTED = b'{"model":"t","usage":{"prompt_tokens":7,"completion_tokens":2}}'
EVENT = b'data: {"model":"t","usage":{"prompt_tokens":7.0}}\n\ndata: {"mo'

STARTED = b'data: {"response":{"model":"t"},"message":{"usage":{"input_tokens":7}}}\r\r'

TOTAL = b'data: {"meta_info":{"prompt_tokens":7,"cached_tokens":1},"usage":{"total_tokens":9}}\n\n'

COOKIES = ("sid", "=", ";", " ", "\t", "b", "é")
NAMED = (
    "header:x-session-id",
    "header:cookie",
    "cookie:sid",
    "cookie:b",
    "body:user",
    "body:metadata.user_id",
)
_WANTED = st.sets(st.sampled_from([*NAMED, "body:prompt_cache_key", "body:safety_identifier"])).map(sources)
_LINE = st.text(max_size=3) | st.lists(st.sampled_from(COOKIES), max_size=5).map("".join)
_HEADERS = st.fixed_dictionaries(
    {":method": st.sampled_from(["POST", "POST", "POST", "GET"])},
    optional={
        ":path": st.sampled_from(
            [
                "/v1/chat/completions",
                "/v1/chat/completions?x=1",
                "/v1/completions",
                "/v1/responses",
                "/v1/conversations",
                "/v1/conversations/c/items",
                "/v1/messages",
                "/v1/embeddings",
                "/v1/rerank",
                "/generate",
                "/v1/audio/transcriptions",
                "/v1/models",
                "/x",
                "/" + "é" * 600,
            ]
        ),
        "content-type": st.sampled_from(
            [
                *("application/json", "application/json; charset=x", "text/plain", "A/b+JSON"),
                *("application/json\x1c", "\xa0application/json", " application/json\t;", "applİcation/json"),
                *(
                    "multipart/form-data; boundary=b",
                    'Multipart/Form-Data;boundary="b"',
                    "multipart/form-data",
                ),
            ]
        ),
        "content-encoding": st.sampled_from(["gzip", "Identity"]),
        "content-length": st.sampled_from(["10", "401", "99999999999999999999999", "x"]),
        "x-request-id": st.text("ab", max_size=300),
        "X-Session-Id": st.text(max_size=3),
        "cookie": _LINE,
        "Cookie": _LINE,
        "COOKIE": _LINE,
        "x-gateway-inference-objective": st.text(max_size=3),
        "x-slo-ttft-ms": st.sampled_from(["5", "-1", "x", "1e2", " 7_0 "]),
        "x-gateway-destination-endpoint": st.just("1.2.3.4:5"),
        "x-headgate-pool": st.just("forged"),
        "x-headgate-flow": st.just("d/p"),
        "accept-encoding": st.just("gzip"),
    },
)
IMAGE = json.dumps(
    {
        "messages": [{"role": "user", "content": [{"image_url": {"url": "data:,AAAA"}}, "x"]}],
        "cache_salt": "s",
        "tools": [1],
        "system": "s",
    }
).encode()
GOING_ON = (
    b'"previous_response_id":"r","conversation":"c"',
    b'"previous_response_id":"","conversation":{"x":{"id":"no"},"id":"c"}',
    b'"previous_response_id":7,"conversation":{"id":"c","id":5}',
    b'"conversation":{"id":"c"},"conversation":"d"',
    b'"conversation":"c","conversation":{"id":"d"}',
    b'"conversation":{"id":"c"},"conversation":[{"id":"d"}]',
    b'"conversation":{"id":"' + b"x" * 513 + b'"},"previous_response_id":"' + b"y" * 513 + b'"',
    b'"previous_response_id":"' + b"y" * 513 + b'","conversation":"\\ud83d"',
    b'"user":"u","metadata":{"user_id":"v"},"user":"w","prompt_cache_key":""',
    b'"metadata":{"user_id":"v","user_id":["w"]},"safety_identifier":"\\ud83d\\ude00"',
    b'"metadata":{"user_id":"v"},"metadata":7,"prompt_cache_key":"' + "é".encode() * 50 + b'"',
)
_BODY = st.sampled_from(
    [
        CHAT,
        ODD,
        IMAGE,
        b"{",
        b"",
        b'{"model":"' + b"m" * 600 + b'","messages":[]}',
        b" " * 99 + CHAT,
        b"{" + b" " * 300,
        b'{"model":"m","prompt":"p"}',
        b'{"sampling_params":{"max_tokens":5},"sampling_params":{"max_new_tokens":6}}',
        b'{"sampling_params":{"max_tokens":5},"sampling_params":7}',
        b'{"sampling_params":{"max_tokens":5,"max_tokens":"x","max_new_tokens":7}}',
        b"x" * 500,
        *(b'{"model":"m",' + each + b"}" for each in GOING_ON),
        multipart(field("model", "asked"), file(), field("stream", "true"), boundary="b"),
        multipart(file(), field("model", "m" * 600), boundary="b"),
        multipart(field("user", "é"), file(), field("safety_identifier", "s"), boundary="b"),
        multipart(field("user", "u"), field("user", "v" * 513), field("prompt_cache_key", ""), boundary="b"),
        multipart(
            field("user", "v" * 512),
            ('Content-Disposition: form-data; name="safety_identifier"', b"\xff"),
            boundary="b",
        ),
        multipart(file(), field("model", "asked"), ("no colon", b""), boundary="b"),
    ]
) | st.binary(max_size=9)
_POOL_ATTRIBUTES = [*POOL_ATTRIBUTES, "xds.route_name"]
_END = st.booleans()
_MODE = st.integers(0, 5)
_ENDPOINTS = ["10.0.0.1:1", "[fd00::1]:2"]


@st.composite
def _request_headers(draw: st.DrawFn) -> Any:
    message = pb.ProcessingRequest()
    for key, value in draw(_HEADERS).items():
        raw = draw(st.booleans())
        field = {"raw_value": value.encode()} if raw else {"value": value}
        message.request_headers.headers.headers.add(key=key, **field)
    if draw(st.booleans()):
        message.request_headers.headers.headers.add(key="x-session-id", raw_value=b"\xff\xfe")
    message.request_headers.end_of_stream = draw(_END)
    if draw(st.booleans()):
        message.protocol_config.request_body_mode = draw(st.sampled_from([2, 4]) | _MODE)
        message.protocol_config.response_body_mode = draw(st.sampled_from([1, 4]) | _MODE)
    if draw(st.booleans()):
        named = draw(st.sampled_from(["pool/a/b", "a/b", ""]))
        message.attributes["envoy.filters.http.ext_proc"][draw(st.sampled_from(_POOL_ATTRIBUTES))] = named
    hint = draw(st.sampled_from([None, None, "10.0.0.1, ,b", ["10.0.0.1:1", " x "], [], 5.0]))
    if hint is not None:
        message.metadata_context.filter_metadata["envoy.lb.subset_hint"][
            "x-gateway-destination-endpoint-subset"
        ] = hint
    return message


@st.composite
def _response_headers(draw: st.DrawFn) -> Any:
    message = pb.ProcessingRequest()
    fields = {
        ":status": draw(st.sampled_from(["200", "503", ""])),
        "content-type": draw(
            st.sampled_from(
                [
                    "text/event-stream",
                    "application/json",
                    "text/html",
                    "text/event-stream\x1c",
                    "x/y+json\xa0",
                ]
            )
        ),
    }
    if draw(st.booleans()):
        fields["x-request-id"] = "kept"
    for key, value in fields.items():
        message.response_headers.headers.headers.add(key=key, raw_value=value.encode())
    message.response_headers.end_of_stream = draw(_END)
    if draw(st.booleans()):
        served = draw(st.sampled_from(["10.0.0.2:3", ""]))
        message.metadata_context.filter_metadata["envoy.lb"]["x-gateway-destination-endpoint-served"] = served
    if draw(st.booleans()):
        details = draw(st.sampled_from(["via_upstream", "no_healthy_upstream", ""]))
        message.attributes["envoy.filters.http.ext_proc"]["response.code_details"] = details
    return message


_BODIES = st.builds(
    lambda data, end: pb.ProcessingRequest(request_body=pb.HttpBody(body=data, end_of_stream=end)),
    _BODY,
    _END,
)
_CHUNKS = st.builds(
    lambda data, end: pb.ProcessingRequest(response_body=pb.HttpBody(body=data, end_of_stream=end)),
    st.sampled_from([COUNTED, EVENT, STARTED, TOTAL, b"", b"x", b"\n", b"da", b"\xef\xbb\xbf"]),
    _END,
)
_TRAILERS = st.sampled_from(
    [
        pb.ProcessingRequest(request_trailers=pb.HttpTrailers()),
        pb.ProcessingRequest(response_trailers=pb.HttpTrailers()),
        pb.ProcessingRequest(),
    ]
)
_ANSWER = st.one_of(
    st.tuples(
        st.just("route"),
        st.just(_ENDPOINTS),
        st.sampled_from([None, "t", "asked"]),
        st.just("why"),
        st.sampled_from([(), (("x-prefiller-host-port", "10.0.0.2:8000"),), (("x-a", "é"), ("x-b", ""))]),
    ),
    st.tuples(
        st.just("refuse"), st.sampled_from([429, 503]), st.just("saturated"), st.just("full"), st.just(3)
    ),
    st.tuples(st.just("list_models"), st.just([ModelCard("m")])),
)
_USUAL = st.tuples(_request_headers(), _BODIES, _response_headers(), _CHUNKS, _CHUNKS, _TRAILERS).map(list)
_ANY_ORDER = st.lists(
    st.one_of(_request_headers(), _BODIES, _response_headers(), _CHUNKS, _TRAILERS), max_size=6
)


def _step(talk: Any, message: Any) -> tuple[Any, ...]:
    try:
        said = talk.receive(message.SerializeToString())
    except WireError as error:
        return ("broken", str(error))
    sent = [pb.ProcessingResponse.FromString(data) for data in talk.outbox]
    talk.outbox.clear()
    return said, sent, talk.leaving, talk.awaits_log(), talk.pool_names


def _answer(talk: Any, verb: str, *rest: Any) -> list[Any]:
    getattr(talk, verb)(*rest)
    sent = [pb.ProcessingResponse.FromString(data) for data in talk.outbox]
    talk.outbox.clear()
    return sent


@PATIENT
@given(
    messages=_USUAL | _ANY_ORDER,
    answer=_ANSWER,
    lean=st.booleans(),
    fallbacks=st.booleans(),
    answered=st.booleans(),
    waits=st.booleans(),
    wanted=_WANTED,
)
def test_a_conversation_is_the_same(
    messages: list[Any],
    answer: tuple[Any, ...],
    lean: bool,
    fallbacks: bool,
    answered: bool,
    waits: bool,
    wanted: Sources,
) -> None:
    how = Settings("nonce", body_limit=700, odd_body_limit=200)
    talks = [
        make(how, 3, lean=lean, fallbacks=fallbacks, sessions=wanted)
        for make in (Conversation, NativeConversation)
    ]
    for message in messages:
        ours, theirs = (_step(talk, message) for talk in talks)
        assert theirs == ours
        if ours[0] == "broken":
            break
        if waits and any(isinstance(said, RequestArrived) for said in ours[0]):
            one, other = (_answer(talk, "wait") for talk in talks)
            assert other == one
            assert [each.override_message_timeout.seconds for each in one] == ([300] if lean else [])
        if answered and any(isinstance(said, RequestArrived) for said in ours[0]):
            one, other = (_answer(talk, *answer) for talk in talks)
            assert other == one
    ours_over, theirs_over = (talk.closed() for talk in talks)
    assert theirs_over == ours_over


@given(data=st.binary(max_size=40))
def test_bytes_that_are_no_message_break_only_their_stream(data: bytes) -> None:
    for make in (Conversation, NativeConversation):
        try:
            make(Settings("n"), 1).receive(data)
        except WireError:
            continue


_FLAGS = st.sets(
    st.sampled_from(
        [
            field.name
            for field in StreamAccessLogsMessage.HTTPAccessLogEntries.DESCRIPTOR.fields_by_name["log_entry"]
            .message_type.fields_by_name["common_properties"]
            .message_type.fields_by_name["response_flags"]
            .message_type.fields
            if field.message_type is None
        ]
    ),
    max_size=2,
)
_COUNT = st.integers(0, 9) | st.sampled_from(["12", "x", "", True])


@PATIENT
@given(
    flags=_FLAGS,
    usage=st.dictionaries(
        st.sampled_from(["prompt", "completion", "cached", "cache_read", "cache_creation", "total"]), _COUNT
    ),
    stream=st.sampled_from([KEYS.key(1), "n-1", "", None, 4]),
    served=st.sampled_from(["1.1.1.1:1", "", None]),
    address=st.sampled_from([("10.0.0.1", 80), ("fd00::1", 80), ("", 0)]),
    status=st.sampled_from([0, 200]),
    details=st.sampled_from(["", "via_upstream", "response_timeout", "a{b|c}", "é\n" * 200]) | st.text(),
    failure=st.sampled_from(["", "b", "delayed_connect_error:_Connection_refused"]),
    attempts=st.integers(0, 3),
    refused=st.none() | st.sampled_from(["", "gave-up"]) | st.integers(0, 1),
)
def test_an_access_log_entry_is_the_same(
    flags: set[str],
    usage: dict[str, Any],
    stream: Any,
    served: str | None,
    address: tuple[str, int],
    status: int,
    details: str,
    failure: str,
    attempts: int,
    refused: str | int | None,
) -> None:
    message = StreamAccessLogsMessage()
    entry = message.http_logs.log_entry.add()
    metadata = entry.common_properties.metadata.filter_metadata
    if stream is not None:
        metadata["headgate"]["stream"] = stream
    if usage:
        metadata["headgate.usage"].update(usage)
    if served is not None:
        metadata["envoy.lb"]["x-gateway-destination-endpoint-served"] = served
    for flag in flags:
        setattr(entry.common_properties.response_flags, flag, True)
    where = entry.common_properties.upstream_remote_address.socket_address
    where.address, where.port_value = address
    entry.response.response_code.value = status
    entry.response.response_code_details = details
    entry.common_properties.upstream_transport_failure_reason = failure
    entry.common_properties.upstream_request_attempt_count = attempts
    if refused is not None:
        metadata["headgate.attempts"]["reason"] = refused
    data = message.SerializeToString()
    rows = native.read_log(native_settings(Settings("n")), data)
    ended = [logged(row, KEYS) for row in rows]
    assert tuple(each for each in ended if each is not None) == read_entries(data, KEYS).ended
