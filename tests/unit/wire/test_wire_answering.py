"""One answer on its way back, without the request around it."""

from collections import deque
from typing import Any

import pytest
from envoy.service.ext_proc.v3 import external_processor_pb2 as pb

from headgate.model.ids import StreamId
from headgate.wire import answers
from headgate.wire.answering import Answering, pass_body
from headgate.wire.digest import digest
from headgate.wire.formats.chat import FORMAT as CHAT
from headgate.wire.formats.responses import FORMAT as RESPONSES
from headgate.wire.said import AnswerStored, FirstToken, RequestEnded, ResponseStarted


def headers(**values: str) -> Any:
    message = pb.ProcessingRequest()
    for key, value in values.items():
        name = ":status" if key == "status" else key.replace("_", "-")
        message.response_headers.headers.headers.add(key=name, raw_value=value.encode())
    return message


def chunk(body: bytes) -> Any:
    return pb.ProcessingRequest(response_body=pb.HttpBody(body=body))


@pytest.mark.parametrize("duplex", [True, False])
def test_a_passed_chunk(duplex: bool) -> None:
    outbox: deque[bytes] = deque()
    pass_body(outbox, b"x", True, duplex=duplex)
    assert list(outbox) == (
        answers.streamed_response(b"x", end=True) if duplex else [answers.EMPTY_RESPONSE_BODY]
    )


def test_a_request_id_of_the_server_is_kept() -> None:
    outbox: deque[bytes] = deque()
    answering = Answering(StreamId(1), outbox, CHAT, duplex=True, lean=False)
    said = answering.begin(headers(status="200", x_request_id="theirs"), {"x-request-id": "ours"}, None)
    assert said == [ResponseStarted(StreamId(1), 200, plain=True)]
    assert list(outbox) == [answers.EMPTY_RESPONSE_HEADERS]


def test_a_status_that_is_none_counts_as_zero() -> None:
    answering = Answering(StreamId(1), deque(), CHAT, duplex=True, lean=False)
    assert answering.begin(headers(status="?"), {}, None) == [ResponseStarted(StreamId(1), 0, plain=True)]


def test_held_bytes_go_before_the_trailers() -> None:
    outbox: deque[bytes] = deque()
    answering = Answering(StreamId(1), outbox, CHAT, duplex=True, lean=False)
    answering.begin(headers(status="200", content_type="application/json"), {}, "asked")
    answering.chunk(chunk(b'{"error":1'))
    assert answering.trailers() == [RequestEnded(StreamId(1), "complete", 200)]
    found = [pb.ProcessingResponse.FromString(data) for data in outbox]
    bodies = [each.response_body.response.body_mutation.streamed_response.body for each in found]
    assert b"".join(bodies) == b'{"error":1'
    assert found[-1].WhichOneof("response") == "response_trailers"
    assert answering.whole


def test_a_rewritten_stream_is_not_left() -> None:
    answering = Answering(StreamId(1), deque(), CHAT, duplex=False, lean=True)
    answering.begin(headers(status="200", content_type="text/event-stream"), {}, "asked")
    assert answering.chunk(chunk(b"data: {}\n\n")) == [FirstToken(StreamId(1))]
    assert not answering.leaving


def test_events_without_a_token_are_passed_and_the_stream_is_not_left() -> None:
    answering = Answering(StreamId(1), deque(), RESPONSES, duplex=False, lean=True)
    answering.begin(headers(status="200", content_type="text/event-stream"), {}, None)
    early = b'event: response.created\ndata: {"response":{"id":"r"}}\n\n'
    assert answering.chunk(chunk(early)) == [AnswerStored(StreamId(1), digest("r"))]
    assert not answering.leaving
    assert answering.chunk(chunk(b": wait\n\n")) == []
    assert not answering.leaving
    assert answering.chunk(chunk(b'data: {"type":"response.output_item.added"}\n\n')) == [
        FirstToken(StreamId(1))
    ]
    assert answering.leaving


def test_compressed_events_cannot_be_read_so_the_first_bytes_count() -> None:
    answering = Answering(StreamId(1), deque(), CHAT, duplex=True, lean=False)
    answering.begin(
        headers(status="200", content_type="text/event-stream", content_encoding="gzip"), {}, None
    )
    assert answering.chunk(chunk(b"")) == []
    assert answering.chunk(chunk(b"\x1f\x8b")) == [FirstToken(StreamId(1))]
    assert answering.chunk(chunk(b"\x1f\x8b")) == []


def test_an_error_shows_no_token() -> None:
    answering = Answering(StreamId(1), deque(), CHAT, duplex=True, lean=False)
    answering.begin(headers(status="503", content_type="text/event-stream"), {}, None)
    assert answering.chunk(chunk(b'data: {"choices":[]}\n\n')) == []
