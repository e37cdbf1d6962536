"""Forms as clients send them, and as they should not: what every reader of them must agree on."""

import itertools
import random
from collections.abc import Sequence

BOUNDARY = "------------------------d74496d66958873e"
"""As curl makes them."""

Part = tuple[str, bytes]


def multipart(*parts: Part, boundary: str = BOUNDARY, preamble: bytes = b"", end: bytes = b"--\r\n") -> bytes:
    """A body of parts: the lines of each one's headers, joined by CRLF, and its content."""
    dashes = b"--" + boundary.encode()
    pieces = [preamble + (b"\r\n" if preamble else b"")]
    for headers, content in parts:
        pieces.append(dashes + b"\r\n" + headers.encode() + b"\r\n\r\n" + content + b"\r\n")
    return b"".join((*pieces, dashes, end))


def content_type(boundary: str = BOUNDARY) -> str:
    """The content type of a form."""
    return f"multipart/form-data; boundary={boundary}"


def field(name: str, value: str) -> Part:
    """A plain field of a form."""
    return f'Content-Disposition: form-data; name="{name}"', value.encode()


def file(name: str = "file", content: bytes = b"RIFF\r\n--\r\n\0", filename: str = "a.wav") -> Part:
    """A file in a form."""
    lines = f'Content-Disposition: form-data; name="{name}"; filename="{filename}"'
    return lines + "\r\nContent-Type: audio/wav", content


MODEL = field("model", "m")


def _with(disposition: str, content: bytes = b"m", more: str = "") -> bytes:
    return multipart(file(), (f"Content-Disposition: {disposition}{more}", content))


def _bounded(parameters: str, boundary: str = "b") -> tuple[str, bytes, str | None]:
    return f"multipart/form-data{parameters}", multipart(file(), MODEL, boundary=boundary), "m"


_TYPE = content_type()
CASES: dict[str, tuple[str, bytes, str | None]] = {
    "curl": (_TYPE, multipart(file(), MODEL), "m"),
    "model first": (_TYPE, multipart(MODEL, file()), "m"),
    "model between": (_TYPE, multipart(file(), MODEL, file("more")), "m"),
    "model alone": (_TYPE, multipart(MODEL), "m"),
    "a long name": (_TYPE, multipart(file(), field("model", "org/" + "x" * 250)), "org/" + "x" * 250),
    "no ASCII": (_TYPE, multipart(field("model", "mé😀")), "mé😀"),
    "no UTF-8": (_TYPE, multipart(('Content-Disposition: form-data; name="model"', b"\xff")), None),
    "blanks are the name's own": (_TYPE, multipart(field("model", " m ")), " m "),
    "empty": (_TYPE, multipart(field("model", "")), None),
    "missing": (_TYPE, multipart(file(), field("language", "en")), None),
    "twice": (_TYPE, multipart(MODEL, file(), field("model", "other")), "other"),
    "last one empty": (_TYPE, multipart(MODEL, field("model", "")), None),
    "another field's name begins so": (_TYPE, multipart(MODEL, field("model_version", "x")), "m"),
    "case counts": (_TYPE, multipart(field("Model", "m")), None),
    # ---- what the part says of itself
    "unquoted name": (_TYPE, _with("form-data; name=model"), "m"),
    "blanks around": (_TYPE, _with('form-data ; \tname = "model" '), "m"),
    "no blanks": (_TYPE, _with('form-data;name="model"'), "m"),
    "escapes": (_TYPE, _with(r'form-data; name="mo\del"'), "m"),
    "loud": (_TYPE, _with('FORM-DATA; NAME="model"'), "m"),
    "loud header": (_TYPE, multipart(("CONTENT-DISPOSITION:form-data; name=model", b"m")), "m"),
    "further headers": (_TYPE, _with('form-data; name="model"', more="\r\nContent-Type: text/plain"), "m"),
    "a further parameter": (_TYPE, _with('form-data; x="a;name=b"; name="model"'), "m"),
    "a semicolon at the end": (_TYPE, _with('form-data; name="model";'), "m"),
    "a file": (_TYPE, _with('form-data; name="model"; filename="m"'), None),
    "an encoded file": (_TYPE, _with("form-data; name=\"model\"; filename*=UTF-8''m"), None),
    "an encoded name": (_TYPE, _with("form-data; name*=UTF-8''model"), None),
    "an attachment": (_TYPE, _with('attachment; name="model"'), None),
    "no disposition": (_TYPE, multipart(MODEL, ("Content-Type: text/plain", b"x")), "m"),
    "no headers": (_TYPE, multipart(MODEL).replace(b"--\r\n", b"\r\n\r\nx\r\n--" + BOUNDARY.encode()), "m"),
    "a quote without end": (_TYPE, _with('form-data; name="model'), None),
    "something behind a quote": (_TYPE, _with('form-data; name="model"x'), None),
    "two names": (_TYPE, _with('form-data; name="a"; name="model"'), None),
    "two dispositions": (
        _TYPE,
        _with('form-data; name="model"', more="\r\nContent-Disposition: form-data; name=x"),
        None,
    ),
    "folded": (_TYPE, _with('form-data;\r\n name="model"'), None),
    "no colon": (_TYPE, _with('form-data; name="model"', more="\r\nContent-Type"), None),
    "a bare line feed": (_TYPE, _with('form-data; name="model"', more="\nx: y"), None),
    "long headers": (_TYPE, _with('form-data; name="model"', more="\r\nx: " + "y" * 4000), "m"),
    "headers too long": (_TYPE, _with('form-data; name="model"', more="\r\nx: " + "y" * 4100), None),
    # ---- delimiters
    "preamble": (_TYPE, multipart(MODEL, preamble=b"This is a message in MIME format."), "m"),
    "a preamble that looks so": (
        _TYPE,
        multipart(MODEL, preamble=b"--" + BOUNDARY.encode() + b"x\r\n" + MODEL[0].encode()),
        "m",
    ),
    "a line break first": (_TYPE, b"\r\n" + multipart(MODEL), "m"),
    "epilogue": (_TYPE, multipart(MODEL) + multipart(field("model", "x")), "m"),
    "nothing behind the end": (_TYPE, multipart(MODEL, end=b"--"), "m"),
    "padding": (_TYPE, multipart(file(), MODEL).replace(b"73e\r\n", b"73e \t \r\n"), "m"),
    "no end": (_TYPE, multipart(file(), MODEL, end=b"\r\n"), "m"),
    "ends in a part": (_TYPE, multipart(MODEL, field("model", "x"))[: -len(BOUNDARY) - 9], "m"),
    "ends in headers": (_TYPE, multipart(MODEL, file())[:-85], "m"),
    "a longer line in a file": (
        _TYPE,
        multipart(MODEL, file(content=b"x\r\n--" + BOUNDARY.encode() + b"x\r\n" + b"y" * 50)),
        "m",
    ),
    "nearly a delimiter": (
        _TYPE,
        multipart(file(content=b"\r\r\n-\r\n--\r\n--" + BOUNDARY.encode()[:-1] + b"\r\r\n--"), MODEL),
        "m",
    ),
    "a delimiter in a line": (_TYPE, multipart(MODEL, file(content=b"x--" + BOUNDARY.encode())), "m"),
    "line feeds alone": (_TYPE, multipart(MODEL).replace(b"\r\n", b"\n"), None),
    "nothing": (_TYPE, b"", None),
    "many parts": (_TYPE, multipart(*[field("x", "y")] * 1023, MODEL), "m"),
    "too many parts": (_TYPE, multipart(*[field("x", "y")] * 1024, MODEL), None),
    # ---- the boundary
    "a short boundary": _bounded("; boundary=b"),
    "a quoted boundary": _bounded('; boundary="b"'),
    "a loud boundary": _bounded("; Boundary=b"),
    "blanks around the boundary": _bounded(' ;  boundary = "b" ; charset=utf-8'),
    "another parameter first": _bounded("; charset=utf-8; boundary=b"),
    "no blank before the boundary": _bounded(";boundary=b"),
    "an odd boundary": _bounded("; boundary=----=_Part_1'()+,./:?", "----=_Part_1'()+,./:?"),
    "a boundary with blanks": _bounded('; boundary="a b"', "a b"),
    "the longest boundary": _bounded("; boundary=" + "b" * 70, "b" * 70),
    "a boundary too long": (*_bounded("; boundary=" + "b" * 71, "b" * 71)[:2], None),
    "no boundary": (*_bounded("")[:2], None),
    "an empty boundary": (*_bounded("; boundary=", "")[:2], None),
    "two boundaries": (*_bounded("; boundary=b; boundary=b")[:2], None),
    "another boundary": (*_bounded("; boundary=c")[:2], None),
    "a boundary that is no ASCII": (*_bounded('; boundary="é"', "é")[:2], None),
    "another kind of multipart": ("multipart/mixed; boundary=b", _bounded("")[1], None),
    "a loud type": ("Multipart/Form-Data; boundary=b", _bounded("")[1], "m"),
}
"""Content type, body, and the model that the form names, if one does beyond doubt."""


