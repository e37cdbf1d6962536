"""Envoy's gRPC access log → how requests ended, and errors that the gateway gave by itself."""

from collections.abc import Mapping

import msgspec
from envoy.data.accesslog.v3.accesslog_pb2 import HTTPAccessLogEntry, ResponseFlags
from envoy.service.accesslog.v3.als_pb2 import StreamAccessLogsMessage
from google.protobuf.message import DecodeError
from google.protobuf.struct_pb2 import Struct

from headgate.model import headers as names
from headgate.model.ids import EndpointId, StreamId, endpoint_id
from headgate.model.own_answers import OwnAnswer
from headgate.model.requests import Ending, Usage
from headgate.wire.numbers import cut, whole_number
from headgate.wire.parse import LONGEST_ID
from headgate.wire.said import RequestEnded
from headgate.wire.stream_key import StreamKeys

LONGEST_DETAILS = 160
"""Characters of what is kept of Envoy's words for an end."""
VIA_UPSTREAM = "via_upstream"
"""Envoy's details of an answer that a server gave."""

LONGEST_METHOD, LONGEST_HOST, LONGEST_PATH, LONGEST_MODEL = 32, 255, 512, 200
"""Bytes of what is kept of a client's words."""
LONGEST_ROUTE, LONGEST_REASON = 512, 64

LONGEST_NODE = 256
"""Bytes of a node's id that is believed."""

_GONE = ("downstream_connection_termination", "downstream_remote_reset", "downstream_protocol_error")
_FAILED = (
    "no_healthy_upstream",
    "upstream_request_timeout",
    "local_reset",
    "upstream_remote_reset",
    "upstream_connection_failure",
    "upstream_connection_termination",
    "upstream_overflow",
    "upstream_retry_limit_exceeded",
    "stream_idle_timeout",
    "upstream_max_stream_duration_reached",
    "duration_timeout",
    "upstream_protocol_error",
    "dns_resolution_failure",
)


class Told(msgspec.Struct, frozen=True):
    """What one message tells."""

    ended: tuple[RequestEnded, ...]
    """How requests ended that this process routed; others are left out."""
    node: str | None
    """The id of the Envoy that writes, in a stream's first message."""


def _ending(flags: ResponseFlags) -> Ending:
    if any(getattr(flags, name) for name in _GONE):
        return "aborted"
    return "failed" if any(getattr(flags, name) for name in _FAILED) else "complete"


def _count(values: Struct, key: str) -> int | None:
    value = values.fields.get(key)
    if value is None:
        return None
    if value.HasField("number_value"):
        return int(value.number_value) if 0 <= value.number_value < 1 << 53 else None
    return whole_number(value.string_value)


def _usage(metadata: Mapping[str, Struct]) -> Usage | None:
    if names.USAGE_NAMESPACE not in metadata:
        return None
    values = metadata[names.USAGE_NAMESPACE]
    prompt = _count(values, "prompt")
    if prompt is None:
        prompt = _count(values, "total")
    if prompt is None:
        return None
    # Anthropic's input tokens are those that were neither read from a cache nor written to one.
    read, created = _count(values, "cache_read"), _count(values, "cache_creation")
    cached = _count(values, "cached")
    completion = _count(values, "completion") or 0
    return Usage(prompt + (read or 0) + (created or 0), completion, read if cached is None else cached)


def _served(entry: HTTPAccessLogEntry, metadata: Mapping[str, Struct]) -> EndpointId | None:
    if names.LB_NAMESPACE in metadata:
        served = metadata[names.LB_NAMESPACE].fields.get(names.SERVED)
        if served is not None and served.string_value:
            return EndpointId(served.string_value)
    address = entry.common_properties.upstream_remote_address.socket_address
    return endpoint_id(address.address, address.port_value) if address.address else None


def _details(entry: HTTPAccessLogEntry, metadata: Mapping[str, Struct]) -> str | None:
    """Why no other endpoint was tried, else Envoy's response code details, in printable ASCII.

    With `{the reason}` behind them where a connection could not be made and they do not say that themselves.
    """
    text = entry.response.response_code_details
    failure = entry.common_properties.upstream_transport_failure_reason
    if names.ATTEMPTS_NAMESPACE in metadata:
        reason = metadata[names.ATTEMPTS_NAMESPACE].fields.get("reason")
        if reason is not None and reason.string_value:
            text = reason.string_value
    if not text or text == VIA_UPSTREAM:
        return None
    if failure and failure not in text:
        text = f"{text}{{{failure}}}"
    return "".join(letter if " " <= letter <= "~" else "?" for letter in text[:LONGEST_DETAILS])


def read_entries(data: bytes, keys: StreamKeys) -> Told:
    """What one serialised `StreamAccessLogsMessage` tells of the streams that *keys* names.

    Raises ValueError for bytes that are no such message.
    """
    try:
        message = StreamAccessLogsMessage.FromString(data)
    except DecodeError as error:
        raise ValueError("not a StreamAccessLogsMessage") from error
    found: list[RequestEnded] = []
    for entry in message.http_logs.log_entry:
        metadata = entry.common_properties.metadata.filter_metadata
        if names.OWN_NAMESPACE not in metadata:
            continue
        stream = metadata[names.OWN_NAMESPACE].fields.get("stream")
        number = None if stream is None else keys.number(stream.string_value)
        if number is None:
            continue
        ended = RequestEnded(
            StreamId(number),
            ending=_ending(entry.common_properties.response_flags),
            status=entry.response.response_code.value or None,
            usage=_usage(metadata),
            served=_served(entry, metadata),
            details=_details(entry, metadata),
            attempts=entry.common_properties.upstream_request_attempt_count or None,
        )
        found.append(ended)
    node = message.identifier.node.id
    return Told(tuple(found), node if 0 < len(node.encode()) <= LONGEST_NODE else None)


def read_own_answers(data: bytes) -> tuple[str, list[OwnAnswer]]:
    """The id of the Envoy that writes one serialised `StreamAccessLogsMessage`, empty but in a stream's
    first one; and the answers that can be asked for, which have a request id.

    Raises ValueError for bytes that are no such message.
    """
    try:
        message = StreamAccessLogsMessage.FromString(data)
    except DecodeError as error:
        raise ValueError("not a StreamAccessLogsMessage") from error
    entries = message.http_logs.log_entry
    return message.identifier.node.id, [_own_answer(each) for each in entries if each.request.request_id]


def _own_answer(entry: HTTPAccessLogEntry) -> OwnAnswer:
    common, request, response = entry.common_properties, entry.request, entry.response
    model = request.request_headers.get(names.MODEL_NAME)
    return OwnAnswer(
        request_id=cut(request.request_id, LONGEST_ID),
        at=common.start_time.seconds + common.start_time.nanos / 1e9,
        port=common.downstream_local_address.socket_address.port_value,
        server_name=cut(common.tls_properties.tls_sni_hostname, LONGEST_HOST),
        method=cut(request.request_headers.get(":method", ""), LONGEST_METHOD),
        host=cut(request.authority, LONGEST_HOST),
        path=cut((request.original_path or request.path).partition("?")[0], LONGEST_PATH),
        model=None if model is None else cut(model, LONGEST_MODEL),
        status=response.response_code.value,
        reason=cut(response.response_headers.get(names.REASON, ""), LONGEST_REASON),
        details=cut(response.response_code_details, LONGEST_DETAILS),
        route=cut(common.route_name, LONGEST_ROUTE),
    )
