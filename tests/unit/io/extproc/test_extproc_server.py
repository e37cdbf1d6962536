"""The services over a real loopback port, around a scripted machine."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import grpc
import grpc.aio
import pytest
from envoy.service.accesslog.v3.als_pb2 import StreamAccessLogsMessage
from envoy.service.ext_proc.v3 import external_processor_pb2 as pb
from tests.choices import a_choice

from headgate.io.extproc.health import Health
from headgate.io.extproc.hub import Hub
from headgate.io.extproc.server import listen
from headgate.io.extproc.service import ACCESS_LOG, EOF, EXT_PROC, GrpcServices
from headgate.model import headers as names
from headgate.model.decisions import Decision
from headgate.model.ids import EndpointId, PoolKey, StreamId
from headgate.model.requests import InferenceRequest, Outcome
from headgate.picker.actions import Action, Reject, Route
from headgate.picker.choice import Choice
from headgate.picker.events import Event, RequestArrived, RequestEnded, Woken
from headgate.wire.extproc import Settings

POOL = PoolKey("default/p")
LEAN = (("x-headgate-pool", POOL), ("x-headgate-lean", "1"))


class Machine:
    """Routes at once, or, told to hold, when woken."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.hold = False
        self.refuse = False
        self.held: list[RequestArrived] = []

    def handle(self, event: Event, now: float) -> list[Action]:
        self.events.append(event)
        if isinstance(event, RequestArrived):
            self.held.append(event)
        if isinstance(event, Woken) or not self.hold:
            ready, self.held = self.held, []
            return [self.answer(each) for each in ready]
        return []

    def answer(self, event: RequestArrived) -> Action:
        endpoint = EndpointId("10.0.0.1:80")
        choice = a_choice(event.request.id, POOL, (endpoint,))
        if self.refuse:
            decision = Decision(
                request_id=event.request.id, pool=POOL, policy="p", at=0.0, refused="saturated"
            )
            return Reject(event.stream, 429, "saturated", "full", 1, decision)
        return Route(event.stream, (endpoint,), None, choice)

    def ended(self) -> list[str]:
        return [event.ending for event in self.events if isinstance(event, RequestEnded)]


class Silent:
    def decided(
        self, stream: StreamId, request: InferenceRequest, decision: Choice | Decision, took_s: float
    ) -> None:
        pass

    def concluded(self, stream: StreamId, outcome: Outcome) -> None:
        pass


class Rig:
    def __init__(self, hub: Hub, machine: Machine, channel: Any, health: Health) -> None:
        self.hub, self.machine, self.channel, self.health = hub, machine, channel, health

    def open(self, metadata: tuple[tuple[str, str], ...] = ()) -> Any:
        return self.channel.stream_stream(f"/{EXT_PROC}/Process")(metadata=metadata)

    async def until(self, condition: Any) -> None:
        for _ in range(200):
            if condition():
                return
            await asyncio.sleep(0.01)
        raise AssertionError(self.machine.events)


@pytest.fixture
async def rig() -> AsyncIterator[Rig]:
    machine, health = Machine(), Health()
    hub = Hub(Silent(), asyncio.get_running_loop().time)
    hub.add_pool(POOL, machine)
    ports = await listen(GrpcServices(hub, Settings("n")), health, host="127.0.0.1", port=0, health_port=0)
    async with grpc.aio.insecure_channel(f"127.0.0.1:{ports.port}") as channel:
        yield Rig(hub, machine, channel, health)
    await ports.stop(0)


def headers(*, end: bool = True) -> bytes:
    message = pb.ProcessingRequest()
    message.request_headers.headers.headers.add(key=":method", raw_value=b"GET")
    message.request_headers.headers.headers.add(key=":path", raw_value=b"/x")
    message.request_headers.end_of_stream = end
    data: bytes = message.SerializeToString()
    return data


def response(*, end: bool = False) -> bytes:
    message = pb.ProcessingRequest()
    message.response_headers.headers.headers.add(key=":status", raw_value=b"200")
    message.response_headers.end_of_stream = end
    data: bytes = message.SerializeToString()
    return data


async def answer(call: Any) -> Any:
    return pb.ProcessingResponse.FromString(await asyncio.wait_for(call.read(), 2))


async def test_a_pick_and_its_end(rig: Rig) -> None:
    call = rig.open()
    await call.write(headers())
    assert (await answer(call)).WhichOneof("response") == "request_headers"
    await call.write(response(end=True))
    assert (await answer(call)).WhichOneof("response") == "response_headers"
    assert await asyncio.wait_for(call.read(), 2) is EOF
    assert rig.machine.ended() == ["complete"]
    assert rig.hub.open_streams == 0


async def test_a_held_request_is_answered_later_by_another_event(rig: Rig) -> None:
    rig.machine.hold = True
    calls = [rig.open(), rig.open()]
    for call in calls:
        await call.write(headers())
    await rig.until(lambda: len(rig.machine.held) == 2)
    rig.hub.tell(POOL, Woken())
    for call in calls:
        assert (await answer(call)).WhichOneof("response") == "request_headers"
        call.cancel()
    await rig.until(lambda: rig.machine.ended() == ["aborted", "aborted"])


@pytest.mark.parametrize("lean", [False, True])
async def test_a_held_request_may_be_refused_later(rig: Rig, lean: bool) -> None:
    rig.machine.hold = rig.machine.refuse = True
    call = rig.open(LEAN if lean else ())
    await call.write(headers())
    if lean:
        assert (await answer(call)).override_message_timeout.seconds == 300
    await rig.until(lambda: rig.machine.held)
    rig.hub.tell(POOL, Woken())
    assert (await answer(call)).immediate_response.status.code == 429
    assert await asyncio.wait_for(call.read(), 2) is EOF
    await rig.until(lambda: rig.hub.open_streams == 0)
    assert rig.machine.ended() == []


