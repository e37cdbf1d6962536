"""Digests of names."""

from headgate.wire.digest import digest


def test_a_digest_is_short_and_the_same_everywhere() -> None:
    assert digest("s") == digest("s") != digest("t")
    assert len(digest("x" * 100_000)) == 32
    assert digest("") == "99aa06d3014798d86001c324468d497f"
    assert digest("\udc80")
