"""Scripted streams: what the peer sends, what is said, what is answered, in both body modes."""

import json
from typing import Any

import pytest
from envoy.extensions.filters.http.ext_proc.v3.processing_mode_pb2 import ProcessingMode
from envoy.service.ext_proc.v3 import external_processor_pb2 as pb
from tests.wires import CONVERSATIONS

from headgate.model.ids import EndpointId, StreamId
from headgate.model.load import ModelCard
from headgate.model.requests import Usage
from headgate.wire import extproc
from headgate.wire.answers import CHUNK_BYTES
from headgate.wire.digest import digest
from headgate.wire.extproc import Settings, WireError
from headgate.wire.said import AnswerStored, FirstToken, RequestArrived, RequestEnded, ResponseStarted
from headgate.wire.stream_key import StreamKeys

BODY = b'{"model":"m","messages":[{"role":"user","content":"hi"}]}'
A, B = EndpointId("10.0.0.1:8000"), EndpointId("[fd00::1]:8000")
DUPLEX, BUFFERED, STREAMED, NONE = (
    ProcessingMode.FULL_DUPLEX_STREAMED,
    ProcessingMode.BUFFERED,
    ProcessingMode.STREAMED,
    ProcessingMode.NONE,
)
POST = {":method": "POST", ":path": "/v1/chat/completions", "content-type": "application/json"}
SSE = {":status": "200", "content-type": "text/event-stream"}
PLAIN = {":status": "200", "content-type": "application/json"}

SEVEN = StreamId(7)
KEY = StreamKeys("n", b"").key(SEVEN)
"""What the stream that is tested here is called in the access log."""


def fill(target: Any, headers: dict[str, str]) -> None:
    for key, value in headers.items():
        target.headers.headers.add(key=key, raw_value=value.encode())


def request(
    headers: dict[str, str] = POST, *, end: bool = False, modes: tuple[int, int] | None = (DUPLEX, DUPLEX)
) -> Any:
    message = pb.ProcessingRequest()
    fill(message.request_headers, headers)
    message.request_headers.end_of_stream = end
    if modes is not None:
        message.protocol_config.request_body_mode = modes[0]
        message.protocol_config.response_body_mode = modes[1]
    return message


def body(data: bytes, *, end: bool = True) -> Any:
    return pb.ProcessingRequest(request_body=pb.HttpBody(body=data, end_of_stream=end))


def trailers() -> Any:
    return pb.ProcessingRequest(request_trailers=pb.HttpTrailers())


def response(headers: dict[str, str], *, end: bool = False, served: str = "") -> Any:
    message = pb.ProcessingRequest()
    fill(message.response_headers, headers)
    message.response_headers.end_of_stream = end
    if served:
        lb = message.metadata_context.filter_metadata["envoy.lb"]
        lb["x-gateway-destination-endpoint-served"] = served
    return message


def chunk(data: bytes, *, end: bool = False) -> Any:
    return pb.ProcessingRequest(response_body=pb.HttpBody(body=data, end_of_stream=end))


def response_trailers() -> Any:
    return pb.ProcessingRequest(response_trailers=pb.HttpTrailers())


class Stream:
    """A conversation with its answers decoded."""

    make: Any
    """Which wire's conversation; set for every test."""

    def __init__(self, *, lean: bool = False, fallbacks: bool = True, **settings: Any) -> None:
        self.talk = self.make(Settings("n", **settings), 7, lean=lean, fallbacks=fallbacks)

    def tell(self, *messages: Any) -> list[Any]:
        return [said for message in messages for said in self.talk.receive(message.SerializeToString())]

    def answers(self) -> list[Any]:
        found = [pb.ProcessingResponse.FromString(data) for data in self.talk.outbox]
        self.talk.outbox.clear()
        return found

    def left(self) -> bool:
        return bool(self.talk.leaving)

    def kinds(self) -> list[str]:
        return [str(answer.WhichOneof("response")) for answer in self.answers()]

    def routed(self, *messages: Any, target: str | None = None) -> list[Any]:
        said = self.tell(*messages)
        assert [type(each) for each in said] == [RequestArrived]
        self.talk.route([A, B], target, "why")
        return self.answers()


@pytest.fixture(autouse=True, params=CONVERSATIONS, ids=lambda each: each.__name__)
def _wire(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Stream, "make", staticmethod(request.param), raising=False)


def put(mutation: Any) -> dict[str, str]:
    return {option.header.key: option.header.raw_value.decode() for option in mutation.set_headers}


def returned(answers: list[Any]) -> bytes:
    return b"".join(
        each.request_body.response.body_mutation.streamed_response.body
        for each in answers
        if each.WhichOneof("response") == "request_body"
    )


@pytest.mark.parametrize("lean", [False, True])
def test_headers_for_the_server_take_the_place_of_the_clients(lean: bool) -> None:
    stream = Stream(lean=lean)
    modes = (BUFFERED, NONE) if lean else (DUPLEX, DUPLEX)
    stream.tell(request({**POST, "x-prefiller-host-port": "forged"}, modes=modes), body(BODY))
    stream.answers()
    stream.talk.route([A], None, "why", [("x-prefiller-host-port", "10.0.0.9:8000")])
    (*_, answer) = [each for each in stream.answers() if "header_mutation" in str(each)]
    phase = answer.request_body if lean else answer.request_headers
    told = put(phase.response.header_mutation)
    assert told["x-prefiller-host-port"] == "10.0.0.9:8000"
    assert told["x-gateway-destination-endpoint"] == A


