"""What peers should never send, on both wires: the same is said, the same is answered, and nothing else happens."""

import gzip
import json
from typing import Any

import pytest
from envoy.service.ext_proc.v3 import external_processor_pb2 as pb
from tests.forms import field, file, multipart
from tests.wires import CONVERSATIONS

from headgate.model.ids import EndpointId
from headgate.wire.extproc import Settings, WireError
from headgate.wire.said import RequestArrived

pytest.importorskip("headgate_native")

PATHS = (
    "/v1/chat/completions",
    "/v1/completions",
    "/v1/responses",
    "/v1/messages",
    "/v1/embeddings",
    "/v1/rerank",
    "/generate",
    "/tokenize",
)
DEEP = 20_000
FORM = multipart(field("model", "asked"), file(), boundary="b")
BODIES = {
    "lists in lists": b'{"model":"m","messages":' + b"[" * DEEP + b"]" * DEEP + b"}",
    "objects in objects": b'{"model":"m","prompt":' + b'{"a":' * DEEP + b"1" + b"}" * DEEP + b"}",
    "lists without end": b'{"model":"m","input":' + b"[" * DEEP,
    "deep, and skipped": b'{"model":"m","messages":[],"prompt":"p","x":' + b"[" * DEEP + b"]" * DEEP + b"}",
    "deep limits": b'{"sampling_params":' + b'{"max_tokens":' * 400 + b"1" + b"}" * 401,
    "a number of many digits": b'{"model":"m","prompt":"p","messages":[],"max_tokens":' + b"9" * 5000 + b"}",
    "a number beyond all": b'{"model":"m","prompt":"p","messages":[],"max_tokens":1e999,"n":-1e-999}',
    "a token beyond all": b'{"model":"m","prompt":[1e999,' + b"9" * 400 + b",-1,1.5,true,null]}",
    "bytes that are no text": b'{"model":"m","prompt":"\xff\xfe\x80","messages":[{"role":"user","content":"\xc3"}]}',
    "a name that is no text": b'{"model":"m\xff","prompt":"p","messages":[]}',
    "a key that is no text": b'{"mod\xffel":"m","prompt":"p","messages":[]}',
    "half a surrogate": b'{"model":"m","prompt":"\\ud83d","messages":[{"role":"user","content":"\\udc00x"}]}',
    "fields twice": b'{"model":"a","prompt":"x","messages":[{"role":"user"}],"model":"b","prompt":7,"messages":[]}',
    "an escaped field twice": b'{"model":"a","mod\\u0065l":"b","messages":[],"prompt":"p"}',
    "a model that is none": b'{"model":{"model":"x"},"prompt":"p","messages":[]}',
    "something behind the end": b'{"model":"m","prompt":"p","messages":[]} {"model":"n"}',
    "a zero behind the end": b'{"model":"m","prompt":"p","messages":[]}\0',
    "a mark before it": b'\xef\xbb\xbf{"model":"m","prompt":"p","messages":[]}',
    "two marks before it": b'\xef\xbb\xbf\xef\xbb\xbf{"model":"m","prompt":"p","messages":[]}',
    "UTF-16": '{"model":"m","prompt":"p","messages":[]}'.encode("utf-16"),
    "a list": b'[{"model":"m"}]',
    "a text": b'"model"',
    "no numbers": b'{"model":"m","prompt":"p","messages":[],"max_tokens":NaN,"n":Infinity}',
    "a comment": b'{"model":"m",/* x */"prompt":"p","messages":[]}',
    "a comma too many": b'{"model":"m","prompt":"p","messages":[],}',
    "control letters": b'{"model":"m\x01","prompt":"a\nb","messages":[]}',
    "a key of a megabyte": b'{"' + b"k" * 1_000_000 + b'":1,"model":"m","prompt":"p","messages":[]}',
    "many fields": b'{"model":"m","prompt":"p","messages":[]' + b',"x":1' * 50_000 + b"}",
    "many turns": b'{"model":"m","messages":[' + b",".join([b'{"role":"user"}'] * 20_000) + b"]}",
    "nothing": b"",
    "blanks": b" \n" * 5000,
    "compressed": gzip.compress(b'{"model":"m","prompt":"p","messages":[]}'),
}
KINDS = {
    "json": {"content-type": "application/json"},
    "nothing": {},
    "compressed": {"content-type": "application/json", "content-encoding": "gzip"},
    "a form without boundary": {"content-type": "multipart/form-data"},
    "a form with a boundary that is too long": {
        "content-type": "multipart/form-data; boundary=" + "b" * 5000
    },
}
FORMS = {
    "whole": FORM,
    "without an end": FORM[:-8],
    "with nothing but delimiters": b"--b\r\n" * 3000,
    "with bare line feeds": FORM.replace(b"\r\n", b"\n"),
    "with headers without end": b'--b\r\nContent-Disposition: form-data; name="model"; x="' + b"y" * 9000,
    "with a model that is no text": multipart(
        ("Content-Disposition: form-data; name=model", b"\xff\xfe"), boundary="b"
    ),
    "with two models": multipart(field("model", "a"), field("model", "b"), boundary="b"),
}
USAGE = b'"usage":{"prompt_tokens":7,"completion_tokens":2}'
STREAMS = {
    "a line without end": b'data: {"model":"t","x":"' + b"a" * 1_100_000,
    "a long line, then another": b'data: {"x":"' + b"a" * 1_100_000 + b'"}\ndata: {"model":"t"}\n\n',
    "blank lines": b"\r\n" * 5000 + b'data: {"model":"t"}\n\n',
    "carriage returns": b'data: {"model":"t"}\r\rdata: {"model":"t"}\r',
    "data without data": b"data\ndata:\ndata: \n\n" * 50 + b'data: {"model":"t",' + USAGE + b"}\n\n",
    "bytes that are no text": b'data: {"model":"t","x":"\xff\xfe",' + USAGE + b"}\n\n",
    "usage again and again": b"data: {" + b",".join([USAGE] * 500) + b"}\n\n",
    "usage within usage": b'data: {"usage":' * 300 + b"{" + USAGE + b"}" * 301,
    "usage without end": b'data: {"usage":{' + b'"prompt_tokens":7,' * 2000,
    "usage of many digits": b'data: {"usage":{"prompt_tokens":' + b"9" * 3000 + b"}}\n\n",
    "usage that is a text": b'data: {"x":"\\"usage\\":{\\"prompt_tokens\\":7}"}\n\n',
    "usage below nothing": b'data: {"usage":{"prompt_tokens":-7,"completion_tokens":1.5}}\n\n',
    "models in models": b'data: {"model":{"model":"t"},"response":{"response":{"model":"t"}}}\n\n' * 5,
    "deep": b"data: " + b'{"response":' * DEEP + b"1" + b"}" * DEEP + b"\n\n",
    "an end too many": b'data: }}}}]]{"model":"t"}\n\n',
    "escapes": b'data: {"mod\\u0065l":"t\\"","response":{"m\\u006fdel":"t"}}\n\ndata: \\\n\n',
    "zeros": b"\0" * 3000 + b'\ndata: {"model":"t"}\n\n',
    "html": b"<html>" * 2000,
    "nothing": b"",
}


