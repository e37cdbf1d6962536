"""Every format on both wires: what is read of a request, its renaming, and what its answers tell."""

import json
from typing import Any, NamedTuple

import pytest
from envoy.service.ext_proc.v3 import external_processor_pb2 as pb
from tests.forms import content_type, field, file, multipart
from tests.wires import CONVERSATIONS

from headgate.model.ids import EndpointId, StreamId
from headgate.model.requests import Usage
from headgate.wire.extproc import Settings
from headgate.wire.parse import FORMATS
from headgate.wire.said import RequestArrived, RequestEnded

FORM = multipart(
    field("model", "asked"), file(), field("stream", "true"), field("max_completion_tokens", "9")
)
TURNS = [{"role": "user", "content": "Hello"}]


class Case(NamedTuple):
    """A request, what it says, answers with the name `target`, and what they say."""

    api: str
    path: str
    body: dict[str, Any] | bytes
    limit: int | None
    plain: dict[str, Any]
    plain_usage: Usage | None
    events: tuple[dict[str, Any], ...] = ()
    events_usage: Usage | None = None


OPENAI = {"prompt_tokens": 7, "completion_tokens": 3, "prompt_tokens_details": {"cached_tokens": 4}}
RESPONSES = {"input_tokens": 7, "output_tokens": 3, "input_tokens_details": {"cached_tokens": 4}}
ANTHROPIC = {"input_tokens": 2, "cache_read_input_tokens": 4, "cache_creation_input_tokens": 1}
META = {"prompt_tokens": 7, "completion_tokens": 3, "cached_tokens": 4, "id": "x"}
FULL, SHORT = Usage(7, 3, 4), Usage(7, 0)
CHUNKS = ({"model": "target", "usage": None}, {"model": "target", "usage": OPENAI})
CASES = [
    Case(
        "chat",
        "/v1/chat/completions",
        {"messages": TURNS, "max_tokens": 9},
        9,
        {"usage": OPENAI},
        FULL,
        CHUNKS,
        FULL,
    ),
    Case(
        "completions",
        "/v1/completions",
        {"prompt": "x", "max_tokens": 9},
        9,
        {"usage": OPENAI},
        FULL,
        CHUNKS,
        FULL,
    ),
    Case(
        "responses",
        "/v1/responses",
        {"input": "x", "max_output_tokens": 9},
        9,
        {"usage": RESPONSES},
        FULL,
        (
            {"type": "response.created", "response": {"model": "target", "usage": None}},
            {"type": "response.completed", "response": {"model": "target", "usage": RESPONSES}},
        ),
        FULL,
    ),
    Case(
        "messages",
        "/v1/messages",
        {"messages": TURNS, "max_tokens": 9},
        9,
        {"usage": {**ANTHROPIC, "output_tokens": 3}},
        FULL,
        (
            {
                "type": "message_start",
                "message": {"model": "target", "usage": {**ANTHROPIC, "output_tokens": 1}},
            },
            {"type": "message_delta", "delta": {}, "usage": {"output_tokens": 3}},
        ),
        FULL,
    ),
    Case(
        "generate",
        "/generate",
        {"text": "x", "sampling_params": {"max_new_tokens": 9}},
        9,
        {"text": "y", "meta_info": META},
        FULL,
        ({"meta_info": {**META, "completion_tokens": 1}}, {"meta_info": META}),
        FULL,
    ),
    Case(
        "generate",
        "/inference/v1/generate",
        {"token_ids": [1], "sampling_params": {"max_tokens": 9}},
        9,
        {"usage": OPENAI},
        FULL,
    ),
    Case("pooling", "/v1/embeddings", {"input": "x"}, None, {"usage": {"prompt_tokens": 7}}, SHORT),
    Case(
        "pooling",
        "/v1/rerank",
        {"query": "x", "documents": ["y"]},
        None,
        {"usage": {"total_tokens": 7}},
        SHORT,
    ),
    Case(
        "pooling",
        "/v1/score",
        {"text_1": "x", "text_2": "y"},
        None,
        {"usage": {"prompt_tokens": 7, "total_tokens": 8}},
        SHORT,
    ),
    Case("audio", "/v1/audio/transcriptions", FORM, 9, {"usage": RESPONSES}, FULL, CHUNKS, FULL),
    Case("other", "/v1/images/edits", FORM, 9, {"usage": RESPONSES}, FULL),
    Case("other", "/tokenize", {"prompt": "x"}, None, {"usage": OPENAI}, FULL),
]


def test_every_format_has_a_case() -> None:
    assert {each.api for each in FORMATS} == {case.api for case in CASES}


def _headers(message: Any, **values: str) -> None:
    for key, value in values.items():
        name = f":{key}" if key in ("method", "path", "status") else key.replace("_", "-")
        message.headers.headers.add(key=name, raw_value=value.encode())


def _request(case: Case) -> tuple[Any, Any, bytes]:
    body = case.body
    kind = content_type() if isinstance(body, bytes) else "application/json"
    if not isinstance(body, bytes):
        body = json.dumps({"model": "asked", "stream": True, **body}).encode()
    first = pb.ProcessingRequest()
    _headers(first.request_headers, method="POST", path=case.path, content_type=kind)
    first.protocol_config.request_body_mode = first.protocol_config.response_body_mode = 4
    return first, pb.ProcessingRequest(request_body=pb.HttpBody(body=body, end_of_stream=True)), body


def _sent(talk: Any, phase: str) -> bytes:
    answers = [pb.ProcessingResponse.FromString(data) for data in talk.outbox]
    talk.outbox.clear()
    bodies = [getattr(each, phase).response.body_mutation.streamed_response for each in answers]
    return b"".join(each.body for each in bodies)


@pytest.mark.parametrize("make", CONVERSATIONS, ids=lambda each: each.__name__)
@pytest.mark.parametrize("streamed", [False, True], ids=["plain", "events"])
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.path)
def test_a_request_and_its_answer(case: Case, streamed: bool, make: Any) -> None:
    talk = make(Settings("n"), 1)
    first, second, body = _request(case)
    (arrived,) = [said for message in (first, second) for said in talk.receive(message.SerializeToString())]
    assert isinstance(arrived, RequestArrived)
    request = arrived.request
    assert (request.api, request.model, request.streaming, request.max_tokens) == (
        case.api,
        "asked",
        True,
        case.limit,
    )
    talk.route([EndpointId("10.0.0.1:1")], "target", "why")
    assert _sent(talk, "request_body") == body.replace(b"asked", b"target")
    if streamed:
        answer = b"".join(b"data: " + json.dumps(event).encode() + b"\n\n" for event in case.events)
    else:
        answer = json.dumps({"model": "target", **case.plain}).encode()
    kind = "text/event-stream" if streamed else "application/json"
    message = pb.ProcessingRequest()
    _headers(message.response_headers, status="200", content_type=kind)
    told = list(talk.receive(message.SerializeToString()))
    for data, end in ((answer[:50], False), (answer[50:], True)):
        message = pb.ProcessingRequest(response_body=pb.HttpBody(body=data, end_of_stream=end))
        told += talk.receive(message.SerializeToString())
    assert _sent(talk, "response_body") == answer.replace(b'"target"', b'"asked"')
    assert told[-1] == RequestEnded(
        StreamId(1), "complete", 200, case.events_usage if streamed else case.plain_usage
    )