@pytest.mark.parametrize("cut", range(len(BODY) + 1))
def test_full_duplex_in_any_chunking(cut: int) -> None:
    stream = Stream()
    assert stream.tell(request(), body(BODY[:cut], end=False)) == []
    assert stream.answers() == []
    head, *rest = stream.routed(body(BODY[cut:]))
    common = head.request_headers.response
    assert put(common.header_mutation)["x-gateway-destination-endpoint"] == f"{A},{B}"
    assert head.dynamic_metadata["envoy.lb"]["x-gateway-destination-endpoint"] == f"{A},{B}"
    assert dict(head.dynamic_metadata["headgate"]) == {"stream": KEY, "decision": "why"}
    assert common.clear_route_cache
    assert returned(rest) == BODY
    ends = [each.request_body.response.body_mutation.streamed_response.end_of_stream for each in rest]
    assert ends == [*[False] * (len(rest) - 1), True]


@pytest.mark.parametrize("size", [0, 1, CHUNK_BYTES, CHUNK_BYTES + 1, 3 * CHUNK_BYTES])
def test_full_duplex_gives_every_byte_back_in_small_chunks(size: int) -> None:
    stream, data = Stream(), b"x" * size
    other = {**POST, "content-type": "text/plain"}
    answers = stream.routed(request(other), body(data, end=False), body(b""))
    assert returned(answers) == data
    chunks = [each.request_body.response.body_mutation.streamed_response for each in answers[1:]]
    assert all(len(each.body) <= CHUNK_BYTES for each in chunks)
    assert [each.end_of_stream for each in chunks] == [*[False] * (len(chunks) - 1), True]


def test_full_duplex_with_trailers() -> None:
    stream = Stream()
    answers = stream.routed(request(), body(BODY, end=False), trailers())
    kinds = [each.WhichOneof("response") for each in answers]
    assert kinds == ["request_headers", "request_body", "request_trailers"]
    assert not answers[1].request_body.response.body_mutation.streamed_response.end_of_stream


@pytest.mark.parametrize("modes", [(DUPLEX, DUPLEX), (BUFFERED, STREAMED), None])
def test_a_request_without_body_is_picked_on_its_headers(modes: tuple[int, int] | None) -> None:
    stream = Stream()
    get = {":method": "GET", ":path": "/x"}
    answers = stream.routed(request(get, end=True, modes=modes))
    assert [each.WhichOneof("response") for each in answers] == ["request_headers"]
    assert answers[0].dynamic_metadata["envoy.lb"]["x-gateway-destination-endpoint"] == f"{A},{B}"


@pytest.mark.parametrize("lean", [False, True])
def test_buffered(lean: bool) -> None:
    stream = Stream(lean=lean)
    assert stream.tell(request(modes=(BUFFERED, STREAMED))) == []
    (empty,) = stream.answers()
    assert empty.request_headers == pb.HeadersResponse()
    assert empty.HasField("dynamic_metadata") is lean
    if lean:
        assert dict(empty.dynamic_metadata["headgate"]) == {"stream": KEY}
    (answer,) = stream.routed(body(BODY))
    common = answer.request_body.response
    assert put(common.header_mutation)["x-gateway-destination-endpoint"] == f"{A},{B}"
    assert answer.dynamic_metadata["envoy.lb"]["x-gateway-destination-endpoint"] == f"{A},{B}"
    assert not common.HasField("body_mutation")
    assert common.clear_route_cache is not lean


def test_buffered_with_trailers_after_the_body() -> None:
    stream = Stream()
    stream.tell(request(modes=(BUFFERED, STREAMED)))
    stream.routed(body(BODY, end=False))
    assert stream.tell(trailers()) == []
    assert stream.kinds() == ["request_trailers"]


@pytest.mark.parametrize("mode", [STREAMED, NONE])
def test_a_body_that_is_not_seen_whole_is_routed_on_the_headers(mode: int) -> None:
    stream = Stream()
    answers = stream.routed(request(modes=(mode, NONE)))
    assert [each.WhichOneof("response") for each in answers] == ["request_headers"]
    assert stream.tell(body(b"x", end=False)) == []
    assert stream.kinds() == ["request_body"]


def test_without_protocol_config_initial_metadata_decides() -> None:
    duplex, lean = Stream(), Stream(lean=True)
    duplex.tell(request(modes=None))
    lean.tell(request(modes=None))
    assert (duplex.kinds(), lean.kinds()) == ([], ["request_headers"])


