"""Conversations that are begun: they compute nothing, and have an id under which they are kept."""

from headgate.model.requests import InferenceRequest
from headgate.wire.formats.conversations import FORMAT
from headgate.wire.parse import claimed_by, understand


def test_only_what_begins_a_conversation_is_claimed() -> None:
    assert claimed_by("POST", "/v1/conversations") is FORMAT and FORMAT.answers.stored
    for method, path in (("POST", "/v1/conversations/c"), ("POST", "/v1/conversations/c/items")):
        assert claimed_by(method, path) is not FORMAT
    assert claimed_by("GET", "/v1/conversations") is not FORMAT


def test_no_body_is_refused() -> None:
    for body in (b"", b"{", b'{"items": [], "metadata": {}}'):
        headers = {":method": "POST", ":path": "/v1/conversations"}
        found = understand(headers, body, fallback_id="f")
        assert isinstance(found, InferenceRequest)
        assert (found.api, found.model, found.prior, found.blocks) == ("other", None, None, b"")
