"""Resources for tests of xDS: any JSON, which is its own serialized form."""

from collections.abc import Mapping
from typing import Any

import msgspec

from headgate.gateway.envoy import protos
from headgate.gateway.plan.classes import ALL
from headgate.gateway.xds.versions import KINDS, Json, Kind, Resource, Wanted, difference, nothing, resource
from headgate.io.xds.server import XdsServer


def made(kind: Kind, name: str, content: Json) -> Resource:
    """A resource of that content."""
    return resource(kind, name, content, msgspec.json.encode(content, order="sorted"))


def content_of(found: Resource) -> Any:
    """The JSON that a resource was made of."""
    return msgspec.json.decode(found.body)


def wanted_of(content: Mapping[Any, Mapping[str, Json]]) -> Wanted:
    """Kind → name → content, as resources."""
    return {
        kind: {name: made(kind, name, each) for name, each in content.get(kind, {}).items()} for kind in KINDS
    }


class Publishing:
    """Leads a server to one whole after the other; contents must be Envoy's."""

    def __init__(self, xds: XdsServer) -> None:
        self._xds = xds
        self._before = nothing()

    def __call__(self, content: Mapping[Any, Mapping[str, Json]]) -> None:
        """Publish what leads from the last content to this one."""
        wanted: Wanted = {
            kind: {
                name: resource(kind, name, each, protos.serialized(kind, each))
                for name, each in content.get(kind, {}).items()
            }
            for kind in KINDS
        }
        self._xds.publish(ALL, difference(self._before, wanted))
        self._before = wanted


def anybody(node: str) -> str:
    """Every Envoy is served."""
    return ALL
