"""Any other JSON: its model and nothing else."""

import pytest

from headgate.model.requests import InferenceRequest
from headgate.wire.parse import understand

TURN = b'{"role":"user","content":"' + b"tell me more " * 50 + b'"}'


def request(path: str, body: bytes, **headers: str) -> InferenceRequest:
    sent = {":method": "POST", ":path": path, "content-type": "application/json", **headers}
    found = understand(sent, body, fallback_id="f-1")
    assert isinstance(found, InferenceRequest), found
    return found


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/tokenize", b'{"model":"m","prompt":"' + b"x" * 1000 + b'"}'),
        ("/v1/messages/count_tokens", b'{"model":"m","messages":[' + TURN + b"]}"),
        ("/v1/chat/completions/render", b'{"model":"m","messages":[' + TURN + b"]}"),
        ("/v1/embeddings", b'{"model":"m","input":"' + b"x" * 1000 + b'"}'),
        ("/v1/rerank", b'{"model":"m","query":"q","documents":["' + b"x" * 1000 + b'"]}'),
    ],
)
def test_what_fills_no_cache_has_a_model_and_no_blocks(path: str, body: bytes) -> None:
    found = request(path, body)
    assert (found.model, found.blocks, found.tools_first) == ("m", b"", b"")


def test_what_fills_the_cache_has_blocks() -> None:
    for path in ("/v1/messages", "/v1/chat/completions", "/invocations"):
        assert request(path, b'{"model":"m","messages":[' + TURN + b"]}").blocks


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
    for path in ("/anything", "/v1/responses"):
        assert request(path, body).model is None


def test_compressed_and_foreign_bodies_are_not_read() -> None:
    body = b'{"model":"m","messages":[]}'
    assert request("/v1/responses", body, **{"content-encoding": "gzip"}).model is None
    for kind in ("multipart/form-data; boundary=x", "text/plain"):
        assert request("/v1/responses", body, **{"content-type": kind}).model is None
