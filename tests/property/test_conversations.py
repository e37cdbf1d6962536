"""Streams that say anything in any order: each is answered or closed, and nothing of it stays in the books."""

import random
from typing import Any

from envoy.extensions.filters.http.ext_proc.v3.processing_mode_pb2 import ProcessingMode
from envoy.service.ext_proc.v3 import external_processor_pb2 as pb
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.picker.picker_builders import KEY, a_pool

from headgate.model.ids import StreamId
from headgate.picker.actions import ListModels, Reject, Route
from headgate.picker.machine import PoolMachine
from headgate.picker.settings import MachineSettings
from headgate.scheduling.profiles import PROFILES
from headgate.wire.extproc import Conversation, Settings, WireError
from headgate.wire.said import RequestEnded, Said

MODES = [None, *((a, b) for a in range(6) for b in (0, 1, 4))]
POST = [(":method", b"POST"), (":path", b"/v1/chat/completions"), ("content-type", b"application/json")]
HEADERS = [
    POST,
    [*POST, ("x-request-id", b"\xff\xfe"), ("x-\xe9", b"\x00\r\n"), ("content-length", "²".encode())],
    [*POST, *((f"x-{n}", b"v" * 1000) for n in range(200))],
    [*POST, ("content-length", b"9" * 30)],
    [(":method", b"GET"), (":path", b"/v1/models")],
    [("content-type", b"application/json")],
    [],
]
BODIES = [
    b"",
    b'{"model":"m","messages":[{"role":"user","content":"hi"}],"stream":true}',
    b'{"model":"m","mess',
    b'ages":[]}',
    b"\xff",
    b"x" * 5000,
]
ANSWERS = [
    [(":status", b"200"), ("content-type", b"text/event-stream")],
    [(":status", b"200"), ("content-type", b"application/json"), ("content-length", b"2")],
    [(":status", "²".encode())],
    [(":status", b"503")],
    [],
]


def headed(target: Any, values: list[tuple[str, bytes]], end: bool) -> None:
    target.end_of_stream = end
    for key, value in values:
        target.headers.headers.add(key=key, raw_value=value)


@st.composite
def messages(draw: st.DrawFn) -> bytes:
    """One message of a kind that may or may not fit."""
    made = pb.ProcessingRequest()
    end = draw(st.booleans())
    match draw(
        st.sampled_from(["headers", "headers", "body", "body", "tail", "answer", "data", "end", "junk"])
    ):
        case "headers":
            headed(made.request_headers, draw(st.sampled_from(HEADERS)), end and draw(st.booleans()))
            if mode := draw(st.sampled_from(MODES)):
                made.protocol_config.request_body_mode = ProcessingMode.BodySendMode.ValueType(mode[0])
                made.protocol_config.response_body_mode = ProcessingMode.BodySendMode.ValueType(mode[1])
        case "body":
            made.request_body.body = draw(st.sampled_from(BODIES))
            made.request_body.end_of_stream = end
        case "tail":
            made.request_trailers.SetInParent()
        case "answer":
            headed(made.response_headers, draw(st.sampled_from(ANSWERS)), end)
        case "data":
            made.response_body.body = draw(st.sampled_from([b"", b'data: {"model":"m"}\n\n', b"{}"]))
            made.response_body.end_of_stream = end
        case "end":
            made.response_trailers.SetInParent()
        case _:
            return draw(st.binary(max_size=20))
    data: bytes = made.SerializeToString()
    return data


class Desk:
    """Conversations around one machine, as the service has them."""

    def __init__(self) -> None:
        self.machine = PoolMachine(KEY, PROFILES["default"], MachineSettings(story=5), random.Random(1))
        self.machine.handle(a_pool("abc"), -100.0)
        self.now = 0.0
        self.answered: list[int] = []
        self.open: dict[int, Conversation] = {}
        self.count = 0

    def tell(self, slot: int, lean: bool, data: bytes) -> None:
        if slot not in self.open:
            self.count += 1
            self.open[slot] = Conversation(Settings("n", body_limit=4000), self.count, lean=lean)
        talk = self.open[slot]
        try:
            for said in talk.receive(data):
                self.pass_on(talk, said)
        except WireError:
            self.close(slot)
            return
        for answer in talk.outbox:
            pb.ProcessingResponse.FromString(answer)
        talk.outbox.clear()
        if talk.leaving:
            self.close(slot)

    def close(self, slot: int) -> None:
        talk = self.open.pop(slot)
        if talk.awaits_log():
            self.pass_on(talk, RequestEnded(StreamId(int(talk.key.split("-")[1])), "complete", 200))
        if (over := talk.closed()) is not None:
            self.pass_on(talk, over)
        assert talk.closed() is None

    def pass_on(self, talk: Conversation, said: Said) -> None:
        self.now += 0.01
        for action in self.machine.handle(said, self.now):
            match action:
                case Route():
                    talk.route(action.endpoints, action.target_model, "why")
                case Reject():
                    talk.refuse(action.status, action.reason, action.message, action.retry_after_s)
                case ListModels():
                    talk.list_models(action.models)
                case _:
                    pass


@given(st.lists(st.tuples(st.integers(0, 2), st.booleans(), messages()), max_size=25))
@settings(max_examples=100, deadline=None)
def test_anything_in_any_order(script: list[tuple[int, bool, bytes]]) -> None:
    desk = Desk()
    for slot, lean, data in script:
        desk.tell(slot, lean, data)
        desk.machine.check()
    for slot in list(desk.open):
        desk.close(slot)
    view = desk.machine.view(desk.now)
    assert view.in_flight == 0
    assert [(one.in_flight, one.pending_tokens, one.context_tokens) for one in view.endpoints] == [
        (0, 0, 0)
    ] * 3
    desk.machine.check()
