"""The messages an ext_proc server sends, as bytes.

Constants are encoded once; messages with values are built per request. Body chunks stay below Envoy's
advice of 64 KiB for full-duplex streams.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence

import msgspec
from envoy.config.core.v3.base_pb2 import HeaderValue, HeaderValueOption
from envoy.service.ext_proc.v3 import external_processor_pb2 as pb
from envoy.type.v3.http_status_pb2 import HttpStatus
from google.protobuf.duration_pb2 import Duration
from google.protobuf.struct_pb2 import Struct, Value

from headgate.model import headers as names
from headgate.model.ids import EndpointId
from headgate.model.load import ModelCard, entry
from headgate.model.printable import printable_json
from headgate.model.requests import LONGEST_WAIT_S
from headgate.model.words import counted

CHUNK_BYTES = 62_000
"""Largest body chunk of a full-duplex answer."""


def _encode(answer: pb.ProcessingResponse) -> bytes:
    encoded: bytes = answer.SerializeToString()
    return encoded


MORE_TIME = _encode(pb.ProcessingResponse(override_message_timeout=Duration(seconds=LONGEST_WAIT_S)))
"""The answer takes longer than usual: our own Envoy waits so long for it."""
EMPTY_REQUEST_HEADERS = _encode(pb.ProcessingResponse(request_headers=pb.HeadersResponse()))
EMPTY_REQUEST_BODY = _encode(pb.ProcessingResponse(request_body=pb.BodyResponse()))
EMPTY_REQUEST_TRAILERS = _encode(pb.ProcessingResponse(request_trailers=pb.TrailersResponse()))
EMPTY_RESPONSE_HEADERS = _encode(pb.ProcessingResponse(response_headers=pb.HeadersResponse()))
EMPTY_RESPONSE_BODY = _encode(pb.ProcessingResponse(response_body=pb.BodyResponse()))
EMPTY_RESPONSE_TRAILERS = _encode(pb.ProcessingResponse(response_trailers=pb.TrailersResponse()))

_ERROR_TYPES: Mapping[int, str] = {429: "rate_limit_error", 503: "server_error"}
ABOUT_THE_MODEL = frozenset({"unknown-model", "bad-request"})
"""Reasons for which a machine refuses a request that are about its `model` field."""
_DROPPED: Mapping[str, str] = {
    "saturated": "rejected-saturated",
    "over-quota": "rejected-saturated",
    "queue-full": "rejected-saturated",
    "displaced": "evicted-queue-pressure",
    "evicted": "evicted",
    "ttl-expired": "rejected-ttl-expired",
    "deadline": "rejected-ttl-expired",
}


def _option(key: str, value: str) -> HeaderValueOption:
    return HeaderValueOption(
        header=HeaderValue(key=key, raw_value=value.encode()),
        append_action=HeaderValueOption.OVERWRITE_IF_EXISTS_OR_ADD,
    )


def mutation(put: Mapping[str, str], remove: Sequence[str]) -> pb.HeaderMutation:
    """Sets (replacing) and removes headers."""
    return pb.HeaderMutation(set_headers=[_option(k, v) for k, v in put.items()], remove_headers=remove)


def _struct(values: Mapping[str, str]) -> Value:
    return Value(struct_value=Struct(fields={k: Value(string_value=v) for k, v in values.items()}))


def pick_metadata(endpoints: Iterable[EndpointId], stream: str, decision: str) -> Struct:
    """Dynamic metadata of a pick: the ordered destination list and Headgate's own keys."""
    return Struct(
        fields={
            names.LB_NAMESPACE: _struct({names.DESTINATION: ",".join(endpoints)}),
            names.OWN_NAMESPACE: _struct({"stream": stream, "decision": decision}),
        }
    )


def named_headers(stream: str) -> bytes:
    """An answer to request headers that changes nothing and names the stream for the access log."""
    metadata = Struct(fields={names.OWN_NAMESPACE: _struct({"stream": stream})})
    return _encode(pb.ProcessingResponse(request_headers=pb.HeadersResponse(), dynamic_metadata=metadata))


def headers_pick(mutate: pb.HeaderMutation, metadata: Struct, *, clear_route_cache: bool) -> bytes:
    """A pick in the answer to the request headers."""
    common = pb.CommonResponse(header_mutation=mutate, clear_route_cache=clear_route_cache)
    answer = pb.ProcessingResponse(
        request_headers=pb.HeadersResponse(response=common), dynamic_metadata=metadata
    )
    return _encode(answer)


