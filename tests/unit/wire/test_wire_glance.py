"""What a JSON body on an unclaimed path tells."""

import pytest

from headgate.model.requests import InferenceRequest
from headgate.wire.glance import glance
from headgate.wire.parse import understand


def request(path: str, body: bytes, **headers: str) -> InferenceRequest:
    sent = {":method": "POST", ":path": path, "content-type": "application/json", **headers}
    found = understand(sent, body, fallback_id="f-1")
    assert isinstance(found, InferenceRequest), found
    return found


@pytest.mark.parametrize(
    ("path", "body", "prompt"),
    [
        ("/v1/embeddings", b'{"model":"m","input":["a","b"]}', b'["a","b"]'),
        ("/v1/responses", b'{"input":"hi","instructions":"be brief","model":"m"}', b'"be brief"\x1e"hi"'),
        ("/v1/messages", b'{"model":"m","messages":[1],"system":"s"}', b'"s"\x1e[1]'),
        ("/rerank", b'{"model":"m","query":"q","documents":["d"]}', b'"q"\x1e["d"]'),
    ],
)
def test_the_model_and_the_prompt_of_other_paths(path: str, body: bytes, prompt: bytes) -> None:
    found = request(path, body)
    assert (found.api, found.model, found.prompt_bytes) == ("other", "m", len(prompt))
    reading = glance(body)
    assert reading is not None
    assert reading.prompt == prompt


def test_a_longer_conversation_continues_a_shorter_one() -> None:
    turn = b'{"role":"user","content":"' + b"tell me more " * 50 + b'"}'
    one, two = (
        request("/v1/messages", b'{"model":"m","stream":true,"max_tokens":9,"messages":[' + turns + b"]}")
        for turns in (turn, turn + b"," + turn)
    )
    assert one.blocks
    assert two.blocks[: len(one.blocks)] == one.blocks
    assert (one.streaming, one.max_tokens) == (True, 9)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[1]",
        b"null",
        b'{"model":7}',
        b'{"model":""}',
        b'{"x":1}',
        b"\xff\xfe",
        b'{"model":' + b"[" * 100_000,
        b'{"model":"m","x":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    ],
)
def test_other_bodies_are_routed_without_a_model(body: bytes) -> None:
    assert request("/anything", body).model is None


def test_compressed_and_foreign_bodies_are_not_read() -> None:
    body = b'{"model":"m","messages":[]}'
    assert request("/v1/responses", body, **{"content-encoding": "gzip"}).model is None
    assert request("/v1/responses", body, **{"content-type": "multipart/form-data; boundary=x"}).model is None
