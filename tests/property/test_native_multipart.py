"""The native reader of forms: it reads what Python reads, whatever the bytes and however they come."""

import itertools
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tests.forms import BOUNDARY, CASES, PIECES, cut, damaged, field, file, multipart
from tests.wires import cases

from headgate.wire.api import Reading
from headgate.wire.extproc import Settings
from headgate.wire.native import native_settings
from headgate.wire.parse import FORMATS, OTHERS, read_body, rename

native = pytest.importorskip("headgate_native")

MANY = settings(max_examples=cases(1000), deadline=None)
SETTINGS = native_settings(Settings("n"))
FORMAT = OTHERS["multipart"]

_PIECES = st.sampled_from(PIECES)
_DAMAGE = st.lists(st.tuples(st.integers(0, 300), st.integers(0, 3), _PIECES), max_size=3)
_PARTS = st.lists(
    st.one_of(
        st.sampled_from(["m", "other", "", "x" * 600]).map(lambda name: field("model", name)),
        st.sampled_from(["true", "ON", "no"]).map(lambda said: field("stream", said)),
        st.sampled_from(["5", "05", "x" * 30]).map(lambda said: field("max_completion_tokens", said)),
        st.lists(_PIECES, max_size=6).map(lambda pieces: file(content="".join(pieces).encode())),
    ),
    max_size=5,
)
_BODIES = st.one_of(
    st.lists(_PIECES, max_size=30).map(lambda pieces: "".join(pieces).encode()),
    st.builds(lambda parts, damage: damaged(multipart(*parts, boundary="b"), damage), _PARTS, _DAMAGE),
)
_TYPES = st.one_of(
    st.just("multipart/form-data; boundary=b"),
    st.lists(st.sampled_from(["boundary", "=", '"', "b", ";", " ", "\t", "\\", "x", "é"]), max_size=9).map(
        lambda pieces: "multipart/form-data;" + "".join(pieces)
    ),
)
_CUTS = st.lists(st.integers(0, 400), max_size=6)


def _scan(kind: str, chunks: Sequence[bytes]) -> Any:
    return native.scan(SETTINGS, FORMATS.index(FORMAT), list(chunks), kind)


def _agree(kind: str, body: bytes, chunks: Sequence[bytes]) -> None:
    found, wanted = _scan(kind, chunks), read_body(FORMAT, body, 0, kind)
    if found is None:
        assert wanted is None, (kind, body, wanted)
        return
    assert isinstance(wanted, Reading), (kind, body, found)
    model, stream, limit, prompt_bytes, media, blocks, tools_first, spans, _ = found
    assert (model, stream, limit) == (wanted.model, wanted.streaming, wanted.max_tokens), (kind, body)
    assert (prompt_bytes, media, blocks, tools_first) == (0, 0, b"", b"")
    renamed = body
    for start, end in reversed(spans):
        renamed = renamed[:start] + b"new" + renamed[end:]
    assert renamed == rename({"content-type": kind}, body, "new")


@MANY
@given(kind=_TYPES, body=_BODIES, cuts=_CUTS)
@example(kind="multipart/form-data; boundary=b", body=b"--b\r\r\n--b\r\n\r\n", cuts=[4])
@example(kind="multipart/form-data; boundary=b", body=b"--b\r\n\r\r\n\r\n\r\n--b--", cuts=[])
@example(kind="multipart/form-data; boundary=b", body=b"\r\n--b-\r\n--b--", cuts=[7])
def test_any_bytes_read_the_same(kind: str, body: bytes, cuts: list[int]) -> None:
    _agree(kind, body, cut(body, cuts))


@pytest.mark.parametrize("name", [name for name in CASES if "form-data" in CASES[name][0].lower()])
def test_a_form_reads_the_same_when_cut_at_any_byte(name: str) -> None:
    kind, body, model = CASES[name]
    places = range(len(body)) if len(body) < 1000 else (*range(300), *range(len(body) - 300, len(body)))
    for at in places:
        found = _scan(kind, [body[:at], body[at:]])
        assert (found[0] if found else None) == model
    _agree(kind, body, [bytes([byte]) for byte in body])


GROWING = {
    "a file": lambda n: multipart(file(content=b"x" * n), field("model", "m")),
    "line ends": lambda n: multipart(file(content=b"\r\n" * n), field("model", "m")),
    "nearly delimiters": lambda n: multipart(
        file(content=(b"\r\n--" + BOUNDARY.encode()[:-1]) * (n // 8)), field("model", "m")
    ),
    "longer lines": lambda n: multipart(
        file(content=(b"\r\n--" + BOUNDARY.encode() + b" x") * (n // 8)), field("model", "m")
    ),
    "parts": lambda n: multipart(*[field("x", "y")] * (n // 100), field("model", "m")),
    "a long value": lambda n: multipart(field("stream", "x" * n), field("model", "m")),
    "parameters": lambda n: multipart(
        *[("Content-Disposition: form-data;" + ";".join(f"{i}=1" for i in range(400)), b"")] * (n // 500)
    ),
}


@pytest.mark.parametrize("what", GROWING)
def test_the_work_is_proportional_to_the_bytes(what: str) -> None:
    """Counted in steps, whatever the machine does besides; in chunks of any size."""
    kind = f"multipart/form-data; boundary={BOUNDARY}"
    for chunk in (1, 4096, 1 << 30):
        steps = []
        for size in (1000, 4000, 16000):
            body = GROWING[what](size)
            found = _scan(kind, [body[at : at + chunk] for at in range(0, len(body), chunk)])
            steps.append(found[8] / len(body))
        assert max(steps) < 3, (steps, chunk)
        for less, more in itertools.pairwise(steps):
            assert more <= 1.5 * less, (steps, chunk)