async def test_a_held_request_that_is_left_to_the_log_ends_its_stream(rig: Rig) -> None:
    rig.machine.hold = True
    call = rig.open(LEAN)
    await call.write(headers())
    assert (await answer(call)).HasField("override_message_timeout")
    rig.hub.tell(POOL, Woken())
    assert (await answer(call)).WhichOneof("response") == "request_headers"
    assert await asyncio.wait_for(call.read(), 2) is EOF
    await rig.until(lambda: rig.hub.left_streams == 1)
    assert rig.machine.ended() == []


async def test_a_client_that_leaves_while_held(rig: Rig) -> None:
    rig.machine.hold = True
    call = rig.open()
    await call.write(headers())
    await rig.until(lambda: rig.machine.held)
    call.cancel()
    await rig.until(lambda: rig.machine.ended() == ["aborted"])
    rig.hub.tell(POOL, Woken())
    assert rig.hub.open_streams == 0


async def test_a_refusal_ends_the_stream(rig: Rig) -> None:
    rig.machine.refuse = True
    call = rig.open()
    await call.write(headers())
    assert (await answer(call)).immediate_response.status.code == 429
    assert await asyncio.wait_for(call.read(), 2) is EOF
    assert rig.machine.ended() == []


@pytest.mark.parametrize("attribute", ["xds.route_name", "xds.cluster_name"])
@pytest.mark.parametrize("prefix", ["", "pool/"])
async def test_a_request_attribute_names_the_pool(rig: Rig, attribute: str, prefix: str) -> None:
    other = Machine()
    rig.hub.add_pool(PoolKey("default/other"), other)
    message = pb.ProcessingRequest.FromString(headers())
    message.attributes["envoy.filters.http.ext_proc"][attribute] = f"{prefix}default/other"
    call = rig.open()
    await call.write(message.SerializeToString())
    await answer(call)
    await call.write(response(end=True))
    await answer(call)
    assert (other.ended(), rig.machine.ended()) == (["complete"], [])
    named = rig.open(((names.POOL, POOL),))
    await named.write(message.SerializeToString())
    await answer(named)
    named.cancel()
    await rig.until(lambda: rig.machine.ended() == ["aborted"])


async def test_an_unknown_pool_is_told(rig: Rig) -> None:
    call = rig.open((("x-headgate-pool", "default/nobody"),))
    await call.write(headers(end=False))
    said = (await answer(call)).immediate_response
    assert said.status.code == 503
    assert b"default/nobody" in said.body


@pytest.mark.parametrize("metadata", [(LEAN[1],), LEAN])
async def test_our_own_envoy_is_told_of_a_pool_that_is_not_there_as_if_nobody_served(
    rig: Rig, metadata: tuple[tuple[str, str], ...]
) -> None:
    rig.hub.remove_pool(POOL)
    message = pb.ProcessingRequest.FromString(headers())
    message.attributes["envoy.filters.http.ext_proc"]["xds.cluster_name"] = f"pool/{POOL}"
    call = rig.open(metadata)
    await call.write(message.SerializeToString())
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await answer(call)
    assert refused.value.code() is grpc.StatusCode.UNAVAILABLE
    await rig.until(lambda: rig.hub.open_streams == 0)
    assert rig.machine.ended() == []


async def test_a_request_outlives_its_pool(rig: Rig) -> None:
    running, late = rig.open(), rig.open()
    await running.write(headers())
    await answer(running)
    rig.hub.remove_pool(POOL)
    await running.write(response(end=True))
    assert (await answer(running)).WhichOneof("response") == "response_headers"
    await late.write(headers())
    assert (await answer(late)).immediate_response.status.code == 503


async def test_a_broken_stream_leaves_the_others_alone(rig: Rig) -> None:
    good, bad = rig.open(), rig.open()
    await good.write(headers())
    await answer(good)
    await bad.write(b"\xff\xff")
    with pytest.raises(grpc.aio.AioRpcError) as broken:
        await bad.read()
    assert broken.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    await good.write(response(end=True))
    assert (await answer(good)).WhichOneof("response") == "response_headers"


async def test_a_stream_that_was_left_ends_by_the_access_log(rig: Rig) -> None:
    call = rig.open(LEAN)
    await call.write(headers())
    key = (await answer(call)).dynamic_metadata["headgate"]["stream"]
    assert await asyncio.wait_for(call.read(), 2) is EOF
    assert (rig.machine.ended(), rig.hub.left_streams) == ([], 1)
    log = StreamAccessLogsMessage()
    entry = log.http_logs.log_entry.add()
    entry.common_properties.metadata.filter_metadata["headgate"]["stream"] = key
    entry.response.response_code.value = 200
    logs: Any = rig.channel.stream_unary(f"/{ACCESS_LOG}/StreamAccessLogs")()
    await logs.write(log.SerializeToString())
    await rig.until(lambda: rig.machine.ended() == ["complete"])
    await logs.done_writing()
    assert await logs == b""


async def test_health_is_watched_on_the_main_port(rig: Rig) -> None:
    watch: Any = rig.channel.unary_stream("/grpc.health.v1.Health/Watch")(b"")
    assert await asyncio.wait_for(watch.read(), 2) == b"\x08\x02"
    await rig.health.set_ready(True)
    assert await asyncio.wait_for(watch.read(), 2) == b"\x08\x01"
    watch.cancel()
