"""An ext_proc and access-log server in the test's own process that picks as it is told."""

import asyncio
import contextlib
import sys
from collections.abc import AsyncIterator
from typing import Any

import grpc
from envoy.config.core.v3 import base_pb2
from envoy.service.accesslog.v3 import als_pb2
from envoy.service.ext_proc.v3 import external_processor_pb2 as ext_proc
from tests.live.harness.processes import free_port

from headgate.model import headers


class ScriptedPicker:
    """An ext_proc and access-log server that picks `endpoints`, refuses, hangs or waits as told by `mode`.

    `headers` picks before there is a body. `duplex` does it as foreign pickers do, `late` as those of body mode `streamed`, with the whole body; either
    with `-refuse` answers with status `refusal` then.
    """

    def __init__(self) -> None:
        self.port = free_port()
        self.mode = "pick"
        self.endpoints: list[str] = []
        self.refusal = 429
        self.messages: list[tuple[str, Any]] = []
        self.initial: list[dict[str, str]] = []
        self.pools: list[str] = []
        """Of each stream, as its clusters are called, where the data plane says which."""
        self.log: asyncio.Queue[Any] = asyncio.Queue()
        self._server: grpc.aio.Server

    @property
    def address(self) -> str:
        """`ip:port`."""
        return f"127.0.0.1:{self.port}"

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator["ScriptedPicker"]:
        """Serve until the block ends."""
        server = grpc.aio.server(options=[("grpc.max_receive_message_length", 100 << 20)])
        handlers = {
            "envoy.service.ext_proc.v3.ExternalProcessor": {
                "Process": grpc.stream_stream_rpc_method_handler(
                    self._process, ext_proc.ProcessingRequest.FromString, _serialize
                )
            },
            "envoy.service.accesslog.v3.AccessLogService": {
                "StreamAccessLogs": grpc.stream_unary_rpc_method_handler(
                    self._access_log, als_pb2.StreamAccessLogsMessage.FromString, _serialize
                )
            },
        }
        server.add_generic_rpc_handlers(
            tuple(grpc.method_handlers_generic_handler(name, methods) for name, methods in handlers.items())
        )
        server.add_insecure_port(self.address)
        await server.start()
        self._server = server
        try:
            yield self
        finally:
            await self.stop()

    async def stop(self) -> None:
        """Die at once."""
        await self._server.stop(None)

    async def _access_log(self, messages: Any, context: Any) -> Any:
        async for message in messages:
            for entry in message.http_logs.log_entry:
                self.log.put_nowait(entry)
        return als_pb2.StreamAccessLogsResponse()

    async def _process(self, messages: Any, context: Any) -> Any:
        self.initial.append(dict(context.invocation_metadata()))
        if self.mode.startswith("late"):
            async for answer in self._late(messages):
                yield answer
            return
        if self.mode.startswith("duplex"):
            async for answer in self._duplex(messages):
                yield answer
            return
        async for message in messages:
            kind = message.WhichOneof("request")
            self.messages.append((kind, message))
            for told in message.attributes.values():
                self.pools.append(told["xds.cluster_name"])
            if self.mode == "hang":
                await asyncio.sleep(3600)
            if kind == "request_headers":
                yield (
                    self._pick("request_headers")
                    if message.request_headers.end_of_stream or self.mode == "headers"
                    else (ext_proc.ProcessingResponse(request_headers=ext_proc.HeadersResponse()))
                )
            elif kind == "request_body":
                if self.mode == "wait":
                    extended = ext_proc.ProcessingResponse()
                    extended.override_message_timeout.FromSeconds(5)
                    yield extended
                    await asyncio.sleep(1.2)
                yield self._pick("request_body")
            elif kind == "response_headers":
                yield ext_proc.ProcessingResponse(response_headers=ext_proc.HeadersResponse())
            else:
                yield ext_proc.ProcessingResponse(response_body=ext_proc.BodyResponse())
                return

    async def _duplex(self, messages: Any) -> AsyncIterator[ext_proc.ProcessingResponse]:
        """As foreign pickers do: hold the headers until the body is whole, then give every byte back."""
        held: list[bytes] = []
        async for message in messages:
            kind = message.WhichOneof("request")
            self.messages.append((kind, message))
            answer = ext_proc.ProcessingResponse()
            if kind == "request_headers":
                if message.request_headers.end_of_stream:
                    yield self._pick(kind)
            elif kind == "request_body":
                held.append(message.request_body.body)
                if message.request_body.end_of_stream:
                    yield self._pick("request_headers")
                    if self.mode.endswith("refuse"):
                        return
                    whole = b"".join(held)
                    for start in range(0, len(whole), 62000):
                        part = ext_proc.ProcessingResponse()
                        streamed = part.request_body.response.body_mutation.streamed_response
                        streamed.body = whole[start : start + 62000]
                        streamed.end_of_stream = start + 62000 >= len(whole)
                        yield part
            elif kind == "response_headers":
                answer.response_headers.SetInParent()
                yield answer
            elif kind == "response_body":
                streamed = answer.response_body.response.body_mutation.streamed_response
                streamed.body = message.response_body.body
                streamed.end_of_stream = message.response_body.end_of_stream
                yield answer
            else:
                getattr(answer, kind).SetInParent()
                yield answer

    async def _late(self, messages: Any) -> AsyncIterator[ext_proc.ProcessingResponse]:
        """Answer the headers when the body is whole, and every part of it with nothing."""
        parts = 0
        async for message in messages:
            kind = message.WhichOneof("request")
            self.messages.append((kind, message))
            parts += kind == "request_body"
            if getattr(message, kind).end_of_stream:
                yield self._pick("request_headers")
                for _ in range(parts):
                    yield ext_proc.ProcessingResponse(request_body=ext_proc.BodyResponse())
            elif kind == "response_headers":
                yield ext_proc.ProcessingResponse(response_headers=ext_proc.HeadersResponse())

    def _pick(self, kind: str) -> ext_proc.ProcessingResponse:
        if self.mode.endswith("refuse"):
            refusal = ext_proc.ProcessingResponse()
            refusal.immediate_response.status.code = self.refusal
            refusal.immediate_response.body = b'{"error":{"message":"from the picker"}}'
            added = refusal.immediate_response.headers.set_headers
            added.add().header.CopyFrom(_header("content-type", "application/json"))
            added.add().header.CopyFrom(_header(headers.REASON, "saturated"))
            return refusal
        answer = ext_proc.ProcessingResponse()
        text = ",".join(self.endpoints)
        common = getattr(answer, kind).response
        common.header_mutation.set_headers.add().header.CopyFrom(_header(headers.DESTINATION, text))
        answer.dynamic_metadata.update(
            {
                headers.LB_NAMESPACE: {headers.DESTINATION: text},
                headers.OWN_NAMESPACE: {"stream": "s1", "decision": "picked by script"},
            }
        )
        return answer


def _header(key: str, value: str) -> base_pb2.HeaderValue:
    return base_pb2.HeaderValue(key=key, raw_value=value.encode())


def _serialize(message: Any) -> bytes:
    data: bytes = message.SerializeToString()
    return data


async def main(port: int, *endpoints: str) -> None:
    """Pick *endpoints* in full duplex until the process ends, and say so when it begins."""
    picker = ScriptedPicker()
    picker.port, picker.mode, picker.endpoints = port, "duplex", list(endpoints)
    async with picker.running():
        print("picking", flush=True)
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), *sys.argv[2:]))
