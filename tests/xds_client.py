"""A peer of the xDS server that says what a test tells it to."""

import asyncio
from pathlib import Path
from typing import Any

import grpc.aio
from envoy.service.discovery.v3 import discovery_pb2 as pb

from headgate.gateway.envoy.protos import type_url
from headgate.gateway.xds.versions import Kind
from headgate.io.xds.server import SERVICE


class Client:
    """One delta stream."""

    def __init__(self, where: int | Path) -> None:
        target = f"unix:{where}" if isinstance(where, Path) else f"127.0.0.1:{where}"
        self.channel: Any = grpc.aio.insecure_channel(target)
        call: Any = self.channel.stream_stream(
            f"/{SERVICE}/DeltaAggregatedResources",
            request_serializer=pb.DeltaDiscoveryRequest.SerializeToString,
            response_deserializer=pb.DeltaDiscoveryResponse.FromString,
        )
        self.call = call()

    async def send(self, kind: Kind, **fields: Any) -> None:
        named = {"node": {"id": "lab"}, **fields}
        await self.call.write(pb.DeltaDiscoveryRequest(type_url=type_url(kind), **named))

    async def read(self) -> Any:
        async with asyncio.timeout(5):
            return await self.call.read()

    async def close(self) -> None:
        self.call.cancel()
        await self.channel.close()
