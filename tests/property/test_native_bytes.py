"""What the native module reads from bytes is what Python reads from them, however they are cut."""

import itertools
import json
import re
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from tests.wires import cases

from headgate.model.requests import MEDIA_TOKENS, MOST_MEDIA
from headgate.wire.api import Format, Reading
from headgate.wire.blocks import HORIZON_BLOCKS, chain
from headgate.wire.extproc import Settings
from headgate.wire.native import native_settings, usage_of
from headgate.wire.parse import FORMATS, read_body
from headgate.wire.rewrite import replace_model, restorer
from headgate.wire.usage import UsageReader

native = pytest.importorskip("headgate_native")

PATIENT = settings(max_examples=cases(100), deadline=None, suppress_health_check=[HealthCheck.too_slow])
"""The nested bodies take Hypothesis a second to prepare."""

Cuts = list[int]
_CUTS = st.lists(st.integers(0, 400), max_size=6)
_TEXT = st.text(max_size=40) | st.text(alphabet='ab "\\\n\x00é😀', max_size=300)
_SCALAR = (
    st.none()
    | st.booleans()
    | st.integers(-5, 2**70)
    | st.floats(allow_nan=False, allow_infinity=False)
    | _TEXT
)
_ANY = st.recursive(
    _SCALAR,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_TEXT, inner, max_size=3),
    max_leaves=6,
)
_URL = st.sampled_from(["http://x/y.png", "data:image/png;base64," + "A" * 700])
_MEDIA = st.one_of(_URL, st.fixed_dictionaries({"url": _URL}, optional={"detail": _ANY}), _ANY)
_DATA = st.sampled_from(["AAAA", "B" * 300, "", "data:x", "data:a/b;base64,AAAA"])
_MORE_MEDIA = st.one_of(
    st.fixed_dictionaries({"input_audio": st.fixed_dictionaries({"data": _DATA, "format": _TEXT})}),
    st.fixed_dictionaries({"source": st.fixed_dictionaries({"type": _TEXT, "data": _DATA | _ANY})}),
    st.fixed_dictionaries({"file_data": _DATA | _ANY}),
    st.fixed_dictionaries({"content": st.lists(st.fixed_dictionaries({"text": _TEXT}), max_size=2) | _ANY}),
    st.fixed_dictionaries({"name": _TEXT, "input": _ANY}),
)
_PART = st.one_of(
    _TEXT,
    _MORE_MEDIA,
    st.fixed_dictionaries({"type": st.just("text"), "text": _TEXT}),
    st.fixed_dictionaries({"type": st.just("image_url"), "image_url": _MEDIA}),
    st.fixed_dictionaries({}, optional={"type": _SCALAR, "text": _SCALAR, "image_url": _MEDIA}),
)
_MESSAGE = st.fixed_dictionaries(
    {"role": st.sampled_from(["user", "system", "assistant"]) | _SCALAR},
    optional={
        "content": _TEXT | st.lists(_PART, max_size=3) | st.none() | _ANY,
        "tool_calls": _ANY,
        "tool_call_id": _SCALAR,
        "name": _ANY,
    },
)
_IDS = st.lists(st.integers(0, 2**33) | _SCALAR, max_size=5)
_FIELDS: dict[str, st.SearchStrategy[Any]] = {
    "model": st.text(min_size=1, max_size=8) | _SCALAR,
    "messages": st.lists(_MESSAGE, max_size=3) | _ANY,
    "prompt": _TEXT | st.lists(_TEXT, max_size=3) | _IDS | st.lists(_IDS, max_size=3) | _ANY,
    "tools": st.lists(_ANY, max_size=2) | st.none() | _ANY,
    "stream": st.booleans() | _ANY,
    "max_tokens": st.integers(0, 2**65) | _ANY,
    "max_completion_tokens": st.integers(0, 9) | _ANY,
    "n": _ANY,
    "sampling_params": st.fixed_dictionaries(
        {}, optional={"max_tokens": st.integers(0, 9) | _ANY, "max_new_tokens": st.integers(0, 2**65) | _ANY}
    )
    | _ANY,
    "cache_salt": _TEXT | _ANY,
    "input": _TEXT | st.lists(_MESSAGE, max_size=3) | st.lists(_TEXT, max_size=3) | _IDS | _ANY,
    "instructions": _TEXT | _ANY,
    "system": _TEXT | st.lists(_PART, max_size=2) | _ANY,
    "prompt_embeds": _DATA | st.lists(_DATA, max_size=2) | _ANY,
    "image_data": _DATA | st.lists(_DATA | _MEDIA, max_size=2) | _ANY,
    "documents": st.lists(_PART, max_size=3) | _ANY,
    "exotic\\u00e9": _ANY,
}
_PAIRS = st.lists(
    st.sampled_from(sorted(_FIELDS)).flatmap(lambda key: st.tuples(st.just(key), _FIELDS[key])), max_size=7
)
_BLANK = st.sampled_from(["", " ", "\n\t"])


