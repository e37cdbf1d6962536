"""The id of a kept answer is found alike by both wires, whatever the answer and its pieces are."""

from typing import Any

import hypothesis.strategies as st
import pytest
from envoy.service.ext_proc.v3 import external_processor_pb2 as pb
from hypothesis import given
from tests.wires import CONVERSATIONS

from headgate.model.ids import EndpointId
from headgate.wire.extproc import Settings

TOKENS = [
    *(b"{", b"}", b"[", b"]", b":", b",", b" ", b"\\", b'"', b"\xff", b"data: ", b"5"),
    *(b'"id"', b'"response"', b'"r"', b'"a\\"b"', b'"id":', b'"response":{', b'"' + b"x" * 513 + b'"'),
]
answers = st.lists(st.sampled_from(TOKENS), max_size=24).map(b"".join)


def told(make: Any, path: str, answer: bytes, size: int) -> list[Any]:
    talk = make(Settings("n"), 1, lean=True)
    first = pb.ProcessingRequest()
    for key, value in ((":method", "POST"), (":path", path)):
        first.request_headers.headers.headers.add(key=key, raw_value=value.encode())
    body = pb.ProcessingRequest(request_body=pb.HttpBody(body=b"{}", end_of_stream=True))
    for message in (first, body):
        talk.receive(message.SerializeToString())
    talk.route([EndpointId("10.0.0.1:1")], None, "why")
    said = []
    for at in range(0, len(answer), size):
        chunk = pb.ProcessingRequest(response_body=pb.HttpBody(body=answer[at : at + size]))
        said += talk.receive(chunk.SerializeToString())
    return [*said, talk.leaving]


@pytest.mark.skipif(len(CONVERSATIONS) < 2, reason="the native wire is not built")
@given(st.sampled_from(["/v1/responses", "/v1/conversations"]), answers, st.integers(1, 50))
def test_both_wires_find_the_same(path: str, answer: bytes, size: int) -> None:
    portable, native = (told(make, path, answer, size) for make in CONVERSATIONS)
    assert portable == native