@pytest.mark.parametrize(
    ("modes", "kind"), [((DUPLEX, DUPLEX), "duplex"), ((BUFFERED, STREAMED), "buffered")]
)
def test_the_target_model_is_put_in_and_the_asked_one_shown(modes: tuple[int, int], kind: str) -> None:
    stream = Stream()
    headers = {**POST, "accept-encoding": "gzip", "content-length": str(len(BODY))}
    answers = stream.routed(request(headers, modes=modes), body(BODY), target="adapter-2")
    answers = [each for each in answers if each.HasField("dynamic_metadata") or kind == "duplex"]
    new = BODY.replace(b'"m"', b'"adapter-2"')
    if kind == "duplex":
        mutation = answers[0].request_headers.response.header_mutation
        assert returned(answers) == new
    else:
        mutation = answers[0].request_body.response.header_mutation
        assert answers[0].request_body.response.body_mutation.body == new
    assert "accept-encoding" in mutation.remove_headers
    assert put(mutation)["content-length"] == str(len(new))
    stream.tell(response(SSE))
    assert "content-length" in stream.answers()[0].response_headers.response.header_mutation.remove_headers
    stream.tell(chunk(b'data: {"mod'), chunk(b'el":"adapter-2"}\n\n', end=True))
    changed = [each.response_body.response.body_mutation for each in stream.answers()]
    if kind == "duplex":
        assert b"".join(each.streamed_response.body for each in changed) == b'data: {"model":"m"}\n\n'
        assert [each.streamed_response.end_of_stream for each in changed] == [False, True]
    else:
        assert changed[0].clear_body
        assert changed[1].body == b'data: {"model":"m"}\n\n'


@pytest.mark.parametrize(
    ("hint", "expected"),
    [
        (["10.0.0.1:8000", "10.0.0.2"], ("10.0.0.1:8000", "10.0.0.2")),
        ("10.0.0.1:8000, 10.0.0.2", ("10.0.0.1:8000", "10.0.0.2")),
        ([], ()),
        ("", ()),
        (None, None),
    ],
)
def test_subset_hint(hint: list[str] | str | None, expected: tuple[str, ...] | None) -> None:
    message = request(end=True, headers={":method": "GET", ":path": "/"})
    if hint is not None:
        values = message.metadata_context.filter_metadata["envoy.lb.subset_hint"]
        values["x-gateway-destination-endpoint-subset"] = hint
    assert Stream().tell(message)[0].request.subset == expected
    assert Stream(subset_filter=False).tell(message)[0].request.subset is None


@pytest.mark.parametrize("lean", [False, True])
def test_only_who_walks_lists_is_given_one(lean: bool) -> None:
    stream = Stream(lean=lean, fallbacks=False)
    stream.tell(request(modes=(BUFFERED, BUFFERED)))
    stream.answers()
    (answer,) = stream.routed(body(BODY))
    told = put(answer.request_body.response.header_mutation)["x-gateway-destination-endpoint"]
    assert told == (f"{A},{B}" if lean else A)
    assert answer.dynamic_metadata["envoy.lb"]["x-gateway-destination-endpoint"] == told


@pytest.mark.parametrize("length", ["²", "9" * 5000, "-1", "nine"])
def test_a_length_that_is_no_number_is_not_looked_at(length: str) -> None:
    stream = Stream()
    stream.tell(request({**POST, "content-length": length}))
    stream.routed(body(BODY))


def test_a_request_says_that_its_answer_will_not_be_seen() -> None:
    for modes, unseen in (((BUFFERED, NONE), True), ((DUPLEX, DUPLEX), False), (None, False)):
        stream = Stream()
        stream.tell(request(modes=modes))
        (arrived,) = stream.tell(body(BODY))
        assert arrived.request.unseen is unseen


def test_forged_and_internal_headers_do_not_reach_the_server() -> None:
    forged = {
        "x-gateway-destination-endpoint": "6.6.6.6:1",
        "x-gateway-destination-endpoint-subset": "6.6.6.6:1",
        "x-gateway-inference-objective": "o",
        "x-custom": "stays",
    }
    head, *_ = Stream().routed(request({**POST, **forged}), body(BODY))
    mutation = head.request_headers.response.header_mutation
    assert set(mutation.remove_headers) == {
        "x-gateway-destination-endpoint-subset",
        "x-gateway-inference-objective",
    }
    assert put(mutation)["x-gateway-destination-endpoint"] == f"{A},{B}"
    assert {option.append_action for option in mutation.set_headers} == {2}


def test_a_foreign_gateway_gets_the_headers_on_the_response() -> None:
    stream = Stream()
    stream.routed(request(), body(BODY))
    said = stream.tell(response(PLAIN, served=B))
    assert said == [ResponseStarted(SEVEN, 200, B, plain=True)]
    mutation = stream.answers()[0].response_headers.response.header_mutation
    assert put(mutation) == {
        "x-headgate-endpoint": B,
        "x-headgate-decision": "why",
        "x-request-id": "n-7",
    }


def test_a_full_answer_ends_with_its_usage() -> None:
    stream = Stream()
    stream.routed(request(), body(BODY))
    stream.tell(response(SSE, served=A))
    stream.answers()
    first = stream.tell(chunk(b'data: {"choices":[]}\n\ndata: {"us'))
    rest = stream.tell(chunk(b'age":{"prompt_tokens":5,"completion_tokens":2}}\n\n', end=True))
    assert first == [FirstToken(SEVEN)]
    assert rest == [RequestEnded(SEVEN, "complete", 200, Usage(5, 2), A)]
    data = [each.response_body.response.body_mutation.streamed_response for each in stream.answers()]
    assert b"".join(each.body for each in data).endswith(b'"completion_tokens":2}}\n\n')
    assert stream.talk.closed() is None


