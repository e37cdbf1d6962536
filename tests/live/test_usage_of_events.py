"""Token counts by our own Envoy's word: of streams in every form that is allowed, and of each API."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
from tests.live.harness.gateway import Gateway, gateway
from tests.live.harness.model_server import ScriptedModelServer
from tests.live.harness.processes import eventually

pytestmark = pytest.mark.live


class Lab:
    """Our gateway in front of one server."""

    def __init__(self, gate: Gateway, server: ScriptedModelServer) -> None:
        self.gate, self.server = gate, server
        self._asked = 0

    async def outcome(self, path: str) -> Any:
        """Of a request to which the server answers with its pieces."""
        self._asked += 1
        id_ = f"r-{self._asked}"
        body = {"model": "m", "messages": [], "input": "x", "text": "x", "query": "x", "stream": True}
        headers = {"x-request-id": id_}
        async with (
            aiohttp.ClientSession() as http,
            http.post(self.gate.url + path, json=body, headers=headers) as answer,
        ):
            assert answer.status == 200
            await answer.read()
        await asyncio.to_thread(eventually, lambda: self.gate.decision(id_)["outcome"] is not None)
        return (await asyncio.to_thread(self.gate.decision, id_))["outcome"]


CHAT = b'{"choices":[],"usage":{"prompt_tokens":7,"completion_tokens":3,"prompt_tokens_details":{"cached_tokens":4}}}'
RESPONSES = (
    b'{"type":"response.completed","response":{"usage":{"input_tokens":7,"output_tokens":3,'
    b'"input_tokens_details":{"cached_tokens":4}}}}'
)
META = b'{"text":"x","meta_info":{"prompt_tokens":7,"completion_tokens":3,"cached_tokens":4}}'
START = b'{"message":{"usage":{"input_tokens":3,"cache_read_input_tokens":4,"output_tokens":1}},"type":"message_start"}'
FULL = {"prompt_tokens": 7, "completion_tokens": 3, "cached_tokens": 4}
TEXT = b'data: {"choices":[{"delta":{"content":"\xc3\xa9"}}]}\n\n'
DONE = b"data: [DONE]\n\n"
STREAMS: dict[str, tuple[str, bytes]] = {
    "usual": ("/v1/chat/completions", TEXT + b"data: " + CHAT + b"\n\n" + DONE),
    "two before the last": ("/v1/chat/completions", b"data: " + CHAT + b"\n\n" + TEXT + TEXT + DONE),
    "CRLF": ("/v1/chat/completions", (TEXT + b"data: " + CHAT + b"\n\n" + DONE).replace(b"\n", b"\r\n")),
    "CR": ("/v1/chat/completions", (TEXT + b"data: " + CHAT + b"\n\n" + DONE).replace(b"\n", b"\r")),
    "no blank": ("/v1/chat/completions", TEXT + b"data:" + CHAT + b"\n\n" + DONE),
    "comments": (
        "/v1/chat/completions",
        b": hi\n\n" + TEXT + b": hi\nid: 7\ndata: " + CHAT + b"\n: hi\n\n" + DONE,
    ),
    "several lines": (
        "/v1/chat/completions",
        TEXT + b"data: " + CHAT.replace(b",", b",\ndata: ") + b"\n\n" + DONE,
    ),
    "a mark": ("/v1/chat/completions", b"\xef\xbb\xbfdata: " + CHAT + b"\n\n"),
    "responses": ("/v1/responses", b"event: response.completed\ndata: " + RESPONSES + b"\n\n"),
    "messages": (
        "/v1/messages",
        b"event: message_start\ndata: "
        + START
        + b'\n\nevent: message_delta\ndata: {"usage":{"output_tokens":3}}\n\n',
    ),
    "generate": ("/generate", b"data: " + META.replace(b"3", b"1") + b"\n\ndata: " + META + b"\n\n" + DONE),
}


PLAIN: dict[str, tuple[str, bytes]] = {
    "chat": ("/v1/chat/completions", CHAT),
    "responses": (
        "/v1/responses",
        b'{"usage":{"input_tokens":7,"output_tokens":3,"input_tokens_details":{"cached_tokens":4}}}',
    ),
    "generate": ("/generate", META),
    "a total alone": ("/v1/rerank", b'{"results":[],"usage":{"total_tokens":7}}'),
}


@pytest.fixture
async def lab() -> AsyncIterator[Lab]:
    async with ScriptedModelServer().running() as server:
        server.mode, server.gaps_s = "sse", 0.0
        with gateway(f"http://{server.address}") as gate:
            yield Lab(gate, server)


async def test_token_counts(lab: Lab) -> None:
    for name, (path, stream) in STREAMS.items():
        for size in (len(stream), 1):
            lab.server.pieces = [stream[at : at + size] for at in range(0, len(stream), size)]
            found = await lab.outcome(path)
            assert found["usage"] == FULL, (name, size)
            assert found["ttft_s"] is not None, (name, size)
    # An event without its end is none, by the standard.
    lab.server.pieces = [TEXT + b"data: " + CHAT]
    assert (await lab.outcome("/v1/chat/completions"))["usage"] is None
    lab.server.kind = "application/json; charset=utf-8"
    for name, (path, answer) in PLAIN.items():
        lab.server.pieces = [answer]
        found = (await lab.outcome(path))["usage"]
        assert found["prompt_tokens"] == 7, name
        assert found == FULL or name == "a total alone"
