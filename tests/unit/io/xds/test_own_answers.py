"""What Envoys tell of the errors that they gave by themselves, over a real socket."""

import asyncio
from typing import Any

import grpc
import grpc.aio
import pytest
from envoy.service.accesslog.v3.als_pb2 import StreamAccessLogsMessage
from tests.xds_resources import anybody

from headgate.io.xds.own_answers import MESSAGES_A_SECOND, SERVICE, Allowance
from headgate.io.xds.server import XdsServer
from headgate.model.own_answers import OwnAnswer


def message(*names: str, node: str = "lab") -> bytes:
    log = StreamAccessLogsMessage()
    log.identifier.node.id = node
    for name in names:
        log.http_logs.log_entry.add().request.request_id = name
    data: bytes = log.SerializeToString()
    return data


async def sent(*messages: bytes, dataplane_of: Any = anybody) -> list[tuple[str, OwnAnswer]]:
    """What the server was told of *messages* of one stream, with the data plane."""
    found: list[tuple[str, OwnAnswer]] = []
    server = XdsServer(
        dataplane_of, on_answers=lambda dataplane, answers: found.extend((dataplane, a) for a in answers)
    )
    port = await server.start("127.0.0.1", 0)
    try:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel, asyncio.timeout(20):
            made: Any = channel
            await made.stream_unary(f"/{SERVICE}/StreamAccessLogs")(iter(messages))
    finally:
        await server.stop()
    return found


async def test_answers_reach_whoever_asks_with_their_target() -> None:
    found = await sent(message("a", "b"), message("c"), dataplane_of=lambda node: f"of {node}")
    assert [(dataplane, each.request_id) for dataplane, each in found] == [
        ("of lab", "a"),
        ("of lab", "b"),
        ("of lab", "c"),
    ]


@pytest.mark.parametrize(
    ("data", "dataplane_of", "code"),
    [
        (message("a"), lambda node: None, grpc.StatusCode.PERMISSION_DENIED),
        (b"\xff\xff\xff", anybody, grpc.StatusCode.INVALID_ARGUMENT),
    ],
)
async def test_strangers_and_odd_bytes_are_refused(data: bytes, dataplane_of: Any, code: Any) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await sent(data, dataplane_of=dataplane_of)
    assert refused.value.code() is code


def test_a_flood_is_not_looked_at_beyond_the_allowance() -> None:
    allowance = Allowance(MESSAGES_A_SECOND)
    taken = sum(allowance.one(number / 1000) for number in range(10_000))
    assert 10 * MESSAGES_A_SECOND <= taken <= 11 * MESSAGES_A_SECOND
    assert allowance.one(60.0)