def test_an_answer_may_end_with_trailers_or_with_its_headers() -> None:
    by_trailers = Stream()
    by_trailers.routed(request(), body(BODY))
    said = by_trailers.tell(response(PLAIN), chunk(b"{}"), response_trailers())
    assert said[-1] == RequestEnded(SEVEN, "complete", 200)
    assert by_trailers.kinds() == ["response_headers", "response_body", "response_trailers"]
    by_headers = Stream()
    by_headers.routed(request(), body(BODY))
    assert by_headers.tell(response({":status": "204"}, end=True)) == [
        ResponseStarted(SEVEN, 204, plain=True),
        RequestEnded(SEVEN, "complete", 204),
    ]


def test_our_own_envoy_is_left_after_the_first_chunk() -> None:
    stream = Stream(lean=True)
    stream.tell(request(modes=(BUFFERED, STREAMED)))
    stream.routed(body(BODY))
    assert stream.tell(response(SSE, served=A)) == [ResponseStarted(SEVEN, 200, A)]
    assert not stream.left()
    assert stream.tell(chunk(b"")) == []
    assert not stream.left()
    assert stream.tell(chunk(b"data: {}\n\n")) == [FirstToken(SEVEN)]
    assert stream.kinds() == ["response_headers", "response_body", "response_body"]
    assert stream.left()
    assert stream.talk.awaits_log()
    assert stream.talk.closed() is None


def test_our_own_envoy_is_left_at_the_headers_of_a_plain_answer() -> None:
    stream = Stream(lean=True)
    stream.tell(request(modes=(BUFFERED, STREAMED)))
    stream.routed(body(BODY))
    stream.answers()
    stream.tell(response(PLAIN))
    assert stream.answers() == [pb.ProcessingResponse(response_headers=pb.HeadersResponse())]
    assert stream.talk.awaits_log()


def test_our_own_envoy_may_send_the_body_without_the_headers() -> None:
    stream = Stream(lean=True)
    stream.tell(request(modes=(BUFFERED, STREAMED)))
    stream.routed(body(BODY[:-1] + b',"stream":true}'))
    assert not stream.left()
    assert stream.tell(chunk(b"")) == []
    assert not stream.left()
    first = chunk(b"data: {}\n\n")
    lb = first.metadata_context.filter_metadata["envoy.lb"]
    lb["x-gateway-destination-endpoint-served"] = A
    assert stream.tell(first) == [ResponseStarted(SEVEN, 200, A), FirstToken(SEVEN)]
    assert stream.kinds() == ["response_body", "response_body"]
    assert stream.left()
    assert stream.talk.awaits_log()


@pytest.mark.parametrize("lean", [True, False])
def test_a_request_that_stays_is_ended_while_its_answer_has_not_begun(lean: bool) -> None:
    stream = Stream(lean=lean)
    stream.tell(request(modes=(BUFFERED, STREAMED) if lean else (DUPLEX, DUPLEX)))
    stream.tell(body(BODY))
    stream.talk.route([A, B], None, "why", stays=True)
    stream.answers()
    assert not stream.left()
    ended = stream.talk.evict("others need it", 7)
    assert ended == RequestEnded(SEVEN, "evicted", 429)
    status, headers, told = error(stream)
    assert (status, told["code"], told["message"]) == (429, "evicted", "others need it")
    assert (headers["retry-after"], headers["x-headgate-reason"]) == ("7", "evicted")
    assert headers["x-llm-d-request-dropped-reason"] == "evicted"
    assert stream.left()
    assert not stream.talk.awaits_log()
    assert stream.talk.evict("again", 7) is None
    assert stream.talk.closed() is None
    assert stream.answers() == []


def test_an_answer_that_has_begun_goes_on() -> None:
    stream = Stream()
    stream.tell(request(modes=(DUPLEX, DUPLEX)))
    stream.tell(body(BODY))
    stream.talk.route([A], None, "why", stays=True)
    stream.tell(response(PLAIN))
    stream.answers()
    assert stream.talk.evict("others need it", 7) is None
    assert stream.answers() == []
    assert stream.tell(chunk(b"{}", end=True))[-1].ending == "complete"


def test_our_own_envoys_first_bytes_end_the_stay() -> None:
    stream = Stream(lean=True)
    stream.tell(request(modes=(BUFFERED, STREAMED)))
    stream.tell(body(BODY))
    stream.talk.route([A], None, "why", stays=True)
    stream.tell(chunk(b'{"id":'))
    stream.answers()
    assert stream.left()
    assert stream.talk.awaits_log()
    assert stream.talk.evict("others need it", 7) is None
    assert stream.answers() == []


def test_one_that_does_not_stay_is_left_alone() -> None:
    stream = Stream()
    stream.tell(request(modes=(DUPLEX, DUPLEX)))
    stream.routed(body(BODY))
    assert stream.talk.evict("others need it", 7) is None
    assert stream.answers() == []


PIECES = [
    [b"\n", b"data: {}\n\n"],
    [b"da", b"ta: {}\n"],
    [b"\xef\xbb\xbf", b"\r\n", b"event: x\ndata: x\n\n"],
    [b"\xef", b"\xbb", b"\xbfda", b"ta:{}\n"],
    [b"\n" * 100] * 3 + [b": ping\rdata:{}\r"],
]


