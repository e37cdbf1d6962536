"""What requests say of their sessions: headers, cookies and bodies, by digests."""

import json
from typing import Any

import pytest
from envoy.service.ext_proc.v3 import external_processor_pb2 as pb
from tests.wires import CONVERSATIONS

from headgate.model.sessions import Sources, sources
from headgate.wire.digest import digest
from headgate.wire.extproc import Settings
from headgate.wire.said import RequestArrived

ALL = sources(
    [
        *("header:x-session-id", "header:x-a", "cookie:sid", "cookie:b"),
        *(f"body:{field}" for field in ("prompt_cache_key", "safety_identifier", "user", "metadata.user_id")),
    ]
)
CHAT = "/v1/chat/completions"
TURNS = {"messages": [{"role": "user", "content": "x"}]}


def asked(
    make: Any, headers: dict[str, str], body: bytes, wanted: Sources, path: str = CHAT
) -> dict[str, str]:
    talk = make(Settings("n"), 1, sessions=wanted)
    first = pb.ProcessingRequest()
    for key, value in {":method": "POST", ":path": path, **headers}.items():
        first.request_headers.headers.headers.add(key=key, raw_value=value.encode())
    second = pb.ProcessingRequest(request_body=pb.HttpBody(body=body, end_of_stream=True))
    (arrived,) = [said for each in (first, second) for said in talk.receive(each.SerializeToString())]
    assert isinstance(arrived, RequestArrived)
    told = arrived.request.sessions
    assert list(told) == sorted(set(told))
    return dict(told)


@pytest.fixture(params=CONVERSATIONS, ids=lambda each: each.__name__)
def make(request: pytest.FixtureRequest) -> Any:
    return request.param


@pytest.mark.parametrize(
    ("headers", "told"),
    [
        ({"x-session-id": "s"}, {"header:x-session-id": "s"}),
        ({"X-Session-Id": "s", "x-a": "t", "x-b": "u"}, {"header:x-session-id": "s", "header:x-a": "t"}),
        ({"x-session-id": ""}, {}),
        ({"x-session-id": "x" * 9000}, {"header:x-session-id": "x" * 9000}),
        ({"cookie": "sid=one"}, {"cookie:sid": "one"}),
        ({"cookie": "a=1; sid=one;b=  two\t; sid=three"}, {"cookie:sid": "one", "cookie:b": "two"}),
        ({"cookie": "sid=; sid=two"}, {"cookie:sid": "two"}),
        ({"cookie": 'sid="a=b"'}, {"cookie:sid": '"a=b"'}),
        ({"cookie": "SID=one; xsid=two; sid; =three"}, {}),
        ({"cookie": "; ;=;" * 2000 + "sid=é"}, {"cookie:sid": "é"}),
        # Lines of one header: a client of HTTP/1.1 may send several.
        ({"cookie": "sid=one", "Cookie": "a=b"}, {"cookie:sid": "one"}),
        (
            {"cookie": "a=b", "Cookie": "sid=one", "COOKIE": "sid=two;b=c"},
            {"cookie:sid": "one", "cookie:b": "c"},
        ),
        ({"x-session-id": "one", "X-Session-Id": "two"}, {"header:x-session-id": "two"}),
    ],
)
def test_headers_and_cookies(make: Any, headers: dict[str, str], told: dict[str, str]) -> None:
    body = json.dumps(TURNS).encode()
    expected = {source: digest(value) for source, value in told.items()}
    assert asked(make, headers, body, ALL) == expected


@pytest.mark.parametrize(
    ("path", "fields", "told"),
    [
        (CHAT, {"user": "u"}, {"user": "u"}),
        (CHAT, {"prompt_cache_key": "k", "user": "u", "safety_identifier": "i"}, None),
        (CHAT, {"user": ""}, {}),
        (CHAT, {"user": 5, "prompt_cache_key": ["k"], "safety_identifier": {"user": "u"}}, {}),
        (CHAT, {"user": "é" * 100_000}, None),
        (CHAT, {"user": "data:text/plain,x"}, None),
        (CHAT, {"metadata": {"user_id": "u"}}, {}),
        ("/v1/completions", {"prompt": "x", "user": "u"}, {"user": "u"}),
        ("/v1/responses", {"input": "x", "prompt_cache_key": "k"}, {"prompt_cache_key": "k"}),
        ("/v1/embeddings", {"input": "x", "user": "u"}, {"user": "u"}),
        ("/v1/messages", {"metadata": {"user_id": "u", "x": {"user_id": "v"}}}, {"metadata.user_id": "u"}),
        ("/v1/messages", {"metadata": "u", "user": "v"}, {}),
        ("/v1/images/generations", {"user": "u"}, {}),
    ],
)
def test_fields_of_bodies(make: Any, path: str, fields: dict[str, Any], told: dict[str, str] | None) -> None:
    body = json.dumps({"model": "m", **TURNS, **fields}).encode()
    expected = {f"body:{name}": digest(value) for name, value in (fields if told is None else told).items()}
    assert asked(make, {}, body, ALL, path) == expected


@pytest.mark.parametrize(
    ("path", "fields", "told"),
    [
        (CHAT, b'"user":"a","user":"b"', {"body:user": "b"}),
        (CHAT, b'"user":"a","user":null', {}),
        (CHAT, b'"\\u0075ser":"\\u00e9\\ud83d\\ude00"', {"body:user": "é😀"}),
        (CHAT, b'"user":"\\ud83d"', {"body:user": "\ufffd"}),
        ("/v1/messages", b'"metadata":{"user_id":"a","user_id":"b"}', {"body:metadata.user_id": "b"}),
        ("/v1/messages", b'"metadata":{"user_id":"a"},"metadata":{}', {}),
        ("/v1/messages", b'"metadata":{"user_id":"a"},"metadata":[1]', {}),
    ],
)
def test_of_repeats_the_last_one_counts(make: Any, path: str, fields: bytes, told: dict[str, str]) -> None:
    body = b'{"messages":[],' + fields + b"}"
    assert asked(make, {}, body, ALL, path) == {source: digest(value) for source, value in told.items()}


def test_only_what_is_wanted_is_looked_for(make: Any) -> None:
    headers, body = {"x-session-id": "s", "cookie": "sid=c"}, b'{"messages":[],"user":"u"}'
    for each in ("header:x-session-id", "cookie:sid", "body:user"):
        assert list(asked(make, headers, body, sources([each]))) == [each]
    assert asked(make, headers, body, Sources()) == {}


def test_a_body_that_is_read_by_the_formats_own_reader_names_its_session_too(make: Any) -> None:
    odd = b'{"messages":[],"user":"\xff"}'
    assert asked(make, {"x-session-id": "s"}, odd, ALL) == {
        "header:x-session-id": digest("s"),
        "body:user": digest("\ufffd"),
    }
    assert asked(make, {"x-session-id": "s"}, b"{", ALL, "/v1/responses") == {
        "header:x-session-id": digest("s")
    }