def cut(body: bytes, places: Sequence[int]) -> list[bytes]:
    """The body in pieces."""
    ends = [0, *sorted(min(place, len(body)) for place in places), len(body)]
    return [body[start:end] for start, end in itertools.pairwise(ends)]


PIECES = (
    *(
        "--b",
        "--b--",
        "\r\n",
        "\r",
        "\n",
        "\r\n\r\n",
        "--",
        "-",
        " ",
        "\t",
        "b",
        "--bb",
        "--c",
        "\0",
        ":",
        ";",
    ),
    *('Content-Disposition: form-data; name="model"', "content-disposition:form-data;name=stream"),
    *('Content-Disposition: form-data; name="max_completion_tokens"', "Content-Type: x/y", '"', "\\", "="),
    *('; filename="x"', "; name=model", "name*", "form-data", "m", "true", "17", "007", "é", " folded"),
    *("\r\n--b\r\n", "\r\n\r\nm\r\n--b", 'Content-Disposition: form-data; name="model"\r\n\r\n'),
)
"""What forms are made of whose boundary is `b`."""


def damaged(body: bytes, damage: Sequence[tuple[int, int, str]]) -> bytes:
    """The body with some bytes replaced: place, how many, and by what."""
    for at, length, put in damage:
        body = body[:at] + put.encode() + body[at + length :]
    return body


def random_form(dice: random.Random) -> tuple[str, bytes]:
    """Content type and body of a form that is well-formed, nearly so, or not at all."""
    if dice.random() < 0.2:
        return "multipart/form-data; boundary=b", "".join(dice.choices(PIECES, k=dice.randrange(30))).encode()
    parts = [
        dice.choice(
            (MODEL, field("model", "é"), field("x", "model"), file(content=dice.choice(PIECES).encode()))
        )
        for _ in range(dice.randrange(1, 4))
    ]
    body = multipart(*parts, boundary="b")
    damage = [
        (dice.randrange(len(body)), dice.randrange(3), dice.choice(PIECES)) for _ in range(dice.randrange(3))
    ]
    kind = "multipart/form-data; boundary=b"
    if dice.random() < 0.2:
        at = dice.randrange(20, len(kind))
        kind = kind[:at] + dice.choice(('"', ";", " ", "\\", "=", "b", "x=y;")) + kind[at:]
    return kind, damaged(body, damage)