@pytest.mark.parametrize("pieces", PIECES)
def test_an_event_stream_may_begin_with_little(pieces: list[bytes]) -> None:
    stream = Stream(lean=True)
    stream.tell(request(modes=(BUFFERED, STREAMED)))
    stream.routed(body(BODY[:-1] + b',"stream":true}'))
    for piece in pieces[:-1]:
        assert stream.tell(chunk(piece)) == []
        assert not stream.left()
    assert stream.tell(chunk(pieces[-1])) == [ResponseStarted(SEVEN, 200, None), FirstToken(SEVEN)]
    assert stream.left()


@pytest.mark.parametrize("pieces", [[b"\n", b"{"], [b"dat", b"e"], [b"\xef\xbb", b"data:"], [b"\n"]])
def test_what_turns_out_to_be_no_event_stream_is_left_to_the_log(pieces: list[bytes]) -> None:
    stream = Stream(lean=True)
    stream.tell(request(modes=(BUFFERED, STREAMED)))
    stream.routed(body(BODY[:-1] + b',"stream":true}'))
    for index, piece in enumerate(pieces):
        assert not stream.left()
        assert stream.tell(chunk(piece, end=index == len(pieces) - 1)) == []
    assert stream.left()


def test_a_name_too_long_is_refused() -> None:
    stream = Stream()
    long = json.dumps({"model": "m" * 10_000, "messages": []}).encode()
    assert stream.tell(request(), body(long)) == []
    status, _, said = error(stream)
    assert (status, said["param"], said["code"]) == (400, "model", "bad-request")
    assert len(said["message"]) < 100


def test_a_large_body_is_read_whole_and_an_odd_one_is_not() -> None:
    large = json.dumps({"messages": [{"role": "user", "content": "é" * 300_000}], "model": "m"}).encode()
    for data, model in ((large, "m"), (large[:-1], None), (large.replace(b'"m"', b'"\xff"'), None)):
        stream = Stream()
        said = stream.tell(request(), body(data[:70_000], end=False), body(data[70_000:]))
        assert isinstance(said[-1], RequestArrived)
        found = said[-1].request
        assert (found.model, found.body_bytes) == (model, len(data))
        assert (found.prompt_bytes > 0) == (model is not None)


def test_a_hint_of_endpoints_is_bounded() -> None:
    stream = Stream()
    message = request()
    hint = message.metadata_context.filter_metadata["envoy.lb.subset_hint"]
    hint["x-gateway-destination-endpoint-subset"] = ",".join(["x" * 65, *["10.0.0.1:1"] * 5000])
    said = stream.tell(message, body(BODY))
    assert isinstance(said[-1], RequestArrived)
    assert said[-1].request.subset == ("10.0.0.1:1",) * 4095


def test_an_error_without_headers_is_left_to_the_log() -> None:
    stream = Stream(lean=True)
    stream.tell(request(modes=(BUFFERED, STREAMED)))
    stream.routed(body(BODY[:-1] + b',"stream":true}'))
    assert stream.tell(chunk(b'{"error": {}}', end=True)) == []
    assert stream.left()
    assert stream.talk.awaits_log()


def test_our_own_envoys_log_tells_the_end_of_a_stream_that_broke() -> None:
    stream = Stream(lean=True)
    stream.tell(request(modes=(BUFFERED, STREAMED)))
    assert not stream.talk.awaits_log()
    stream.routed(body(BODY))
    assert stream.talk.awaits_log()
    assert stream.talk.closed() is None


def test_local_answers_are_told_apart() -> None:
    stream = Stream()
    stream.routed(request(), body(BODY))
    message = response({":status": "503"})
    message.attributes["envoy.filters.http.ext_proc"]["response.code_details"] = "upstream_reset"
    assert stream.tell(message) == [ResponseStarted(SEVEN, 503, None, local=True, plain=True)]


def error(stream: Stream) -> tuple[int, dict[str, str], dict[str, Any]]:
    answer = stream.answers()[-1].immediate_response
    return answer.status.code, put(answer.headers), json.loads(answer.body)["error"]


@pytest.mark.parametrize("modes", [(DUPLEX, DUPLEX), (BUFFERED, STREAMED)])
@pytest.mark.parametrize("named", [b"", b'"model":null,', b'"model":"",'])
def test_a_body_without_a_model_goes_on_as_it_came(modes: tuple[int, int], named: bytes) -> None:
    stream = Stream()
    data = b"{" + named + b'"stream":true,"messages":[{"role":"user","content":"hi"}]}'
    (arrived,) = stream.tell(request(POST, modes=modes), body(data))
    assert (arrived.request.api, arrived.request.model, arrived.request.streaming) == ("chat", None, True)
    stream.talk.route([A, B], None, "why")
    answers = stream.answers()
    if modes == (DUPLEX, DUPLEX):
        assert returned(answers) == data
    else:
        assert not answers[0].request_body.response.HasField("body_mutation")


