"""Sound in a form."""

import pytest
from tests.forms import content_type, field, file, multipart

from headgate.model.requests import InferenceRequest, Usage
from headgate.model.sessions import sources
from headgate.wire.digest import digest
from headgate.wire.formats.audio import FORMAT
from headgate.wire.parse import understand


@pytest.mark.parametrize("path", ["/v1/audio/transcriptions", "/v1/audio/translations?x=1"])
def test_a_sound_has_a_model_a_limit_and_may_be_streamed(path: str) -> None:
    body = multipart(
        field("model", "w"), file(), field("stream", "true"), field("max_completion_tokens", "7")
    )
    headers = {":method": "POST", ":path": path, "content-type": content_type()}
    found = understand(headers, body, fallback_id="f-1")
    assert isinstance(found, InferenceRequest)
    assert (found.api, found.model, found.streaming, found.max_tokens) == ("audio", "w", True, 7)


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (b'{"text":"x","usage":{"type":"tokens","input_tokens":5,"output_tokens":9}}', Usage(5, 9)),
        (b'{"text":"x","usage":{"type":"duration","seconds":3}}', None),
        (b'data: {"choices":[],"usage":{"prompt_tokens":5,"completion_tokens":9}}\n\n', Usage(5, 9)),
    ],
)
def test_an_answer_counts_tokens_or_seconds(answer: bytes, expected: Usage | None) -> None:
    assert FORMAT.counter.find(answer) == expected


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"user": "u-1"}, ("body:user",)),
        ({"user": "u-1", "prompt_cache_key": "é"}, ("body:prompt_cache_key", "body:user")),
        ({"user": "", "safety_identifier": "x" * 513}, ()),
        ({"metadata": "u-1"}, ()),
    ],
)
def test_fields_of_a_form_may_name_its_session(fields: dict[str, str], told: tuple[str, ...]) -> None:
    body = multipart(file(), *(field(name, value) for name, value in fields.items()), field("model", "w"))
    headers = {":method": "POST", ":path": "/v1/audio/transcriptions", "content-type": content_type()}
    wanted = sources(["body:user", "body:prompt_cache_key", "body:safety_identifier"])
    found = understand(headers, body, fallback_id="f-1", sessions=wanted)
    assert isinstance(found, InferenceRequest)
    names = {source: fields[source.removeprefix("body:")] for source in told}
    assert dict(found.sessions) == {source: digest(name) for source, name in names.items()}