def _key(key: str) -> str:
    return f'"{key}"' if "\\" in key else json.dumps(key)


@st.composite
def _bodies(draw: st.DrawFn) -> bytes:
    """Mostly requests as clients write them; fields in any order, some of them twice, some of them wrong."""
    pairs: list[tuple[str, Any]] = draw(_PAIRS)
    if draw(st.booleans()):
        pairs += [("model", "m"), ("messages", draw(st.lists(_MESSAGE, max_size=3))), ("prompt", draw(_TEXT))]
        pairs = draw(st.permutations(pairs))
    plain, blank = draw(st.booleans()), draw(_BLANK)
    text = ",".join(
        f"{blank}{_key(key)}{blank}:{blank}{json.dumps(value, ensure_ascii=plain)}" for key, value in pairs
    )
    return ("{" + text + blank + "}").encode("utf-8", "surrogatepass")


@st.composite
def _damaged(draw: st.DrawFn) -> bytes:
    body = bytearray(draw(_bodies()))
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, len(body)))
        body[at : at + draw(st.integers(0, 2))] = draw(
            st.binary(max_size=2) | st.sampled_from([b'"', b"\\", b"}"])
        )
    return bytes(body)


def _cut(data: bytes, cuts: Cuts) -> list[bytes]:
    places = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
    return [data[a:b] for a, b in itertools.pairwise(places)]


SETTINGS = native_settings(Settings("n"))
JSON_FORMATS = tuple(each for each in FORMATS if each.body == "json")


def _scan(format_: Format, chunks: Sequence[bytes]) -> Any:
    return native.scan(SETTINGS, FORMATS.index(format_), list(chunks))


_HEX = "[0-9a-fA-F]{2}"
_FIRST, _SECOND = rf"\\u[dD][89abAB]{_HEX}", rf"\\u[dD][c-fC-F]{_HEX}"
_HALF_PAIR = re.compile(f"{_FIRST}(?!{_SECOND})|(?<!{_FIRST}){_SECOND}".encode())
"""Half a surrogate pair: msgspec lets it pass in values that it only skips. The scanner does not, so that such a
body is left to Python, and read all the same."""


def _agree(format_: Format, body: bytes, chunks: Sequence[bytes]) -> None:
    """Both read the same, or neither reads it: as it is with bodies too large to be mended."""
    found, wanted = _scan(format_, chunks), read_body(format_, body, 0) if body else None
    if found is None:
        assert _HALF_PAIR.search(body) or not isinstance(wanted, Reading), (body, wanted)
        return
    assert isinstance(wanted, Reading), (body, wanted)
    model, stream, limit, prompt_bytes, media, blocks, tools_first, spans, _ = found
    assert (model, stream, limit, prompt_bytes) == (
        wanted.model,
        wanted.streaming,
        wanted.max_tokens,
        wanted.prompt_bytes,
    )
    assert min(media, MOST_MEDIA) * MEDIA_TOKENS == wanted.media_tokens
    assert blocks == chain(wanted.prompt, wanted.model, wanted.salt)
    assert tools_first == chain(wanted.tools_first, wanted.model, wanted.salt)
    rewritten = body
    for start, end in reversed(spans):
        rewritten = rewritten[:start] + b'"new"' + rewritten[end:]
    assert rewritten == replace_model(body, "new")


