"""What each rule makes of each kind of value."""

from typing import Any

import msgspec
import pytest

from headgate.wire.shape import LEAD, MEDIA_BLOCKS, Text, count, execute, kind_of, media_tokens, string

TEXT = ("text", b"<", b">")


def found(rule: Any, value: Any) -> bytes | None:
    shape = {"fields": {"x": rule}, "layout": ((b"", "x", b""),), "tools": None}
    text = execute(shape, msgspec.json.encode({"x": value})).text
    return text.bytes() if text.parts else None


@pytest.mark.parametrize(
    ("rule", "value", "expected"),
    [
        (TEXT, "é", "<é>".encode()),
        (TEXT, 3, None),
        (("raw", (b"null",)), {"a": [1]}, b'{"a":[1]}'),
        (("raw", (b"null",)), None, None),
        (("list", TEXT), ["a", 3, None, "b"], b"<a><b>"),
        (("list", TEXT), "a", None),
        (("choice", {"string": TEXT, "list": ("list", TEXT)}), ["a"], b"<a>"),
        (("choice", {"string": TEXT}), ["a"], None),
        (("object", {"b": TEXT, "a": TEXT}, ((b"1", "a", b"2"), b"|", (b"", "b", b""))), {"b": "x"}, b"|<x>"),
        (("object", {}, (b"|",)), [], None),
        (("prompts", b";"), "a", b"a"),
        (("prompts", b";"), ["a", "b"], b"a;b"),
        (("prompts", b";"), [1, 258], b"\x01\0\0\0\x02\x01\0\0"),
        (("prompts", b";"), [[1], [2, "x"]], b"\x01\0\0\0;\x02\0\0\0"),
        (("prompts", b";"), [1, "a", -1, None, 1.5], b"\x01\0\0\0;a"),
        (("prompts", b";"), {}, None),
    ],
)
def test_rules(rule: Any, value: Any, expected: bytes | None) -> None:
    assert found(rule, value) == expected


@pytest.mark.parametrize(
    "value", ["AAAA", {"url": "AAAA"}, {"data": "AAAA", "url": ""}, "data:image/png;base64,AAAA"]
)
def test_media_is_its_data_wherever_it_stands(value: Any) -> None:
    shown = found(("media", ("url", "data")), value)
    assert shown is not None
    assert len(shown) == MEDIA_BLOCKS * 128
    assert shown == found(("media", ()), "AAAA")
    assert shown != found(("media", ()), "AAAB")


@pytest.mark.parametrize("value", ["", {}, {"url": 3}, {"other": "x"}, None, 3, []])
def test_what_refers_to_nothing_is_no_media(value: Any) -> None:
    assert found(("media", ("url",)), value) is None


SHAPE = {
    "fields": {"tools": ("raw", ()), "x": TEXT, "turns": ("turns", TEXT, (b"<s",))},
    "layout": ((b"", "x", b""), LEAD, (b"[", "tools", b"]"), (b"", "turns", b"")),
    "tools": "tools",
}


@pytest.mark.parametrize(
    ("body", "usual", "first"),
    [
        ({"tools": 1, "turns": ["s", "a"]}, b"<s>[1]<a>", b"[1]<s><a>"),
        ({"tools": 1, "turns": ["a", "s"]}, b"[1]<a><s>", None),
        ({"tools": 1, "x": "a", "turns": [3, "s"]}, b"<a>[1]<s>", b"[1]<a><s>"),
        ({"turns": ["s", "a"]}, b"<s><a>", None),
        ({"tools": 1, "turns": "s"}, b"[1]", None),
    ],
)
def test_tools_may_come_before_the_lead(body: Any, usual: bytes, first: bytes | None) -> None:
    read = execute(SHAPE, msgspec.json.encode(body))
    assert read.text.bytes() == usual
    assert (read.tools_first.bytes() if read.tools_first else None) == first


def test_the_last_of_two_keys_counts() -> None:
    assert execute(SHAPE, b'{"x":"a","turns":["s"],"x":"b","turns":["c"]}').text.bytes() == b"<b><c>"


def test_readers_of_values() -> None:
    raws = msgspec.json.decode(b'["a",[],{},null,true,12,-1,1e2,0]', type=list[msgspec.Raw])
    kinds = ["string", "list", "object", "null", *["other"] * 5]
    assert [kind_of(raw) for raw in raws] == kinds
    assert [string(raw) for raw in raws] == ["a", *[None] * 8]
    assert [count(raw) for raw in raws] == [None, None, None, None, None, 12, None, None, 0]
    assert (kind_of(None), string(None), count(None)) == ("missing", None, None)


def test_a_text_knows_what_of_it_is_text() -> None:
    text, more = Text(), Text()
    more.push(b"abc")
    more.show("http://x")
    text.append(more)
    assert (text.size, text.media, len(text.bytes())) == (3, 1, 3 + MEDIA_BLOCKS * 128)
    assert media_tokens(text) == 1024
