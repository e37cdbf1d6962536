"""Both wires and calls that are none of gRPC's, that are compressed, or that have a time."""

import asyncio

import pytest
from tests.peer import Peer, framed
from tests.served import LOGS, NAMED, PROCESS, WIRES, Scripted, asks, chunk, serving

GET = {":method": "GET", ":path": "/x"}
DEADLINE_EXCEEDED, UNIMPLEMENTED, INTERNAL = "4", "12", "13"
KIND = ("content-type", "application/grpc")


def head(method: str = "POST", *more: tuple[str, str], path: str = PROCESS) -> list[tuple[str, str]]:
    """A call's headers."""
    first = [(":method", method), (":scheme", "http"), (":path", path), (":authority", "picker")]
    return [*first, ("te", "trailers"), *NAMED, *more]


def talk(port: int, headers: list[tuple[str, str]], *messages: bytes) -> tuple[str, dict[str, str]]:
    """How the server ends a call, and the headers that it answers with."""
    with Peer(port) as peer:
        stream = peer.open_as(headers)
        peer.send_raw(stream, b"".join(messages))
        return peer.end_of(stream), peer.heads[stream]


@pytest.mark.parametrize("wire", WIRES)
@pytest.mark.parametrize("method", ["GET", "PUT"])
async def test_only_post_is_a_call(wire: str, method: str) -> None:
    machine = Scripted()
    async with serving(wire, machine) as served:
        ended, heads = await asyncio.to_thread(talk, served.port, head(method, KIND))
        # grpc resets it without a word.
        assert (ended, heads) == ("reset", {}) if wire == "portable" else heads[":status"] == "405"
    assert not machine.events


@pytest.mark.parametrize("wire", [wire for wire in WIRES if wire != "portable"])  # grpc does not look
@pytest.mark.parametrize(
    "kind", [[], [("content-type", "application/json")], [("content-type", "application/grpcx")]]
)
async def test_another_content_type_is_no_call(wire: str, kind: list[tuple[str, str]]) -> None:
    async with serving(wire, Scripted()) as served:
        _, heads = await asyncio.to_thread(talk, served.port, head("POST", *kind))
        assert heads[":status"] == "415"


@pytest.mark.parametrize("wire", WIRES)
@pytest.mark.parametrize("kind", ["application/grpc", "application/grpc+proto", "application/grpc;x=y"])
async def test_every_content_type_of_grpc_is_one(wire: str, kind: str) -> None:
    machine = Scripted()

    def ask(port: int) -> None:
        with Peer(port) as peer:
            stream = peer.open_as(head("POST", ("content-type", kind), ("grpc-encoding", "identity")))
            peer.send(stream, asks(headers=GET, end=True))
            peer.take(stream, 1)

    async with serving(wire, machine) as served:
        await asyncio.to_thread(ask, served.port)
        await served.quiet()


@pytest.mark.parametrize("wire", WIRES)
@pytest.mark.parametrize("path", [PROCESS, LOGS])
async def test_a_compression_that_is_not_served_is_named_with_those_that_are(wire: str, path: str) -> None:
    async with serving(wire, Scripted()) as served:
        headers = head("POST", KIND, ("grpc-encoding", "gzip"), path=path)
        status, heads = await asyncio.to_thread(talk, served.port, headers, framed(asks(headers=GET)))
        assert status == UNIMPLEMENTED
        # grpc says so only for encodings that it does not know at all.
        assert wire == "portable" or heads["grpc-accept-encoding"] == "identity"


@pytest.mark.parametrize("wire", WIRES)
async def test_a_compressed_message_without_a_compression_is_a_fault(wire: str) -> None:
    async with serving(wire, Scripted()) as served:
        status, _ = await asyncio.to_thread(talk, served.port, head("POST", KIND), b"\x01\0\0\0\x01x")
        assert status == INTERNAL


@pytest.mark.parametrize("wire", WIRES)
@pytest.mark.parametrize("given", ["200m", "1S", "300000u", "0n"])
async def test_a_call_ends_when_its_time_is_over(wire: str, given: str) -> None:
    machine = Scripted()
    machine.hold = True

    async with serving(wire, machine) as served:
        headers = head("POST", KIND, ("grpc-timeout", given))
        status, _ = await asyncio.to_thread(talk, served.port, headers, framed(asks(headers=GET, end=True)))
        assert status == DEADLINE_EXCEEDED
        await served.quiet()
    assert machine.ends() == dict.fromkeys(machine.streams(), 1)


@pytest.mark.parametrize("wire", WIRES)
async def test_the_access_log_has_its_time_too(wire: str) -> None:
    async with serving(wire, Scripted()) as served:
        headers = head("POST", KIND, ("grpc-timeout", "200m"), path=LOGS)
        assert (await asyncio.to_thread(talk, served.port, headers))[0] == DEADLINE_EXCEEDED


@pytest.mark.parametrize("wire", WIRES)
@pytest.mark.parametrize("given", ["abc", "5", "S", "-1S", "1.5S"])
async def test_a_time_that_cannot_be_read_is_a_fault(wire: str, given: str) -> None:
    async with serving(wire, Scripted()) as served:
        headers = head("POST", KIND, ("grpc-timeout", given))
        assert (await asyncio.to_thread(talk, served.port, headers))[0] == INTERNAL


@pytest.mark.parametrize("wire", WIRES)
async def test_a_long_time_changes_nothing(wire: str) -> None:
    machine = Scripted()

    def ask(port: int) -> None:
        with Peer(port) as peer:
            stream = peer.open_as(head("POST", KIND, ("grpc-timeout", "99999999H")))
            peer.send(stream, asks(headers=GET, end=True))
            peer.take(stream, 1)
            peer.send(stream, chunk(b"x", end=True))

    async with serving(wire, machine) as served:
        await asyncio.to_thread(ask, served.port)
