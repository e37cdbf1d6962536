"""The top of a JSON text."""

import pytest

from headgate.wire.outline import Outline


@pytest.mark.parametrize(
    ("text", "entries", "closed"),
    [
        (b'{"a":"b"}', [(b"a", b"b")], True),
        (b'x {"a" : "b\\"" , "c":[1,"d"]}} {"e":"f"}', [(b"a", b'b\\"'), (b"c", None)], True),
        (b'{"n":5,"t":true,"z":null}', [], True),
        (
            b'{"in":{"a":"b","c":{"d":"e"}},"o":{"f":"g"}}',
            [(b"in", None), (b"a", b"b"), (b"c", None), (b"o", None)],
            True,
        ),
        (b'{"in":[{"a":"b"}],"a":"b"}', [(b"in", None), (b"a", b"b")], True),
        (b'{"a":"b"', [], False),
        (b'{"a":"b",', [(b"a", b"b")], False),
        (b'{"a":"b', [], False),
        (b"[1]", [], False),
        (b"", [], False),
    ],
)
def test_a_walk(text: bytes, entries: list[tuple[bytes, bytes | None]], closed: bool) -> None:
    outline = Outline(text, [b"in"])
    assert list(outline) == entries
    assert outline.closed is closed