@pytest.mark.parametrize("modes", [(DUPLEX, DUPLEX), (BUFFERED, STREAMED)])
def test_a_bad_body_is_refused(modes: tuple[int, int]) -> None:
    stream = Stream()
    bad = body(b'{"model":3,"messages":[]}')
    assert stream.tell(request({**POST, "x-request-id": "r1"}, modes=modes), bad) == []
    status, headers, said = error(stream)
    assert status == 400
    assert headers["x-headgate-reason"] == "bad-request"
    assert headers["x-request-id"] == "r1"
    assert headers["content-type"] == "application/json"
    assert (said["param"], said["type"]) == ("model", "invalid_request_error")
    assert stream.talk.closed() is None


@pytest.mark.parametrize(
    ("status", "reason", "dropped", "kind"),
    [
        (429, "saturated", "rejected-saturated", "rate_limit_error"),
        (503, "no-endpoints", "rejected-no-endpoints", "server_error"),
        (404, "unknown-model", None, "invalid_request_error"),
    ],
)
def test_refusals(status: int, reason: str, dropped: str | None, kind: str) -> None:
    stream = Stream()
    stream.tell(request(), body(BODY))
    stream.talk.refuse(status, reason, "because", 3)
    code, headers, said = error(stream)
    assert (code, headers["x-headgate-reason"], headers["retry-after"]) == (status, reason, "3")
    assert headers.get("x-llm-d-request-dropped-reason") == dropped
    assert (said["message"], said["type"]) == ("because", kind)


def test_bodies_are_bounded() -> None:
    announced, sent = Stream(body_limit=10), Stream(body_limit=10)
    announced.tell(request({**POST, "content-length": "11"}))
    sent.tell(request(), body(b"x" * 8, end=False), body(b"x" * 8, end=False), body(b"", end=True))
    for stream in (announced, sent):
        status, headers, _ = error(stream)
        assert (status, headers["x-headgate-reason"]) == (413, "too-large")


def test_models_are_listed() -> None:
    stream = Stream()
    said = stream.tell(request({":method": "GET", ":path": "/v1/models"}, end=True))
    assert said[0].request.api == "models"
    stream.talk.list_models(
        [ModelCard("m", max_model_len=5, rest=b'{"created":7,"permission":[]}'), ModelCard("n")]
    )
    answer = stream.answers()[0].immediate_response
    listed = json.loads(answer.body)
    assert answer.status.code == 200
    assert listed["object"] == "list"
    assert {
        "id": "m",
        "object": "model",
        "max_model_len": 5,
        "created": 7,
        "permission": [],
    }.items() <= listed["data"][0].items()
    assert {"id": "n", "object": "model", "created": 0}.items() <= listed["data"][1].items()


ROUTED = [request(), body(BODY)]
STARTED = [*ROUTED, response(SSE)]


@pytest.mark.parametrize(
    ("messages", "expected"),
    [
        ([], None),
        ([request()], None),
        (ROUTED, RequestEnded(SEVEN, "aborted")),
        (STARTED, RequestEnded(SEVEN, "aborted", 200)),
        ([*STARTED, chunk(b"data: {}\n\n")], RequestEnded(SEVEN, "aborted", 200)),
        ([*STARTED, chunk(b"", end=True)], None),
    ],
)
def test_a_client_that_goes_away_is_told_once(messages: list[Any], expected: RequestEnded | None) -> None:
    stream = Stream()
    for message in messages:
        if any(isinstance(said, RequestArrived) for said in stream.tell(message)):
            stream.talk.route([A], None, "why")
    assert stream.talk.closed() == expected
    assert stream.talk.closed() is None


def test_a_client_that_goes_away_before_the_pick() -> None:
    stream = Stream()
    stream.tell(*ROUTED)
    assert stream.talk.closed() == RequestEnded(SEVEN, "aborted")
    stream.talk.route([A], None, "late")
    stream.talk.refuse(429, "saturated", "late", None)
    stream.talk.list_models([])
    assert stream.answers() == []


def test_a_skipped_response_phase_ends_with_the_stream() -> None:
    stream = Stream()
    stream.tell(request(modes=(BUFFERED, NONE)))
    stream.routed(body(BODY))
    assert stream.talk.closed() == RequestEnded(SEVEN, "lost")
    seen = Stream()
    seen.tell(request(modes=(BUFFERED, NONE)))
    seen.routed(body(BODY))
    seen.tell(response(PLAIN, served=A))
    assert seen.talk.closed() == RequestEnded(SEVEN, "complete", 200, None, A)


def test_an_answer_before_the_pick_means_that_the_request_is_over() -> None:
    stream = Stream()
    stream.tell(*ROUTED)
    assert stream.tell(response({":status": "504"})) == [RequestEnded(SEVEN, "aborted")]
    assert stream.kinds() == ["response_headers"]
    stream.tell(chunk(b"late", end=True))
    assert stream.answers()[0].response_body.response.body_mutation.streamed_response.body == b"late"


@pytest.mark.parametrize(
    "messages",
    [
        [request(), request()],
        [body(b"x")],
        [trailers()],
        [request(), chunk(b"x")],
        [*ROUTED, body(b"x")],
        [pb.ProcessingRequest()],
        [request(modes=(99, 0))],
    ],
)
def test_a_broken_protocol_fails_the_stream(messages: list[Any]) -> None:
    stream = Stream()
    with pytest.raises(WireError):
        stream.tell(*messages)