def _first(path: str, **headers: str) -> Any:
    message = pb.ProcessingRequest()
    for key, value in {":method": "POST", ":path": path, **headers}.items():
        message.request_headers.headers.headers.add(key=key, raw_value=value.encode())
    message.protocol_config.request_body_mode = message.protocol_config.response_body_mode = 4
    return message


def _begins(kind: str) -> Any:
    message = pb.ProcessingRequest()
    for key, value in {":status": "200", "content-type": kind}.items():
        message.response_headers.headers.headers.add(key=key, raw_value=value.encode())
    return message


def _pieces(body: bytes, direction: str, size: int) -> list[Any]:
    cut = [body[at : at + size] for at in range(0, len(body), size)] or [b""]
    pieces = []
    for number, each in enumerate(cut):
        message = pb.ProcessingRequest()
        part = getattr(message, f"{direction}_body")
        part.body, part.end_of_stream = each, number == len(cut) - 1
        pieces.append(message)
    return pieces


def _told(make: Any, messages: list[Any]) -> list[Any]:
    """All that a conversation says and sends; requests are routed with another name."""
    talk = make(Settings("n", odd_body_limit=50_000), 1)
    told: list[Any] = []
    for message in messages:
        try:
            said = talk.receive(message.SerializeToString())
        except WireError as error:
            return [*told, str(error)]
        if any(isinstance(each, RequestArrived) for each in said):
            talk.route([EndpointId("10.0.0.1:1")], "target", "why")
        told += [said, [pb.ProcessingResponse.FromString(data) for data in talk.outbox], talk.leaving]
        talk.outbox.clear()
    return [*told, talk.closed()]


def _agree(messages: list[Any]) -> list[Any]:
    ours, theirs = (_told(make, messages) for make in CONVERSATIONS)
    assert theirs == ours
    return ours


@pytest.mark.parametrize("size", [997, 10_000_000])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", BODIES)
def test_a_hostile_body(name: str, kind: str, size: int) -> None:
    paths = PATHS if kind == "json" else PATHS[:1]
    for path in paths:
        told = _agree([_first(path, **KINDS[kind]), *_pieces(BODIES[name], "request", size)])
        assert told[-1] is None or told[-1].ending == "aborted"


@pytest.mark.parametrize("size", [1, 10_000_000])
@pytest.mark.parametrize("name", FORMS)
def test_a_hostile_form(name: str, size: int) -> None:
    for path in ("/v1/audio/transcriptions", "/x"):
        kind = {"content-type": "multipart/form-data; boundary=b"}
        _agree([_first(path, **kind), *_pieces(FORMS[name][: 3000 if size == 1 else None], "request", size)])


@pytest.mark.parametrize("size", [313, 10_000_000])
@pytest.mark.parametrize("name", STREAMS)
def test_a_hostile_answer(name: str, size: int) -> None:
    body = json.dumps({"model": "asked", "stream": True, "messages": [], "prompt": "p"}).encode()
    for path in ("/v1/chat/completions", "/v1/responses", "/v1/messages", "/generate"):
        for kind in ("text/event-stream", "application/json"):
            asked = [_first(path, **KINDS["json"]), *_pieces(body, "request", 10_000_000)]
            told = _agree([*asked, _begins(kind), *_pieces(STREAMS[name], "response", size)])
            assert told[-1] is None, "it was told before"


def test_a_stream_that_ends_at_any_message() -> None:
    body = json.dumps({"model": "asked", "stream": True, "messages": []}).encode()
    messages = [
        _first(PATHS[0], **KINDS["json"]),
        *_pieces(body, "request", 10),
        _begins("text/event-stream"),
        *_pieces(b'data: {"model":"t",' + USAGE + b"}\n\n", "response", 10),
        pb.ProcessingRequest(response_trailers=pb.HttpTrailers()),
    ]
    for end in range(len(messages) + 1):
        _agree(messages[:end])
        for again in range(end):
            _agree([*messages[:end], messages[again]])