def body_pick(
    mutate: pb.HeaderMutation, metadata: Struct, body: bytes | None, *, clear_route_cache: bool
) -> bytes:
    """A pick in the answer to a buffered body; *body* replaces it unless None."""
    common = pb.CommonResponse(
        header_mutation=mutate,
        clear_route_cache=clear_route_cache,
        body_mutation=None if body is None else pb.BodyMutation(body=body),
    )
    return _encode(
        pb.ProcessingResponse(request_body=pb.BodyResponse(response=common), dynamic_metadata=metadata)
    )


def _streamed(body: bytes, end: bool) -> pb.BodyResponse:
    chunk = pb.StreamedBodyResponse(body=body, end_of_stream=end)
    return pb.BodyResponse(response=pb.CommonResponse(body_mutation=pb.BodyMutation(streamed_response=chunk)))


def _chunks(body: bytes, end: bool) -> Iterator[pb.BodyResponse]:
    last = max(0, (len(body) - 1) // CHUNK_BYTES)
    for index in range(last + 1):
        yield _streamed(body[index * CHUNK_BYTES : (index + 1) * CHUNK_BYTES], end and index == last)


def streamed_request(body: bytes, *, end: bool) -> list[bytes]:
    """A whole request body for a full-duplex stream; *end* puts end-of-stream on the last chunk."""
    return [_encode(pb.ProcessingResponse(request_body=chunk)) for chunk in _chunks(body, end)]


def streamed_response(body: bytes, *, end: bool) -> list[bytes]:
    """One piece of a response body for a full-duplex stream."""
    return [_encode(pb.ProcessingResponse(response_body=chunk)) for chunk in _chunks(body, end)]


def replaced_response(body: bytes) -> bytes:
    """A response chunk with other bytes, for a stream that is not full-duplex."""
    change = pb.BodyMutation(body=body) if body else pb.BodyMutation(clear_body=True)
    common = pb.CommonResponse(body_mutation=change)
    return _encode(pb.ProcessingResponse(response_body=pb.BodyResponse(response=common)))


def response_headers(put: Mapping[str, str], remove: Sequence[str]) -> bytes:
    """The answer to response headers."""
    if not put and not remove:
        return EMPTY_RESPONSE_HEADERS
    common = pb.CommonResponse(header_mutation=mutation(put, remove))
    return _encode(pb.ProcessingResponse(response_headers=pb.HeadersResponse(response=common)))


def _immediate(status: int, put: Mapping[str, str], body: bytes, details: str) -> bytes:
    answer = pb.ImmediateResponse(
        status=HttpStatus(code=status), headers=mutation(put, ()), body=body, details=details
    )
    return _encode(pb.ProcessingResponse(immediate_response=answer))


def error(
    status: int,
    reason: str,
    message: str,
    *,
    request_id: str,
    param: str | None = None,
    retry_after_s: int | None = None,
) -> bytes:
    """An error in OpenAI's JSON shape, with *reason* in `x-headgate-reason` and in Envoy's response details.

    429 and 503 also carry the incumbent's drop reason.
    """
    fields = {
        "message": message,
        "type": _ERROR_TYPES.get(status, "invalid_request_error"),
        "param": param,
        "code": "model_not_found" if reason == "unknown-model" else reason,
    }
    put = {
        "content-type": "application/json",
        names.REASON: reason,
        names.DECISION: f"refused; {reason}",
        names.REQUEST_ID: request_id,
    }
    if status in (429, 503):
        put[names.DROPPED_REASON] = _DROPPED.get(reason, "rejected-no-endpoints")
    if retry_after_s is not None:
        put["retry-after"] = str(retry_after_s)
    return _immediate(status, put, _page({"error": fields}), f"headgate_{reason}")


def _page(content: object) -> bytes:
    """JSON that people may look at: names of clients and servers in it steer no terminal."""
    return printable_json(msgspec.json.encode(content)).encode()


def model_list(cards: Sequence[ModelCard], *, request_id: str) -> bytes:
    """The answer to `GET /v1/models`."""
    data = [entry(card) for card in cards]
    put = {
        "content-type": "application/json",
        names.DECISION: f"listed; {counted(len(cards), 'model')}",
        names.REQUEST_ID: request_id,
    }
    return _immediate(200, put, _page({"object": "list", "data": data}), "headgate_models")
