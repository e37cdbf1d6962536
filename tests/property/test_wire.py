"""Whatever the bytes and however they are cut."""

import json
from itertools import pairwise
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from headgate.model.requests import BLOCK_BYTES, Usage
from headgate.wire.blocks import chain
from headgate.wire.counts import ANY
from headgate.wire.rewrite import JsonRestorer, SseRestorer, replace_model
from headgate.wire.usage import UsageReader, counter_of

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT | st.just("model"), inner, max_size=4),
    max_leaves=12,
)
NAMES = TEXT.filter(lambda name: name != "model")
OBJECTS = st.dictionaries(NAMES | st.just("usage"), VALUES, max_size=5)
CUTS = st.lists(st.integers(0, 400), max_size=6)


def pieces(data: bytes, cuts: list[int]) -> list[bytes]:
    edges = [0, *sorted(cut % (len(data) + 1) for cut in cuts), len(data)]
    return [data[a:b] for a, b in pairwise(edges)]


def dump(value: Any, ascii_only: bool) -> bytes:
    return json.dumps(value, ensure_ascii=ascii_only).encode()


@given(OBJECTS, OBJECTS, TEXT, TEXT, st.booleans())
def test_every_other_byte_is_kept(
    before: dict[str, Any], after: dict[str, Any], old: str, new: str, ascii_only: bool
) -> None:
    head, tail = dump(before, ascii_only)[:-1], dump(after, ascii_only)[1:]
    head += b", " if before else b""
    tail = (b", " if after else b"") + tail
    found = replace_model(head + b'"model": ' + dump(old, ascii_only) + tail, new)
    assert found.startswith(head + b'"model": ')
    assert found.endswith(tail)
    assert json.loads(found) == {**before, "model": new, **after}


@given(OBJECTS, TEXT, CUTS)
def test_a_plain_answer_is_the_same_in_any_cut(value: dict[str, Any], name: str, cuts: list[int]) -> None:
    data = dump({**value, "model": "target"}, True)
    work = JsonRestorer(name)
    found = b"".join([*map(work.feed, pieces(data, cuts)), work.finish()])
    assert json.loads(found) == {**value, "model": name}


@given(st.lists(OBJECTS, max_size=4), TEXT, CUTS, st.sampled_from([b"\n", b"\r\n"]))
def test_a_stream_is_the_same_in_any_cut(
    events: list[dict[str, Any]], name: str, cuts: list[int], end: bytes
) -> None:
    data = b"".join(b"data: " + dump({"model": "t", **each}, True) + end + end for each in events)
    whole, cut = SseRestorer(name), SseRestorer(name)
    expected = whole.feed(data) + whole.finish()
    assert b"".join([*map(cut.feed, pieces(data, cuts)), cut.finish()]) == expected
    lines = [json.loads(line[5:]) for line in expected.split(end + end)[:-1]]
    assert lines == [{**each, "model": name} for each in events]


@given(OBJECTS, st.integers(0, 10**6), st.integers(0, 10**6), st.none() | st.integers(0, 99), CUTS)
def test_usage_is_the_same_in_any_cut(
    value: dict[str, Any], prompt: int, completion: int, cached: int | None, cuts: list[int]
) -> None:
    details = {} if cached is None else {"prompt_tokens_details": {"cached_tokens": cached}}
    usage = {"prompt_tokens": prompt, "completion_tokens": completion, **details}
    data = (
        b"data: " + dump({**{k: v for k, v in value.items() if k != "usage"}, "usage": usage}, True) + b"\n\n"
    )
    reader = UsageReader(counter_of(ANY))
    for piece in pieces(data, cuts):
        reader.feed(piece)
    assert reader.usage() == Usage(prompt, completion, cached)


@given(st.binary(max_size=5 * BLOCK_BYTES), st.binary(max_size=3 * BLOCK_BYTES))
def test_a_longer_prompt_extends_the_hashes(prompt: bytes, more: bytes) -> None:
    assert chain(prompt + more, "m")[: len(prompt) // BLOCK_BYTES * 8] == chain(prompt, "m")