def test_bytes_that_are_no_message_fail_the_stream() -> None:
    with pytest.raises(WireError):
        Stream().talk.receive(b"\xff\xff\xff")


@pytest.mark.parametrize("when", ["waiting", "routed", "answering"])
def test_a_last_body_message_that_comes_twice_is_heard_once(when: str) -> None:
    stream, last = Stream(), body(BODY[9:])
    messages = [request(), body(BODY[:9], end=False), last]
    if when == "waiting":
        said = stream.tell(*messages, last)
        assert [type(each) for each in said] == [RequestArrived]
        stream.talk.route([A, B], None, "why")
    else:
        stream.routed(*messages)
        if when == "answering":
            stream.tell(response(SSE))
        stream.answers()
        assert stream.tell(last) == []
        assert stream.answers() == []
    with pytest.raises(WireError):
        stream.tell(last)


def test_another_body_message_after_the_last_one_is_a_fault() -> None:
    for late in (body(BODY[:9]), body(BODY[9:], end=False), body(b"")):
        stream = Stream()
        stream.routed(request(), body(BODY[:9], end=False), body(BODY[9:]))
        with pytest.raises(WireError):
            stream.tell(late)


def test_the_last_message_of_an_answer_that_comes_twice_is_sent_on_once() -> None:
    stream, end = Stream(), chunk(b"data: [DONE]\n\n", end=True)
    stream.routed(request(), body(BODY))
    stream.tell(response(SSE))
    stream.answers()
    assert [type(each) for each in stream.tell(chunk(b"data: {}\n\n"), end)] == [FirstToken, RequestEnded]
    assert stream.kinds() == ["response_body"] * 2
    assert stream.tell(end) == []
    assert stream.kinds() == []


def test_equal_messages_before_the_last_one_are_all_heard() -> None:
    stream = Stream()
    stream.routed(request(), body(BODY))
    stream.tell(response(SSE))
    stream.answers()
    stream.tell(*[chunk(b"data: {}\n\n")] * 3)
    assert stream.kinds() == ["response_body"] * 3


def told(selection: str, served: str) -> tuple[Any, dict[str, str]]:
    """The request of a client that selects endpoints, and the headers that its answer gets."""
    stream = Stream(test_headers=True)
    [arrived] = stream.tell(request({**POST, "test-epp-endpoint-selection": selection}), body(BODY))
    stream.talk.route((A,), None, "d")
    stream.answers()
    stream.tell(response(PLAIN, served=served))
    return arrived.request, put(stream.answers()[0].response_headers.response.header_mutation)


