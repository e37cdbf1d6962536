"""Statuses follow what Envoys say: an Envoy of the test's own that waits, takes and refuses."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import grpc.aio
import msgspec
import pytest
from google.rpc.status_pb2 import Status
from tests import manifests as manifest
from tests.live.harness.echo import service
from tests.live.harness.lab import gate, route
from tests.manifests import Manifest
from tests.unit.app.controller.test_controller_process import ScriptedSource
from tests.xds_client import Client

from headgate.app.controller.process import Controller
from headgate.gateway.envoy.protos import type_url
from headgate.gateway.half import Update
from headgate.gateway.settings import GatewaySettings
from headgate.gateway.xds.versions import KINDS, Kind

HTTP = {"name": "http", "port": 80, "protocol": "HTTP"}
OTHER = {"name": "other", "port": 81, "protocol": "HTTP"}
NEEDS: dict[Kind, Kind] = {"cluster": "endpoint", "listener": "route"}
"""What Envoy asks for when it has been told of something, by the same names."""


def gateway(generation: int, *listeners: Manifest) -> Manifest:
    found = gate(*listeners)
    found["metadata"]["generation"] = generation
    return found


class Peer:
    """An Envoy: it takes what comes while `takes` is set, and refuses the listeners that `refuses` names."""

    def __init__(self, port: int) -> None:
        self.port, self.client = port, Client(port)
        self.takes = asyncio.Event()
        self.refuses: Callable[[str], bool] = lambda name: False

    async def comes_back(self) -> None:
        """Run, and connect again whenever the stream ends, as the Envoy of a Gateway does."""
        while True:
            with contextlib.suppress(grpc.aio.AioRpcError, asyncio.InvalidStateError, AttributeError):
                await self.run()
            await self.client.close()
            await asyncio.sleep(0.05)
            self.client = Client(self.port)

    async def run(self) -> None:
        for kind in NEEDS:
            await self.client.send(kind, node={"id": "default/gate"})
        while True:
            message: Any = await self.client.call.read()
            if not hasattr(message, "nonce"):  # the end
                return
            await self.takes.wait()
            kind = next(each for each in KINDS if type_url(each) == message.type_url)
            bad = [each.name for each in message.resources if kind == "listener" and self.refuses(each.name)]
            wrong = {"error_detail": Status(code=3, message=f"bad: {bad}")} if bad else {}
            await self.client.send(kind, response_nonce=message.nonce, **wrong)
            names = [each.name for each in message.resources if each.name != "picker/own"]
            if kind in NEEDS:
                await self.client.send(NEEDS[kind], resource_names_subscribe=names)


class Lab:
    def __init__(
        self, source: ScriptedSource, controller: Controller, peer: Peer, told: list[Update]
    ) -> None:
        self.source, self.controller, self.peer, self.told = source, controller, peer, told

    def give(self, *objects: Manifest) -> None:
        self.source.queue.put_nowait(manifest.decoded(*objects, *service("one", 1)))

    async def asked(self) -> dict[str, Any]:
        """Kind → status, as `headgate status` asks for it."""
        answer = await self.controller.routes()["/v1/objects"]({})
        found = json.loads(answer.body)["objects"]
        return {each["kind"]: each["status"] for each in found}

    def written(self) -> dict[str, Any]:
        """The same as it would be written into a cluster."""
        found: dict[str, Any] = {}
        for update in self.told:
            for each, result in update.results.items():
                found[each.kind] = msgspec.to_builtins(result)
        return found


@asynccontextmanager
async def running(
    controller: Controller, peer: Peer, its_part: Coroutine[Any, Any, None]
) -> AsyncIterator[None]:
    tasks = [asyncio.ensure_future(each) for each in (controller.run(), its_part)]
    try:
        yield
    finally:
        for each in tasks:
            each.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await peer.client.close()
        await controller.xds.stop()


@asynccontextmanager
async def lab(*, followed: bool) -> AsyncIterator[Lab]:
    source, told = ScriptedSource(), list[Update]()
    controller = Controller(source, GatewaySettings(), updated=told.append if followed else None)
    port = await controller.xds.start("127.0.0.1", 0)
    peer = Peer(port)
    async with running(controller, peer, peer.run()):
        yield Lab(source, controller, peer, told)


def programmed(status: Any) -> tuple[str, str, int]:
    """Status, reason and generation of the condition."""
    (found,) = [each for each in status["conditions"] if each["type"] == "Programmed"]
    return found["status"], found["reason"], found.get("observedGeneration", 0)


async def until(check: Callable[[], Any]) -> None:
    async with asyncio.timeout(10):
        while True:
            found = check()
            if await found if asyncio.iscoroutine(found) else found:
                return
            await asyncio.sleep(0.01)


async def test_pending_until_envoy_has_acknowledged() -> None:
    async with lab(followed=False) as made:
        made.give(gateway(1, HTTP), route("r", "one"))
        await until(lambda: made.controller.status()["envoys"])
        assert programmed((await made.asked())["Gateway"]) == ("False", "Pending", 1)
        made.peer.takes.set()
        await until(lambda: made.controller.status()["settled"])
        assert programmed((await made.asked())["Gateway"]) == ("True", "Programmed", 1)
        made.peer.takes.clear()
        made.give(gateway(2, HTTP, OTHER), route("r", "one"))
        await until(lambda: made.controller.status()["snapshots"] == 2)
        await until(lambda: not made.controller.status()["settled"])
        assert programmed((await made.asked())["Gateway"]) == ("False", "Pending", 2)
        made.peer.takes.set()
        await until(lambda: made.controller.status()["settled"])
        assert programmed((await made.asked())["Gateway"]) == ("True", "Programmed", 2)


@pytest.mark.parametrize("followed", [False, True], ids=["asked", "written"])
async def test_what_envoy_refuses_is_said_and_then_taken_back(followed: bool) -> None:
    async with lab(followed=followed) as made:

        async def now() -> Any:
            return (made.written() if followed else await made.asked()).get("Gateway")

        async def becomes(*wanted: Any) -> None:
            async def check() -> bool:
                found = await now()
                return found is not None and programmed(found) == wanted

            await until(check)

        made.peer.takes.set()
        made.peer.refuses = lambda name: name.endswith("81")
        made.give(gateway(1, HTTP), route("r", "one"))
        await becomes("True", "Programmed", 1)
        await until(lambda: made.controller.status()["settled"])
        made.give(gateway(2, HTTP, OTHER), route("r", "one"))
        await becomes("False", "Invalid", 2)
        assert "Envoy refuses it: bad" in json.dumps(await now())
        assert made.controller.status()["summary"]["listeners"]
        made.give(gateway(3, HTTP), route("r", "one"))
        await becomes("True", "Programmed", 3)
        if followed:  # nothing was told of halves that were tried
            seen = [
                programmed(msgspec.to_builtins(found))
                for update in made.told
                for each, found in update.results.items()
                if each.kind == "Gateway" and found is not None
            ]
            assert ("True", "Programmed", 2) not in seen


async def test_a_listener_whose_port_is_taken() -> None:
    async with lab(followed=False) as made:
        made.peer.takes.set()
        made.peer.refuses = lambda name: name.endswith("81")
        answer = made.peer.client.send

        async def cannot_bind(kind: Any, **fields: Any) -> None:
            if "error_detail" in fields:
                fields["error_detail"] = Status(
                    code=3, message="Error adding/updating listener(s) port-81: cannot bind '0.0.0.0:81'"
                )
            await answer(kind, **fields)

        made.peer.client.send = cannot_bind  # type: ignore[method-assign]
        made.give(gateway(1, HTTP, OTHER), route("r", "one"))

        async def closed() -> bool:
            status = (await made.asked()).get("Gateway")
            if status is None or programmed(status)[0] != "True":
                return False
            return [programmed(each)[:2] for each in status["listeners"]] == [
                ("True", "Programmed"),
                ("False", "Invalid"),
            ]

        await until(closed)


async def test_a_gateway_alone_in_its_cluster_that_is_to_blame_among_others() -> None:
    """Left out, it takes its Envoy's stream with it: the search ends all the same, and a mended one is served."""
    source, told = ScriptedSource(), list[Update]()
    controller = Controller(source, GatewaySettings(per_gateway=True), updated=told.append)
    peer = Peer(await controller.xds.start("127.0.0.1", 0))
    peer.takes.set()
    peer.refuses = lambda name: name.endswith("81")
    jwt = {"issuer": "https://issuer.example", "jwks": {"inline": json.dumps({"keys": [{"kty": "RSA"}]})}}
    ref = {"group": "gateway.networking.k8s.io", "kind": "Gateway", "name": "gate"}
    others = [
        {
            "apiVersion": "gateway.networking.k8s.io/v1",
            "kind": "GatewayClass",
            "metadata": {"name": "headgate"},
            "spec": {"controllerName": "headgate.dev/gateway-controller"},
        },
        {
            "apiVersion": "headgate.dev/v1alpha1",
            "kind": "AccessPolicy",
            "metadata": {"name": "tokens"},
            "spec": {"targetRefs": [ref], "jwt": jwt},
        },
        route("r", "one"),
        *service("one", 1),
    ]

    def blamed() -> list[str]:
        found = controller.status()["problems"]
        return [each["place"]["object"] for each in found if each["reason"] == "RefusedByEnvoy"]

    async with running(controller, peer, peer.comes_back()):
        source.queue.put_nowait(manifest.decoded(gateway(1, HTTP, OTHER), *others))
        await until(lambda: blamed() == ["Gateway default/gate"])
        source.queue.put_nowait(manifest.decoded(gateway(2, HTTP), *others))
        await until(lambda: controller.status()["settled"] and not blamed())
        assert controller.status()["summary"]["listeners"]