@pytest.mark.parametrize("format_", JSON_FORMATS, ids=lambda each: each.api)
@PATIENT
@given(body=_bodies(), cuts=_CUTS)
def test_a_body_that_the_scanner_accepts_reads_the_same(format_: Format, body: bytes, cuts: Cuts) -> None:
    _agree(format_, body, _cut(body, cuts))


@pytest.mark.parametrize("format_", JSON_FORMATS, ids=lambda each: each.api)
@PATIENT
@given(body=_damaged(), cuts=_CUTS)
@example(body=b'{"model":"m","prompt":"p","messages":[],"max_tokens":-0}', cuts=[])
@example(body=b'{"max_tokens":0,"max_tokens":"","model":"m","messages":[],"prompt":""}', cuts=[])
@example(body=b'{"model":"m","prompt":"\\ud800","messages":[]}', cuts=[])
@example(
    body=b'{"model":"m","prompt":"","messages":[{"role":null,"tool_calls":{"a":"\\ud800udc00"}}]}', cuts=[]
)
@example(
    body=b'{"model":"m","prompt":"","messages":[{"role":null,"tool_calls":{"a":"\\ud800dc00"}}]}', cuts=[]
)
def test_a_damaged_body_is_never_accepted_differently(format_: Format, body: bytes, cuts: Cuts) -> None:
    _agree(format_, body, _cut(body, cuts))


CHAT = {
    "messages": [
        {"role": "system", "content": "é" * 400},
        {
            "role": "user",
            "content": [
                {"type": "text", "text": 'a"b\\\n😀'},
                {"type": "image_url", "image_url": {"url": "x" * 300}},
            ],
        },
        {"role": "assistant", "content": None, "tool_calls": [{"id": "1", "function": {"name": "f"}}]},
        {"role": "tool", "tool_call_id": "1", "content": "4"},
    ],
    "tools": [{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}],
    "max_completion_tokens": None,
    "max_tokens": 9,
    "stream": True,
    "temperature": 0.5,
    "model": "müller",
}


@pytest.mark.parametrize("plain", [True, False])
def test_a_usual_chat_is_read_natively_when_cut_at_every_byte(plain: bool) -> None:
    format_ = next(each for each in FORMATS if each.api == "chat")
    body = json.dumps(CHAT, ensure_ascii=plain).encode()
    for cut in range(len(body)):
        assert _scan(format_, [body[:cut], body[cut:]]) is not None
        if cut % 7 == 0:
            _agree(format_, body, [body[:cut], b"", body[cut:]])


def test_a_prompt_beyond_the_horizon_is_hashed_up_to_it() -> None:
    format_ = next(each for each in FORMATS if each.api == "completions")
    body = json.dumps({"model": "m", "prompt": "ab" * 400_000}).encode()
    _agree(format_, body, [body[i : i + 65_536] for i in range(0, len(body), 65_536)])
    found = _scan(format_, [body])
    assert (len(found[5]), found[3]) == (HORIZON_BLOCKS * 8, 800_000)


def _messages(content: Any) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": content}]}


