"""multipart/form-data (RFC 7578): where the values of named fields stand in a body.

The native wire does the same in pieces (`native/src/multipart.rs`); a property test holds both to one result.

Lines end in CRLF. A delimiter is the boundary behind `--` at the beginning of a line, with nothing but blanks
behind it. What is not well-formed is not guessed at: the whole body then counts as not understood. A body
that ends early is read as far as its parts are whole.
"""

import re
from collections.abc import Collection

from headgate.model.bounds import BOUNDARY_BYTES, MOST_PARTS, PART_HEADERS_BYTES

MEDIA_TYPE = "multipart/form-data"
TRUE = (b"true", b"1", b"on", b"t", b"yes", b"y")
"""Values, in small letters, by which model servers (pydantic) understand that a field is true."""

Span = tuple[int, int]

_CLOSED = -1
"""In place of where a part begins: the delimiter was the last one."""

_REST_OF_LINE = re.compile(rb"[ \t]*+\r\n")
_QUOTED = re.compile(rb'"((?:[^"\\]|\\.)*+)"[ \t]*+', re.DOTALL)
_TOKEN = re.compile(rb"[^;]*+")
_PARAMETER_NAME = re.compile(rb"[^=;]*+")
_BLANK = re.compile(rb"[ \t]*+")
_ESCAPED = re.compile(rb"\\(.)", re.DOTALL)
_PRINTABLE = re.compile(rb"[\x20-\x7e]+\Z")
_CONTROL = re.compile(rb"[\0\r\n]")
_BLANKS = b" \t"


def parameters(value: bytes) -> dict[bytes, bytes] | None:
    """What stands behind the first `;` of a header's value, names in small letters.

    None: a quoted text has no end or something behind it, or a name comes twice.
    """
    found: dict[bytes, bytes] = {}
    at = value.find(b";")
    while 0 <= at < len(value):
        name = _PARAMETER_NAME.match(value, at + 1)
        assert name is not None
        at = name.end()
        given = b""
        if value[at : at + 1] == b"=":
            blank = _BLANK.match(value, at + 1)
            assert blank is not None
            at = blank.end()
            text = (_QUOTED if value[at : at + 1] == b'"' else _TOKEN).match(value, at)
            if text is None:
                return None
            at = text.end()
            given = _ESCAPED.sub(rb"\1", text[1]) if text.re is _QUOTED else text[0].rstrip(_BLANKS)
        key = name[0].strip(_BLANKS).lower()
        if key in found or value[at : at + 1] not in (b"", b";"):
            return None
        if key:
            found[key] = given
    return found


def boundary_of(content_type: str) -> bytes | None:
    """The boundary that a multipart content type names; None: none that can be used."""
    named = parameters(content_type.encode())
    found = (named or {}).get(b"boundary", b"")
    usable = len(found) <= BOUNDARY_BYTES and _PRINTABLE.match(found) and not found.endswith(b" ")
    return found if usable else None


def field_name(block: bytes) -> bytes | None:
    """The field whose value a part with these headers holds; empty: it is a file, or no field of a form.

    None: the headers are not well-formed.
    """
    disposition: bytes | None = None
    for line in block.split(b"\r\n") if block else ():
        name, colon, value = line.partition(b":")
        if not colon or not name or line[0] in _BLANKS or _CONTROL.search(line):
            return None
        if name.lower() == b"content-disposition":
            if disposition is not None:
                return None
            disposition = value
    if disposition is None:
        return b""
    named = parameters(disposition)
    if named is None:
        return None
    of_a_form = disposition.partition(b";")[0].strip(_BLANKS).lower() == b"form-data"
    is_file = b"filename" in named or b"filename*" in named
    return named.get(b"name", b"") if of_a_form and not is_file else b""


def values(body: bytes, boundary: bytes, names: Collection[bytes]) -> list[tuple[bytes, Span]] | None:
    """Where the values of the fields *names* stand, in the order of the body; None: it is not understood.

    Work is proportional to the body.
    """
    delimiter = b"\r\n--" + boundary
    found: list[tuple[bytes, Span]] = []
    behind = _behind(body, len(delimiter) - 2) if body.startswith(delimiter[2:]) else None
    if behind is None:
        _, behind = _next(body, delimiter, 0)
    for _ in range(MOST_PARTS):
        if behind is None or behind == _CLOSED:
            return found
        end = behind if body.startswith(b"\r\n", behind) else -1
        content = behind + 2
        if end < 0:
            last = behind + PART_HEADERS_BYTES + 4
            end = body.find(b"\r\n\r\n", behind, last)
            content = end + 4
            if end < 0:
                return found if len(body) < last else None
        name = field_name(body[behind:end])
        if name is None:
            return None
        start, behind = _next(body, delimiter, content)
        if name in names and behind is not None:
            found.append((name, (content, start)))
    return found if behind is None or behind == _CLOSED else None


def _next(body: bytes, delimiter: bytes, at: int) -> tuple[int, int | None]:
    """Where the next delimiter begins, and where the part behind it; None: there is none any more."""
    while (start := body.find(delimiter, at)) >= 0:
        at = start + len(delimiter)
        if (behind := _behind(body, at)) is not None:
            return start, behind
    return start, None


def _behind(body: bytes, at: int) -> int | None:
    """Where a part begins whose delimiter goes on at *at*; `_CLOSED` behind the last; None: it is none."""
    if body.startswith(b"--", at):
        return _CLOSED
    line = _REST_OF_LINE.match(body, at)
    return None if line is None else line.end()


def replace_value(body: bytes, boundary: bytes, name: bytes, value: bytes) -> bytes:
    """*body* with *value* in every field *name*; every other byte stays. A body that is not understood stays.

    Every one, should the field come twice: servers differ in which one they believe.
    """
    parts: list[bytes] = []
    done = 0
    for _, (start, end) in values(body, boundary, (name,)) or ():
        parts += (body[done:start], value)
        done = end
    return b"".join((*parts, body[done:])) if parts else body