def test_conformance_suites_may_name_the_endpoints_and_are_told_who_served(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(Stream, "make", extproc.Conversation)  # the native wire has no such setting
    asked, headers = told(" 10.0.0.1:8000, 10.0.0.2 ,", A)
    assert asked.subset == ("10.0.0.1:8000", "10.0.0.2")
    assert headers["x-conformance-test-served-endpoint"] == A
    _, headers = told("10.0.0.1", "")
    assert headers["x-conformance-test-served-endpoint"].startswith("fail:")


def test_without_that_setting_clients_name_nobody() -> None:
    [arrived] = Stream().tell(request({**POST, "test-epp-endpoint-selection": "10.0.0.1"}), body(BODY))
    assert arrived.request.subset is None


def test_a_refusal_of_our_own_envoys_passes_although_nothing_was_asked() -> None:
    """A filter before ext_proc answers; Envoy sends the body of that, and neither request nor headers."""
    stream = Stream(lean=True)
    assert stream.tell(chunk(b'{"error":{}}', end=True)) == []
    assert stream.kinds() == ["response_body"]
    assert stream.talk.closed() is None
    other = Stream()
    with pytest.raises(WireError, match="a response body before response headers"):
        other.tell(chunk(b"x", end=True))


def test_a_refusal_of_our_own_envoys_ends_a_request_that_waits() -> None:
    stream = Stream(lean=True)
    assert [type(each) for each in stream.tell(request(), body(BODY, end=True))] == [RequestArrived]
    (said,) = stream.tell(chunk(b'{"error":{}}', end=True))
    assert (type(said), said.ending) == (RequestEnded, "aborted")


RESPONSES = {**POST, ":path": "/v1/responses"}
GOES_ON = b'{"model":"m","input":"x","previous_response_id":"resp_\\u0031"}'
KEPT = b'{"id":"resp_2","model":"m"}'
CREATED = b'event: response.created\ndata: {"response":{"id":"resp_2"},"type":"response.created"}\n\n'


@pytest.mark.parametrize(
    ("headers", "content", "prior"),
    [
        (RESPONSES, GOES_ON, "resp_1"),
        (RESPONSES, GOES_ON.replace(b'"resp_\\u0031"', b'"' + b"x" * 512 + b'"'), "x" * 512),
        (RESPONSES, GOES_ON.replace(b'"resp_\\u0031"', b'"' + b"x" * 513 + b'"'), None),
        (RESPONSES, GOES_ON.replace(b'"resp_\\u0031"', b"5"), None),
        (RESPONSES, GOES_ON[:-1] + b',"previous_response_id":null}', None),
        (RESPONSES, GOES_ON.replace(b'{"model"', b'\xff{"model"'), None),
        ({**POST, ":path": "/v1/responses/resp_1/cancel?x=y"}, b"{}", "resp_1"),
        (POST, BODY[:-1] + b',"previous_response_id":"resp_1"}', None),
    ],
)
def test_what_a_request_goes_on_with(headers: dict[str, str], content: bytes, prior: str | None) -> None:
    stream = Stream()
    said = stream.tell(request(headers), body(content))
    if said:
        assert said[0].request.prior == (None if prior is None else digest(prior))
    else:
        assert prior is None, "it was refused"


@pytest.mark.parametrize("method", ["GET", "DELETE"])
def test_a_kept_answer_is_asked_for_without_a_body(method: str) -> None:
    stream = Stream(lean=True)
    asked = {":method": method, ":path": "/v1/responses/resp_1"}
    (arrived,) = stream.tell(request(asked, end=True, modes=(BUFFERED, STREAMED)))
    assert (arrived.request.prior, arrived.request.model) == (digest("resp_1"), None)


def stored(served: EndpointId | None = None) -> AnswerStored:
    return AnswerStored(SEVEN, digest("resp_2"), served)


def test_a_kept_answer_is_told_by_its_first_bytes() -> None:
    stream = Stream(lean=True)
    stream.tell(request(RESPONSES, modes=(BUFFERED, STREAMED)))
    stream.routed(body(GOES_ON))
    assert not stream.left()
    first, rest = chunk(KEPT[:9]), chunk(KEPT[9:], end=True)
    for each in (first, rest):
        lb = each.metadata_context.filter_metadata["envoy.lb"]
        lb["x-gateway-destination-endpoint-served"] = A
    assert stream.tell(first) == []
    assert stream.tell(rest) == [stored(A)]
    assert stream.kinds() == ["response_body", "response_body"]
    assert stream.left()
    assert stream.talk.awaits_log()


DELTA = b'event: response.output_text.delta\ndata: {"type":"response.output_text.delta","delta":"x"}\n\n'


def unnamed(event: bytes) -> bytes:
    return event[event.index(b"data:") :] if event.startswith(b"event:") else event


def test_a_kept_answer_is_told_by_its_first_event() -> None:
    stream = Stream(lean=True)
    stream.tell(request(RESPONSES, modes=(BUFFERED, STREAMED)))
    stream.routed(body(GOES_ON[:-1] + b',"stream":true}'))
    assert stream.tell(chunk(CREATED[:30])) == [ResponseStarted(SEVEN, 200)]
    assert not stream.left()
    assert stream.tell(chunk(CREATED[30:])) == [stored()]
    assert not stream.left(), "nothing is computed yet"
    assert stream.tell(chunk(DELTA)) == [FirstToken(SEVEN)]
    assert stream.left()


@pytest.mark.parametrize("lean", [True, False])
@pytest.mark.parametrize("renamed", ["target", None])
@pytest.mark.parametrize("named", [True, False])
def test_the_first_token_of_a_response_is_behind_the_events_that_only_open_it(
    named: bool, renamed: str | None, lean: bool
) -> None:
    stream = Stream(lean=lean)
    modes = (BUFFERED, STREAMED) if lean else (DUPLEX, DUPLEX)
    stream.tell(request(RESPONSES, modes=modes), body(GOES_ON[:-1] + b',"stream":true}', end=True))
    stream.talk.route([A], renamed, "why")
    if renamed or not lean:
        stream.tell(response(SSE))
    early = [CREATED, b": wait\n\n", CREATED.replace(b"created", b"in_progress")]
    told = [stream.tell(chunk(each if named else unnamed(each))) for each in early]
    assert FirstToken(SEVEN) not in [said for each in told for said in each]
    assert stream.tell(chunk(DELTA if named else unnamed(DELTA))) == [FirstToken(SEVEN)]
    assert stream.tell(chunk(DELTA)) == []


def test_an_error_in_a_stream_is_no_token() -> None:
    stream = Stream()
    stream.routed(request(), body(BODY))
    stream.tell(response(SSE))
    failed = b'data: {"error":{"message":"no"}}\n\ndata: [DONE]\n\n'
    assert stream.tell(chunk(failed, end=True)) == [RequestEnded(SEVEN, "complete", 200)]


@pytest.mark.parametrize(("kind", "answer"), [(PLAIN, KEPT), (SSE, CREATED)])
@pytest.mark.parametrize("modes", [(DUPLEX, DUPLEX), (BUFFERED, STREAMED)])
def test_a_kept_answer_with_headers(modes: tuple[int, int], kind: dict[str, str], answer: bytes) -> None:
    stream = Stream()
    stream.tell(request(RESPONSES, modes=modes))
    stream.routed(body(GOES_ON))
    stream.tell(response(kind, served=A))
    said = [each for at in range(len(answer)) for each in stream.tell(chunk(answer[at : at + 1]))]
    assert [each for each in said if isinstance(each, AnswerStored)] == [stored(A)]
    assert stream.tell(chunk(b"", end=True)) == [RequestEnded(SEVEN, "complete", 200, served=A)]


def test_an_error_keeps_nothing() -> None:
    stream = Stream()
    stream.tell(request(RESPONSES))
    stream.routed(body(GOES_ON))
    stream.tell(response({**PLAIN, ":status": "404"}))
    assert stream.tell(chunk(KEPT)) == []
