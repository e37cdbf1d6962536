"""Only the top-level model value changes."""

import pytest

from headgate.wire.counts import ANY
from headgate.wire.rewrite import HOLD_BYTES, JsonRestorer, ModelScan, SseRestorer, replace_model, restorer


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b'{"model":"a","n":1}', b'{"model":"t\\"x","n":1}'),
        (b' { "n" : 1.50 , "model" :\t"a" }\n', b' { "n" : 1.50 , "model" :\t"t\\"x" }\n'),
        (b'{"model":"a","model":"b"}', b'{"model":"t\\"x","model":"t\\"x"}'),
        (b'{"mod\\u0065l":"a"}', b'{"mod\\u0065l":"t\\"x"}'),
        (b'{"model":"a\\"b\\\\"}', b'{"model":"t\\"x"}'),
        (b'{"x":{"model":"a"},"y":[{"model":"a"}]}', None),
        (b'{"x":"\\"model\\":\\"a\\""}', None),
        (b'{"x":"model","y":"a"}', None),
        (b'{"model":null}', None),
        (b'[{"model":"a"}]', None),
        (b'{"model"', None),
        (b'{"model":"a', None),
        (b"", None),
    ],
)
def test_replace_model(body: bytes, expected: bytes | None) -> None:
    assert replace_model(body, 't"x') == (body if expected is None else expected)


def test_a_large_body_is_quick_to_rewrite() -> None:
    body = b'{"messages":[{"content":"' + b"a\\n" * 2_000_000 + b'"}],"model":"a"}'
    assert replace_model(body, "b") == body[:-3] + b'b"}'


JSON = b'{"id":"1","choices":[{"model":"inner"}],"model":"target","usage":{}}'


@pytest.mark.parametrize("cut", range(len(JSON) + 1))
def test_plain_answer_cut_anywhere(cut: int) -> None:
    work = JsonRestorer("asked")
    out = work.feed(JSON[:cut]) + work.feed(JSON[cut:]) + work.finish()
    assert out == JSON.replace(b"target", b"asked")


SSE = b'data: {"model":"target","c":[]}\r\n\r\nevent: x\ndata:{"model":"target"}\n\ndata: [DONE]\n\n'


@pytest.mark.parametrize("cut", range(len(SSE) + 1))
def test_stream_cut_anywhere(cut: int) -> None:
    work = SseRestorer("asked")
    out = work.feed(SSE[:cut]) + work.feed(SSE[cut:]) + work.finish()
    assert out == SSE.replace(b"target", b"asked")


def test_whole_events_are_not_held() -> None:
    assert SseRestorer("asked").feed(b'data: {"model":"t"}\n\n') == b'data: {"model":"asked"}\n\n'


def test_nothing_is_held_for_ever() -> None:
    plain = b'{"x":"' + b"a" * HOLD_BYTES
    work = JsonRestorer("asked")
    assert work.feed(plain) == plain
    assert work.feed(b'","model":"t"}') == b'","model":"t"}'
    line = b'data: {"x":"' + b"a" * HOLD_BYTES
    stream = SseRestorer("asked")
    assert stream.feed(line) == line
    assert stream.feed(b'"}\n' + SSE) == b'"}\n' + SSE.replace(b"target", b"asked")


EVENTS = [
    b'data: {"type":"response.created","response":{"id":"1","model":"target","tools":[{"model":"kept"}]}}\n\n',
    b'event: message_start\ndata: {"type":"message_start","message":{"role":"x","model":"target"}}\n\n',
    b'\xef\xbb\xbfdata: {"model":"target"}\n\n',
    b'\n\ndata: {"model":"target"}\r\rdata: {"model":"target"}\r\r',
    b'data: {"id":1,\ndata: "model":"target"}\n\ndata:{"model":\r\ndata: "target"\r\ndata:}\r\n\r\n',
    b'data: {"choices":[{"message":{"model":"kept"}}],"x":{"response":{"model":"kept"}}}\n\n',
]


@pytest.mark.parametrize("events", EVENTS)
def test_events_of_every_api_and_form(events: bytes) -> None:
    wanted = events.replace(b"target", b"asked")
    for cut in range(len(events) + 1):
        work = SseRestorer("asked", ANY.within)
        assert work.feed(events[:cut]) + work.feed(events[cut:]) + work.finish() == wanted


def test_lines_that_end_with_a_carriage_return_are_not_held() -> None:
    work = SseRestorer("asked")
    assert work.feed(b'data: {"model":"t"}\r') == b'data: {"model":"asked"}\r'
    assert work.feed(b"\n") == b"\n"
    assert work.feed(b"\r\rdata: 1\r") == b"\r\rdata: 1\r"


def test_a_plain_answer_has_its_model_at_the_top() -> None:
    body = b'{"response":{"model":"kept"},"message":{"model":"kept"},"model":"target"}'
    work = JsonRestorer("asked")
    assert work.feed(body) + work.finish() == body.replace(b"target", b"asked")


@pytest.mark.parametrize("unit", [b'"a', b"\\n", b" ", b'"k":1,', b"[", b"x"])
def test_no_byte_is_walked_twice(unit: bytes) -> None:
    text, scan = bytearray(b'{"model"'), ModelScan()
    for _ in range(500):
        text += unit
        assert scan.next(text) is None
        assert scan.at == len(text)


@pytest.mark.parametrize(
    ("kind", "encoding", "expected"),
    [
        ("application/json", "", JsonRestorer),
        ("text/event-stream; charset=utf-8", "identity", SseRestorer),
        ("application/json", "gzip", type(None)),
        ("text/plain", "", type(None)),
    ],
)
def test_which_answers_are_read(kind: str, encoding: str, expected: type) -> None:
    assert isinstance(restorer(kind, encoding, "asked", ()), expected)
