"""A form's model, its other fields, and what is not read of forms."""

import pytest
from tests.forms import CASES, content_type, field, file, multipart

from headgate.model.requests import InferenceRequest
from headgate.wire.api import LONGEST_MODEL, BadRequest
from headgate.wire.parse import ODD_BODY_BYTES, understand

PATHS = ("/v1/audio/transcriptions", "/v1/audio/translations", "/v1/images/edits", "/anything")


def understood(kind: str, body: bytes, **more: str) -> InferenceRequest | BadRequest:
    headers = {":method": "POST", ":path": PATHS[0], "content-type": kind, **more}
    return understand(headers, body, fallback_id="f-1")


def request(kind: str, body: bytes, **more: str) -> InferenceRequest:
    found = understood(kind, body, **more)
    assert isinstance(found, InferenceRequest)
    return found


@pytest.mark.parametrize("name", CASES)
def test_a_form_names_its_model_on_every_path(name: str) -> None:
    kind, body, model = CASES[name]
    for path in PATHS:
        found = request(kind, body, **{":path": path})
        api = "audio" if "/audio/" in path and model is not None else found.api
        assert (found.api, found.model, found.blocks, found.prompt_bytes) == (api, model, b"", 0)
        assert found.body_bytes == len(body)
        assert found.api == "other" or "/audio/" in path


def test_a_compressed_form_is_not_read() -> None:
    kind, body, _ = CASES["curl"]
    assert request(kind, body, **{"content-encoding": "gzip"}).model is None


@pytest.mark.parametrize(
    ("value", "expected"), [("true", True), ("True", True), ("1", True), ("false", False), ("", False)]
)
def test_a_form_may_ask_for_a_stream(value: str, expected: bool) -> None:
    assert request(content_type(), multipart(field("stream", value), file())).streaming is expected


@pytest.mark.parametrize(("value", "expected"), [("17", 17), ("017", None), ("x", None), ("", None)])
def test_a_form_may_have_a_limit(value: str, expected: int | None) -> None:
    found = request(content_type(), multipart(file(), field("max_completion_tokens", value)))
    assert found.max_tokens == expected


def test_a_name_too_long_is_refused_and_in_a_large_form_not_known() -> None:
    name = field("model", "x" * (LONGEST_MODEL + 1))
    found = understood(content_type(), multipart(name))
    assert found == BadRequest(f"model is longer than {LONGEST_MODEL} bytes", "model")
    assert request(content_type(), multipart(file(content=b"x" * ODD_BODY_BYTES), name)).model is None
    assert request(content_type(), multipart(field("model", "x" * LONGEST_MODEL))).model is not None
