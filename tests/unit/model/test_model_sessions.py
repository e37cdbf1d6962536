"""What may name a session, in words."""

import pytest

from headgate.model.sessions import DEFAULT, USUAL, Sources, sources


def test_sources_by_kind() -> None:
    assert sources(["header:x-a", "cookie:A", "body:metadata.user_id", "header:x-b", "cookie:A"]) == Sources(
        frozenset({"x-a", "x-b"}), frozenset({"A"}), frozenset({"metadata.user_id"})
    )
    assert sources(()) == Sources()
    assert sources(DEFAULT) == USUAL == Sources(frozenset({"x-session-id"}))


@pytest.mark.parametrize("wrong", ["", "x-a", "header:", "path:x"])
def test_what_is_no_source_is_refused(wrong: str) -> None:
    with pytest.raises(ValueError, match="names no session"):
        sources([wrong])
