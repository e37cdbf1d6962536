"""Answers as the peer decodes them."""

import json
from typing import Any

import pytest
from envoy.service.ext_proc.v3 import external_processor_pb2 as pb

from headgate.model.load import ModelCard
from headgate.wire import answers


def decoded(data: bytes) -> Any:
    return pb.ProcessingResponse.FromString(data)


def test_constants_are_empty_answers_of_their_kind() -> None:
    for name in ("request_headers", "request_body", "request_trailers"):
        assert decoded(getattr(answers, f"EMPTY_{name.upper()}")).WhichOneof("response") == name
    for name in ("response_headers", "response_body", "response_trailers"):
        assert decoded(getattr(answers, f"EMPTY_{name.upper()}")).WhichOneof("response") == name


def test_response_headers_without_changes_are_the_constant() -> None:
    assert answers.response_headers({}, ()) is answers.EMPTY_RESPONSE_HEADERS


@pytest.mark.parametrize("end", [True, False])
def test_an_empty_body_is_one_chunk(end: bool) -> None:
    (data,) = answers.streamed_request(b"", end=end)
    chunk = decoded(data).request_body.response.body_mutation.streamed_response
    assert (chunk.body, chunk.end_of_stream) == (b"", end)


def test_an_error_keeps_its_reason_in_three_places() -> None:
    answer = decoded(answers.error(404, "unknown-model", "no such model", request_id="r", param="model"))
    immediate = answer.immediate_response
    assert immediate.details == "headgate_unknown-model"
    headers = {option.header.key: option.header.raw_value for option in immediate.headers.set_headers}
    assert headers["x-headgate-reason"] == b"unknown-model"
    assert "retry-after" not in headers
    assert json.loads(immediate.body) == {
        "error": {
            "message": "no such model",
            "type": "invalid_request_error",
            "param": "model",
            "code": "model_not_found",
        }
    }


def test_nothing_left_of_a_chunk_clears_it() -> None:
    assert decoded(answers.replaced_response(b"")).response_body.response.body_mutation.clear_body
    assert decoded(answers.replaced_response(b"x")).response_body.response.body_mutation.body == b"x"


def test_names_in_pages_steer_no_terminal() -> None:
    name = "m\x1b[2J\x9b2J\u202e\x7f"
    refusal = decoded(answers.error(404, "unknown-model", name, request_id="r")).immediate_response.body
    listing = decoded(answers.model_list([ModelCard(name)], request_id="r")).immediate_response.body
    assert json.loads(refusal)["error"]["message"] == json.loads(listing)["data"][0]["id"] == name
    for body in (refusal, listing):
        assert body.decode().isprintable()
