"""Forms: what is read beyond doubt, what is not, and that nothing but a value changes."""

import pytest
from tests.forms import BOUNDARY, CASES, content_type, field, file, multipart

from headgate.wire.multipart import boundary_of, field_name, parameters, replace_value, values


@pytest.mark.parametrize("name", CASES)
def test_the_last_field_of_a_name_is_where_it_is_said_to_be(name: str) -> None:
    kind, body, model = CASES[name]
    boundary = boundary_of(kind) if kind.lower().startswith("multipart/form-data") else None
    places = None if boundary is None else values(body, boundary, (b"model",))
    value = body[slice(*places[-1][1])] if places else b""
    assert value == (model or "").encode() or value == b"\xff"


def test_every_value_changes_and_every_other_byte_stays() -> None:
    body = multipart(field("model", "one"), file(content=b"one"), field("model", ""), preamble=b"one")
    new = replace_value(body, BOUNDARY.encode(), b"model", b"longer than one")
    expected = multipart(
        field("model", "longer than one"),
        file(content=b"one"),
        field("model", "longer than one"),
        preamble=b"one",
    )
    assert new == expected


def test_a_body_that_is_not_understood_stays() -> None:
    for body in (multipart(file()), multipart(field("model", "m"), ("no colon", b"")), b"\0"):
        assert replace_value(body, BOUNDARY.encode(), b"model", b"x") == body


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (b"x", {}),
        (b'x; A="1;\\"2" ;b=3 4 ; c', {b"a": b'1;"2', b"b": b"3 4", b"c": b""}),
        (b";;x=;=y;", {b"x": b""}),
        (b'x; a="', None),
        (b'x; a="\\', None),
        (b'x; a="" b', None),
        (b"x; a=1; A=2", None),
    ],
)
def test_parameters_of_a_header(value: bytes, expected: dict[bytes, bytes] | None) -> None:
    assert parameters(value) == expected


def test_many_parameters_are_read_at_once() -> None:
    named = parameters(b";".join(b"p%d= 1" % number for number in range(20_000)))
    assert named is not None
    assert len(named) == 19_999
    assert boundary_of(content_type("b") + ";x=y" * 2) is None


def test_a_name_is_that_of_a_field_with_a_value() -> None:
    assert field_name(b'content-disposition: form-data; name="a"\r\nx: y') == b"a"
    assert field_name(b"") == b""
    assert field_name(b'content-disposition: form-data; filename=""; name="a"') == b""
    assert field_name(b": form-data") is None
