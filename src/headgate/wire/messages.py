"""What ext_proc messages say beside their bodies: headers, and the data plane's metadata and attributes.

The twin of `native/src/conversation/messages.rs`.
"""

from collections.abc import Iterable

from envoy.service.ext_proc.v3 import external_processor_pb2 as pb
from google.protobuf.struct_pb2 import Value

from headgate.model import headers as names
from headgate.model.ids import EndpointId
from headgate.wire.numbers import cut
from headgate.wire.parse import LONGEST_ID

LONGEST_ENDPOINT = 64
"""Bytes of an endpoint's name, `ip:port`; a longer text names none."""
MOST_SUBSET = 4096
"""Entries of a subset hint that are looked at."""

_VIA_UPSTREAM = "via_upstream"


def read_headers(message: pb.HttpHeaders) -> dict[str, str]:
    """Header values by lower-case name; `raw_value` counts where it is set.

    Of a header that comes twice the last value counts; lines of `cookie` are one list (RFC 9113, 8.2.3).
    """
    lines = [
        (h.key.lower(), h.raw_value.decode("utf-8", "replace") if h.raw_value else h.value)
        for h in message.headers.headers
    ]
    found = dict(lines)
    if "cookie" in found:
        found["cookie"] = "; ".join([value for name, value in lines if name == "cookie"])
    return found


def _metadata(message: pb.ProcessingRequest, namespace: str, key: str) -> Value | None:
    """What the data plane's filters say there; None: nothing."""
    said = message.metadata_context.filter_metadata
    return said[namespace].fields.get(key) if namespace in said else None


def client(message: pb.ProcessingRequest) -> str | None:
    """Who the client is, as the data plane's filters have verified."""
    value = _metadata(message, names.OWN_NAMESPACE, names.CLIENT_KEY)
    return None if value is None else cut(value.string_value, LONGEST_ID) or None


def subset(message: pb.ProcessingRequest) -> tuple[EndpointId, ...] | None:
    """The endpoints that the data plane allows; None: it says nothing of them."""
    value = _metadata(message, names.SUBSET_NAMESPACE, names.SUBSET)
    if value is None:
        return None
    match value.WhichOneof("kind"):
        case "list_value":
            return _endpoints(item.string_value for item in value.list_value.values[:MOST_SUBSET])
        case "string_value":
            return listed(value.string_value)
        case _:
            return ()


def listed(text: str) -> tuple[EndpointId, ...]:
    """Endpoints in a text, between commas."""
    return _endpoints(text.split(",", MOST_SUBSET)[:MOST_SUBSET])


def _endpoints(entries: Iterable[str]) -> tuple[EndpointId, ...]:
    found = (entry.strip(" \t") for entry in entries)
    return tuple(EndpointId(entry) for entry in found if 0 < len(entry.encode()) <= LONGEST_ENDPOINT)


def pool_names(message: pb.ProcessingRequest) -> tuple[str, ...]:
    """What the request's attributes call the pool, if they do."""
    told = [
        cut(values.fields[name].string_value.removeprefix("pool/"), LONGEST_ID * 2)
        for name in names.POOL_ATTRIBUTES
        for values in message.attributes.values()
        if name in values.fields
    ]
    return tuple(told)


def is_local(message: pb.ProcessingRequest) -> bool:
    """Whether the data plane answered by itself, where it forwards `response.code_details`."""
    for values in message.attributes.values():
        details = values.fields.get("response.code_details")
        if details is not None:
            return bool(details.string_value) and details.string_value != _VIA_UPSTREAM
    return False


def served_endpoint(message: pb.ProcessingRequest) -> EndpointId | None:
    """Who answers, by the data plane's word; None when it says nothing."""
    served = _metadata(message, names.LB_NAMESPACE, names.SERVED)
    name = "" if served is None else served.string_value
    return EndpointId(name) if 0 < len(name.encode()) <= LONGEST_ENDPOINT else None
