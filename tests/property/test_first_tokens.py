"""The first token of a stream is found alike by both wires, whatever its events and pieces are."""

from typing import Any

import hypothesis.strategies as st
import pytest
from envoy.service.ext_proc.v3 import external_processor_pb2 as pb
from hypothesis import given, settings
from tests.wires import CONVERSATIONS, cases

from headgate.model.ids import EndpointId
from headgate.wire.extproc import Settings
from headgate.wire.said import FirstToken

PATHS = {
    "/v1/chat/completions": b'{"messages":[],"stream":true}',
    "/v1/responses": b'{"input":"x","stream":true}',
    "/v1/messages": b'{"messages":[],"stream":true}',
    "/x": b'{"stream":true}',
}
TOKENS = [
    *(
        b"\n",
        b"\r",
        b"\r\n",
        b"\n\n",
        b"\xef\xbb\xbf",
        b"data",
        b"data:",
        b"data: ",
        b"event: ",
        b": ping",
        b"id:7",
    ),
    *(b"{", b"}", b"[", b"]", b":", b",", b" ", b"\\", b'"', b"\xff", b"5", b"null", b"[DONE]", b"error"),
    *(
        b'"type":',
        b'"error":',
        b'"response":{',
        b'"x"',
        b'"ping"',
        b'"response.created"',
        b'"prompt_progress":',
    ),
    *(b"response.created", b"message_start", b'{"type":"message_start"}', b'{"a":"b"}', b'"' + b"x" * 6000),
]
streams = st.lists(st.sampled_from(TOKENS), max_size=40).map(b"".join)
whole_lines = st.lists(st.lists(st.sampled_from(TOKENS), max_size=6).map(b"".join), max_size=12).map(
    lambda lines: b"\n".join(b"data: " + line for line in lines) + b"\n\n"
)


def told(make: Any, path: str, stream: bytes, size: int, how: str) -> list[Any]:
    lean = how != "foreign"
    talk = make(Settings("n"), 1, lean=lean)
    first = pb.ProcessingRequest()
    for key, value in ((":method", "POST"), (":path", path)):
        first.request_headers.headers.headers.add(key=key, raw_value=value.encode())
    body = pb.ProcessingRequest(request_body=pb.HttpBody(body=PATHS[path], end_of_stream=True))
    for message in (first, body):
        talk.receive(message.SerializeToString())
    talk.route([EndpointId("10.0.0.1:1")], "t" if how == "renamed" else None, "why")
    said = []
    if how != "headerless":
        head = pb.ProcessingRequest()
        for key, value in ((":status", "200"), ("content-type", "text/event-stream")):
            head.response_headers.headers.headers.add(key=key, raw_value=value.encode())
        said += talk.receive(head.SerializeToString())
    talk.outbox.clear()
    for at in range(0, len(stream), size):
        chunk = pb.ProcessingRequest(response_body=pb.HttpBody(body=stream[at : at + size]))
        said += talk.receive(chunk.SerializeToString())
        said.append(talk.leaving)
    return [*said, [pb.ProcessingResponse.FromString(data) for data in talk.outbox]]


@pytest.mark.skipif(len(CONVERSATIONS) < 2, reason="the native wire is not built")
@settings(max_examples=cases(300), deadline=None)
@given(
    path=st.sampled_from(sorted(PATHS)),
    stream=streams | whole_lines,
    size=st.integers(1, 50) | st.just(100_000),
    how=st.sampled_from(["foreign", "renamed", "headerless"]),
)
def test_both_wires_find_the_same(path: str, stream: bytes, size: int, how: str) -> None:
    portable, native = (told(make, path, stream, size, how) for make in CONVERSATIONS)
    assert native == portable


@settings(max_examples=cases(100), deadline=None)
@given(path=st.sampled_from(sorted(PATHS)), stream=streams | whole_lines, size=st.integers(1, 50))
def test_pieces_do_not_matter(path: str, stream: bytes, size: int) -> None:
    make = CONVERSATIONS[-1]
    pieces, whole = (
        [type(said) for said in told(make, path, stream, each, "foreign")].count(FirstToken)
        for each in (size, len(stream) + 1)
    )
    assert pieces == whole <= 1
