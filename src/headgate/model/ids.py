"""Names that must not be mixed up, as types."""

from typing import NewType

EndpointId = NewType("EndpointId", str)
"""`ip:port`, IPv6 in brackets: exactly the string that Envoy knows the host by."""

PoolKey = NewType("PoolKey", str)
"""`namespace/name` of an InferencePool."""

RequestId = NewType("RequestId", str)
"""The `x-request-id` a user sees. A client may choose it: never unique by itself."""

StreamId = NewType("StreamId", int)
"""One request in a picker's hands: unique within the picker process."""


def pool_key(namespace: str, name: str) -> PoolKey:
    """The key of the InferencePool *name* in *namespace*."""
    return PoolKey(f"{namespace}/{name}")


def endpoint_id(ip: str, port: int) -> EndpointId:
    """`ip:port`, with brackets around an IPv6 address."""
    return EndpointId(f"[{ip}]:{port}" if ":" in ip else f"{ip}:{port}")
