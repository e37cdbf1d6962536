"""The delta ADS server, spoken to over a real socket."""

import asyncio
import stat
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest
from envoy.service.discovery.v3 import discovery_pb2 as pb
from tests.xds_client import Client
from tests.xds_resources import Publishing, anybody, made

from headgate.gateway.envoy.protos import type_url
from headgate.gateway.plan.classes import ALL
from headgate.gateway.xds.versions import Changes, Json
from headgate.io.xds.server import XdsServer


def cluster(name: str, timeout: str = "1s") -> Json:
    return {"name": name, "type": "STATIC", "connectTimeout": timeout}


@pytest.fixture
async def server() -> AsyncIterator[tuple[XdsServer, int]]:
    made = XdsServer(anybody, linger_s=0.1)
    port = await made.start("127.0.0.1", 0)
    yield made, port
    await made.stop()


async def until(reached: Any) -> None:
    async with asyncio.timeout(5):
        while not reached():
            await asyncio.sleep(0.01)


async def test_resources_travel_and_only_changes_follow(server: tuple[XdsServer, int]) -> None:
    xds, port = server
    publish = Publishing(xds)
    publish({"cluster": {"a": cluster("a"), "b": cluster("b")}})
    client = Client(port)
    await client.send("cluster")
    first = await client.read()
    assert [each.name for each in first.resources] == ["a", "b"]
    assert first.resources[0].resource.type_url == type_url("cluster")
    await client.send("cluster", response_nonce=first.nonce)
    publish({"cluster": {"a": cluster("a"), "b": cluster("b")}})
    publish({"cluster": {"a": cluster("a", "2s"), "b": cluster("b")}})
    second = await client.read()
    assert [each.name for each in second.resources] == ["a"]
    await client.send("cluster", response_nonce=second.nonce)
    await client.send("listener")
    await until(lambda: xds.streams and xds.streams[0].settled)
    assert xds.streams[0].node == "lab"
    assert xds.published == 2
    await client.close()
    await until(lambda: not xds.streams)


async def test_a_removed_cluster_goes_after_its_linger_without_any_message(
    server: tuple[XdsServer, int],
) -> None:
    xds, port = server
    publish = Publishing(xds)
    publish({"cluster": {"a": cluster("a")}})
    client = Client(port)
    await client.send("cluster")
    first = await client.read()
    await client.send("listener")
    assert (await client.read()).type_url == type_url("listener")
    await client.send("cluster", response_nonce=first.nonce)
    publish({})
    removal = await client.read()
    assert list(removal.removed_resources) == ["a"]
    await client.close()


async def test_a_refusal_becomes_a_problem_until_the_content_changes(server: tuple[XdsServer, int]) -> None:
    xds, port = server
    publish = Publishing(xds)
    publish({"cluster": {"a": cluster("a")}})
    client = Client(port)
    await client.send("cluster")
    first = await client.read()
    await client.send(
        "cluster", response_nonce=first.nonce, error_detail={"code": 13, "message": "a: too odd"}
    )
    await until(lambda: xds.problems)
    assert "too odd" in xds.problems[0].message
    publish({"cluster": {"a": cluster("a", "3s")}})
    again = await client.read()
    await client.send("cluster", response_nonce=again.nonce)
    await until(lambda: not xds.problems)
    await client.close()


async def test_a_returning_envoy_keeps_what_it_has_until_there_is_something_to_compare(
    server: tuple[XdsServer, int],
) -> None:
    xds, port = server
    publish = Publishing(xds)
    client = Client(port)
    await client.send("listener", initial_resource_versions={"l": "1"})
    reading = asyncio.ensure_future(client.read())
    await asyncio.sleep(0.1)
    assert not reading.done()
    publish({})
    assert list((await reading).removed_resources) == ["l"]
    await client.close()


async def test_unknown_kinds_of_resources_are_ignored(server: tuple[XdsServer, int]) -> None:
    xds, port = server
    publish = Publishing(xds)
    client = Client(port)
    await client.call.write(pb.DeltaDiscoveryRequest(type_url="type.googleapis.com/some.Thing"))
    publish({"cluster": {"a": cluster("a")}})
    await client.send("cluster")
    assert [each.name for each in (await client.read()).resources] == ["a"]
    await client.close()


async def test_a_unix_socket_is_for_this_user_only(tmp_path: Path) -> None:
    xds = XdsServer(anybody)
    publish = Publishing(xds)
    await xds.start_unix(tmp_path / "xds")
    assert stat.S_IMODE((tmp_path / "xds").stat().st_mode) == 0o600
    publish({"cluster": {"a": cluster("a")}})
    client = Client(tmp_path / "xds")
    await client.send("cluster")
    assert [each.name for each in (await client.read()).resources] == ["a"]
    await client.close()
    await xds.stop()


async def test_a_node_that_is_not_expected_gets_nothing(caplog: pytest.LogCaptureFixture) -> None:
    xds = XdsServer(lambda node: ALL if node == "mine" else None)
    publish = Publishing(xds)
    port = await xds.start("127.0.0.1", 0)
    publish({"cluster": {"a": cluster("a")}})
    for node in ("", "headgate", "headgate", "x" * 10_000):
        stranger = Client(port)
        await stranger.send("cluster", node={"id": node})
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await stranger.read()
        assert refused.value.code() is grpc.StatusCode.PERMISSION_DENIED
        await stranger.close()
    assert not xds.streams
    assert len(caplog.records) == 3  # each of them once
    assert all(len(record.getMessage()) < 200 for record in caplog.records)
    friend = Client(port)
    await friend.send("cluster", node={"id": "mine"})
    assert [each.name for each in (await friend.read()).resources] == ["a"]
    assert [stream.node for stream in xds.streams] == ["mine"]
    await friend.close()
    await xds.stop()


async def test_an_acknowledgement_is_told_of_once_and_of_its_own_envoy_alone() -> None:
    told: list[str] = []
    xds = XdsServer(lambda node: node, on_change=told.append)
    port = await xds.start("127.0.0.1", 0)
    clients = {}
    for name in ("one", "two"):
        xds.publish(name, Changes((made("cluster", "a", cluster("a")),)))
        clients[name] = client = Client(port)
        await client.send("cluster", node={"id": name})
        first = await client.read()
        await client.send("cluster", response_nonce=first.nonce)
        await client.send("listener")
        await client.read()
    await until(lambda: xds.settled)
    told.clear()
    for number in range(3):
        xds.publish("one", Changes((made("cluster", f"new-{number}", cluster("a")),)))
        assert xds.acknowledged("one") is False and not xds.settled
        assert xds.acknowledged("two")
        assert not told, "who publishes need not be told"
        response = await clients["one"].read()
        await clients["one"].send("cluster", response_nonce=response.nonce)
        await until(lambda: xds.settled)
        assert told == ["one"]
        told.clear()
    wrong = {"code": 13, "message": "b: too odd"}
    xds.publish("two", Changes((made("cluster", "b", cluster("b")),)))
    response = await clients["two"].read()
    await clients["two"].send("cluster", response_nonce=response.nonce, error_detail=wrong)
    await until(lambda: xds.refusals)
    assert [dataplane for dataplane, _ in xds.refusals] == told == ["two"]
    for client in clients.values():
        await client.close()
    await until(lambda: not xds.streams)
    assert (xds.acknowledged("one"), xds.refusals, xds.settled) == (None, (), False)
    await xds.stop()
