"""Bodies of 64 MiB through the picker process, over both wires and in both body modes."""

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc.aio
import pytest
from envoy.service.ext_proc.v3 import external_processor_pb2 as pb
from tests.live.harness.picker import picker
from tests.served import BUFFERED, DUPLEX, POST, PROCESS, asks, piece

pytestmark = [pytest.mark.live, pytest.mark.timeout(120)]

MIB = 1 << 20
SIZE = 64 * MIB
CHUNK = 65_536
OPTIONS = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]


@pytest.fixture(params=["portable", "native"])
def wire(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param == "native":
        pytest.importorskip("headgate_native")
    monkeypatch.setenv("HEADGATE_WIRE", request.param)
    return str(request.param)


def body() -> bytes:
    """A prompt of letters that repeat nowhere near, one of its characters cut by every other chunk."""
    part = random.Random(1).randbytes(MIB).hex() + "é"
    head, end = '{"model":"asked","prompt":"', '"}'
    text = (head + part * (SIZE // len(part) + 1)).encode()[: SIZE - 3]
    return text.decode("utf-8", "ignore").encode().ljust(SIZE - 2, b"x") + end.encode()


def messages(data: bytes, duplex: bool) -> Iterator[bytes]:
    yield asks((DUPLEX, DUPLEX) if duplex else (BUFFERED, BUFFERED), {**POST, ":path": "/v1/completions"})
    size = CHUNK if duplex else len(data)
    for start in range(0, len(data), size):
        yield piece(data[start : start + size], end=start + size >= len(data))


def memory(pid: int) -> tuple[float, float]:
    """MiB resident now, and at most so far."""
    lines = (line.split() for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    found = {line[0]: int(line[1]) / 1024 for line in lines if line[0] in ("VmRSS:", "VmHWM:")}
    return found["VmRSS:"], found["VmHWM:"]


async def test_a_body_at_the_limit_passes_and_its_memory_is_given_back(wire: str) -> None:
    data = body()
    assert len(data) == SIZE
    async with picker(
        "--endpoints", "127.0.0.1:1", "--secure-serving=false", "--body-limit", str(SIZE)
    ) as process:
        await process.until_ready()
        pid = process.child.process.pid
        before, _ = memory(pid)
        sizes = []
        async with grpc.aio.insecure_channel(f"127.0.0.1:{process.grpc}", options=OPTIONS) as opened:
            channel: Any = opened
            for duplex in (True, False, True):
                back, picks = bytearray(), 0
                async for answer in channel.stream_stream(PROCESS)(messages(data, duplex)):
                    said = pb.ProcessingResponse.FromString(answer)
                    picks += said.HasField("dynamic_metadata")
                    back += said.request_body.response.body_mutation.streamed_response.body
                assert picks == 1
                assert bytes(back) == (data if duplex else b"")
                sizes.append(memory(pid)[0])
            over = channel.stream_stream(PROCESS)(messages(data + b" ", True))
            refused = [pb.ProcessingResponse.FromString(answer) async for answer in over]
            assert refused[-1].immediate_response.status.code == 413
        await process.idle()
        after, highest = memory(pid)
    each = ", ".join(f"{size:.0f}" for size in sizes)
    print(
        f"\n{wire}: {before:.0f} MiB before, {each} after each body, {after:.0f} at the end, {highest:.0f} at most"
    )
    assert highest - before < 8 * SIZE / MIB
    assert sizes[2] - sizes[0] < SIZE / MIB