ORDINARY = [
    ("chat", json.dumps({**_messages("x"), "temperature": 1e-05, "logit_bias": {"1": -1.5e300}})),
    ("chat", '{"messages":[],"response_format":{"schema":{"\\u00e9\\u0022":"\\u00e9","n":1e999}}}'),
    (
        "chat",
        json.dumps(_messages([{"type": "input_audio", "input_audio": {"data": "A" * 999, "format": "wav"}}])),
    ),
    (
        "chat",
        json.dumps(_messages([{"type": "image_url", "image_url": {"url": "http://x"}, "cache_control": {}}])),
    ),
    ("chat", json.dumps({**_messages("x"), "model": None})),
    (
        "chat",
        '\ufeff{"messages":[{"role":"user","content":"cut in two \\ud83d"}],"n":123456789012345678901234567890}',
    ),
    ("completions", json.dumps({"prompt": [1, 2, 3], "echo": True, "stop": None})),
    ("responses", json.dumps({"input": "hi", "reasoning": {"effort": "low"}, "instructions": "be brief"})),
    ("responses", json.dumps({"input": [{"type": "function_call_output", "call_id": "1", "output": "2"}]})),
    ("messages", json.dumps({**_messages([{"type": "text", "text": "x"}]), "system": "s", "max_tokens": 9})),
    ("pooling", json.dumps({"input": ["a", "b"], "encoding_format": "float"})),
    ("pooling", json.dumps({"query": "q", "documents": ["d", {"text": "e"}]})),
    ("generate", json.dumps({"input_ids": [[1, 2], [3]], "sampling_params": {"temperature": 1e-7}})),
    ("other", json.dumps({"model": "m", "prompt": {"a": [1e-05]}})),
]


@pytest.mark.parametrize(("api", "body"), ORDINARY)
def test_an_ordinary_body_is_not_left_to_python(api: str, body: str) -> None:
    format_ = next(each for each in FORMATS if each.api == api)
    raw = body.encode()
    assert _scan(format_, [raw]) is not None
    for cut in range(len(raw)):
        _agree(format_, raw, [raw[:cut], raw[cut:]])


GROWING: dict[str, Callable[[int], dict[str, Any]]] = {
    "keys of a part": lambda n: _messages([{f"k{i}": i for i in range(n)}]),
    "media keys": lambda n: _messages([{"image_url": {f"k{i}": "x" for i in range(n)}}]),
    "parts": lambda n: _messages([{"type": "text", "text": "x"}] * n),
    "images": lambda n: _messages([{"image_url": {"url": "data:,x"}}] * n),
    "turns": lambda n: {"messages": [{"role": "user", "content": "hello"}] * n},
    "top-level keys": lambda n: {**_messages("x"), **{f"k{i}": i for i in range(n)}},
    "tools": lambda n: {**_messages("x"), "tools": [{"name": "f"}] * n},
    "text": lambda n: _messages("xy" * n),
    "escapes": lambda n: _messages("\u0001" * n),
    "depth": lambda n: {**_messages("x"), "d": [[[[[[1] * n]]]]]},
    "numbers": lambda n: {**_messages("x"), "n": 10 ** min(n, 4000)},
    "token ids": lambda n: {"messages": [], "prompt": list(range(n))},
}


@pytest.mark.parametrize("format_", JSON_FORMATS, ids=lambda each: each.api)
@pytest.mark.parametrize("what", GROWING)
def test_the_work_is_proportional_to_the_bytes(what: str, format_: Format) -> None:
    """Counted in steps, whatever the machine does besides; in chunks of any size."""
    for chunk in (1, 4096, 1 << 30):
        steps: list[int] = []
        for size in (500, 2000, 8000):
            body = json.dumps(GROWING[what](size)).encode()
            found = _scan(format_, [body[at : at + chunk] for at in range(0, len(body), chunk)])
            if found is not None:
                steps.append(found[8])
        for less, more in itertools.pairwise(steps):
            assert more <= 4.5 * less, (steps, chunk)


