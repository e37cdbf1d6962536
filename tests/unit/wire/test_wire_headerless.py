"""An answer whose headers our own Envoy does not send."""

from collections import deque
from typing import Any

import pytest
from envoy.service.ext_proc.v3 import external_processor_pb2 as pb

from headgate.model.ids import EndpointId, StreamId
from headgate.wire import answers
from headgate.wire.formats.chat import FORMAT as CHAT
from headgate.wire.formats.responses import FORMAT as RESPONSES
from headgate.wire.headerless import Headerless, begins_events
from headgate.wire.said import FirstToken, ResponseStarted

A = EndpointId("10.0.0.1:1")


def chunk(body: bytes, *, end: bool = False, served: str = A) -> Any:
    message = pb.ProcessingRequest(response_body=pb.HttpBody(body=body, end_of_stream=end))
    message.metadata_context.filter_metadata["envoy.lb"]["x-gateway-destination-endpoint-served"] = served
    return message


@pytest.mark.parametrize(
    ("beginning", "events"),
    [
        (b"data:", True),
        (b"\xef\xbb\xbf\n: x", True),
        (b"", None),
        (b"ev", None),
        (b"\xef\xbb", None),
        (b"{", False),
        (b"datum", False),
    ],
)
def test_how_an_event_stream_begins(beginning: bytes, events: bool | None) -> None:
    assert begins_events(beginning) is events


def test_the_stream_is_kept_until_the_first_token() -> None:
    outbox: deque[bytes] = deque()
    answer = Headerless(StreamId(1), outbox, CHAT.answers, duplex=False)
    pieces = (b": keep-alive\n\n", b": keep-alive\n\n", b'data: {"choices":[]}\n\n')
    told = [(answer.chunk(chunk(piece)), answer.leaving) for piece in pieces]
    assert told == [
        ([ResponseStarted(StreamId(1), 200, A)], False),
        ([], False),
        ([FirstToken(StreamId(1))], True),
    ]
    assert list(outbox) == [answers.EMPTY_RESPONSE_BODY] * 3


def test_a_plain_answer_is_left_at_once() -> None:
    answer = Headerless(StreamId(1), deque(), CHAT.answers, duplex=False)
    assert answer.chunk(chunk(b'{"data: {}\n\n')) == []
    assert answer.leaving


@pytest.mark.parametrize("tail", ["end", "trailers"])
def test_it_is_over_at_its_end(tail: str) -> None:
    answer = Headerless(StreamId(1), deque(), RESPONSES.answers, duplex=False)
    answer.chunk(chunk(b'event: response.created\ndata: {"response":{}}\n\n'))
    assert not answer.leaving
    assert (answer.trailers() if tail == "trailers" else answer.chunk(chunk(b"", end=True))) == []
    assert answer.leaving