_NAME = st.text(max_size=6)
_EVENT_PIECES = st.sampled_from(
    [
        b"data:",
        b"data: ",
        b"\r",
        b"\n",
        b"\r\n",
        b"\xef\xbb\xbf",
        b'{"response":{',
        b'"message" : {',
        b'"model":',
        b'"mod\\u0065l":',
        b'"target"',
        b'"a\\"',
        b"}",
        b",",
        b": x",
    ]
)
_ANSWERS = st.one_of(
    _bodies(),
    _damaged(),
    st.lists(_bodies().map(lambda body: b"data: " + body + b"\n\n"), max_size=4).map(b"".join),
    st.lists(_EVENT_PIECES, max_size=12).map(b"".join),
)


@PATIENT
@given(body=_ANSWERS, name=_NAME)
def test_replacing_a_model_is_the_same(body: bytes, name: str) -> None:
    assert native.replace_model(body, name) == replace_model(body, name)


@PATIENT
@given(
    body=_ANSWERS,
    name=_NAME,
    cuts=_CUTS,
    kind=st.sampled_from(["application/json", "text/event-stream; a=b"]),
    number=st.sampled_from(range(len(FORMATS))),
)
def test_restoring_a_model_sends_the_same_at_the_same_time(
    body: bytes, name: str, cuts: Cuts, kind: str, number: int
) -> None:
    ours = restorer(kind, "", name, FORMATS[number].answers.within)
    assert ours is not None
    chunks = _cut(body, cuts)
    wanted = [ours.feed(chunk) for chunk in chunks] + [ours.finish()]
    assert native.restore_model(SETTINGS, number, kind, "", name, chunks) == wanted


@pytest.mark.parametrize(
    ("kind", "encoding"),
    [("text/html", ""), ("application/json", "gzip"), ("", ""), ("a/b+json", "Identity")],
)
def test_the_same_answers_are_restored(kind: str, encoding: str) -> None:
    ours = restorer(kind, encoding, "m", ())
    assert (native.restore_model(SETTINGS, 0, kind, encoding, "m", []) is None) == (ours is None)


_USAGE = st.fixed_dictionaries(
    {},
    optional={
        "prompt_tokens": st.integers(0, 2**66) | _SCALAR,
        "completion_tokens": st.integers(0, 9) | _SCALAR,
        "input_tokens": st.integers(0, 9) | _SCALAR,
        "output_tokens": st.integers(0, 9) | _SCALAR,
        "cache_read_input_tokens": st.integers(0, 9) | _SCALAR,
        "cache_creation_input_tokens": st.integers(0, 9) | st.none(),
        "input_tokens_details": st.fixed_dictionaries({}, optional={"cached_tokens": st.integers(0, 9)}),
        "prompt_tokens_details": st.fixed_dictionaries({}, optional={"cached_tokens": _SCALAR, "x": _ANY})
        | _ANY,
        "total_tokens": st.integers(0, 9) | _SCALAR,
        "cached_tokens": st.integers(0, 9) | st.none(),
        "cost": _ANY,
    },
)


@PATIENT
@given(
    usage=st.lists(_USAGE | _ANY, min_size=1, max_size=10),
    cuts=_CUTS,
    plain=st.booleans(),
    between=st.sampled_from([0, 0, 17_000]),
    key=st.sampled_from(["usage", "usage", "meta_info"]),
    nest=st.sampled_from([None, "response", "message"]),
    number=st.sampled_from(range(len(FORMATS))),
)
def test_usage_is_the_same(
    usage: list[Any], cuts: Cuts, plain: bool, between: int, key: str, nest: str | None, number: int
) -> None:
    events: list[Any] = [{"choices": [], key: one} for one in usage]
    events = [{nest: event} for event in events] if nest else events
    text = "".join(f"data: {json.dumps(event, ensure_ascii=plain)}\r\n\r\n" for event in events)
    first, end, rest = text.partition("\r\n\r\n")
    data = (first + end + "x" * between + rest).encode("utf-8", "surrogatepass")
    ours = UsageReader(FORMATS[number].counter)
    for chunk in (chunks := _cut(data, cuts)):
        ours.feed(chunk)
    assert usage_of(native.read_usage(SETTINGS, number, chunks)) == ours.usage()
