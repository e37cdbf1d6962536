"""Method, path, headers and body → `InferenceRequest`, or what is wrong with it."""

import re
from collections.abc import Mapping

import msgspec

from headgate import registry
from headgate.model import headers as names
from headgate.model.ids import RequestId
from headgate.model.requests import InferenceRequest
from headgate.model.sessions import USUAL, Sources
from headgate.wire import formats, multipart
from headgate.wire.api import BadRequest, BodyKind, Format, Reading
from headgate.wire.blocks import chain
from headgate.wire.numbers import cut
from headgate.wire.rewrite import is_readable, media_type, replace_model
from headgate.wire.sessions import sessions_of
from headgate.wire.stored import prior_of

FORMATS: tuple[Format, ...] = registry.values(formats, Format)
OTHERS: Mapping[BodyKind, Format] = {each.body: each for each in FORMATS if not each.suffixes}
"""The formats of what no other one claims."""
MODELS_SUFFIX = "/v1/models"
ODD_BODY_BYTES = 256 * 1024
"""A body that is no strict JSON of its format's form is mended, or its fault explained, up to this size.

A larger one is routed without being understood, so that no client costs more than a moment of the thread that
decides. A body in good form is read whatever its size.
"""
LONGEST_ID = 256
"""Bytes of a client's `x-request-id`, objective and fairness id that are kept; the rest is cut off."""
LONGEST_PATH = 1024
"""Bytes of a path that are kept; the rest is cut off."""
LONGEST_NUMBER = 32
"""Bytes of a header that may be a number."""

_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_SURROGATE = re.compile(
    rb"(?<!\\)((?:\\\\)*)\\u[dD](?:[89abAB][0-9a-fA-F]{2}(\\u[dD][c-fC-F][0-9a-fA-F]{2})?|[c-fC-F][0-9a-fA-F]{2})"
)
"""An escaped surrogate, with its second half where it has one."""


def claimed_by(method: str, path: str, body: BodyKind = "json") -> Format:
    """The format whose path this is (query already removed): that with the longest end of it."""
    if method != "POST":
        return OTHERS[body]
    ours = (each for each in FORMATS if each.body == body)
    ends = ((len(end), each) for each in ours for end in each.suffixes if path.endswith(end))
    return max(ends, key=lambda found: found[0], default=(0, OTHERS[body]))[1]


def body_kind(headers: Mapping[str, str]) -> BodyKind | None:
    """How the body may be read: as is said, as JSON where nothing is; None: not at all, as if compressed."""
    kind = media_type(headers.get("content-type", ""))
    if not is_readable(headers.get("content-encoding", "")):
        return None
    if not kind or kind == "application/json" or kind.endswith("+json"):
        return "json"
    return "multipart" if kind == multipart.MEDIA_TYPE else None


def format_of(headers: Mapping[str, str]) -> Format:
    """The format of a request; *headers* as those of `understand`."""
    path = headers.get(":path", "").partition("?")[0]
    return claimed_by(headers.get(":method", ""), path, body_kind(headers) or "json")


def read_body(
    format_: Format, body: bytes, odd_limit: int = ODD_BODY_BYTES, content_type: str = ""
) -> Reading | BadRequest | None:
    """Reads a body on a claimed path; None: it is routed without being understood.

    *content_type*, the header's whole value, tells a multipart body's boundary. Of JSON, what engines (which
    read with Python's `json`) let pass is not refused: a byte order mark, half a surrogate pair (an emoji cut
    in two). Bytes inside strings that are no UTF-8 are replaced, in a body of up to *odd_limit* bytes. All
    that concerns only what is read here: the body goes on as it came.
    """
    small = len(body) <= odd_limit
    found: Reading | BadRequest | None
    try:
        if format_.body == "multipart":
            found = format_.read_form(body, content_type)
        else:
            found = _read(format_, body, small)
    except msgspec.ValidationError:
        found = BadRequest("the body must be a JSON object") if format_.strict else None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        found = BadRequest(f"the body is not valid JSON: {error}") if format_.strict else None
    return found if small or not isinstance(found, BadRequest) else None


def _read(format_: Format, body: bytes, small: bool) -> Reading | BadRequest:
    if not small:
        body.decode()
    try:
        return format_.read(body)
    except UnicodeDecodeError:
        return format_.read(body.decode("utf-8", "replace").encode())
    except msgspec.ValidationError:
        raise
    except msgspec.DecodeError:
        mended = _mend(body)
        if mended == body:
            raise
        return format_.read(mended)


def _mend(body: bytes) -> bytes:
    whole = _SURROGATE.sub(lambda found: found[0] if found[2] else found[1] + b"\\ufffd", body)
    return whole.removeprefix(_BYTE_ORDER_MARK)


def rename(headers: Mapping[str, str], body: bytes, model: str) -> bytes:
    """*body* with *model* as the name of its model, wherever one stands; every other byte stays."""
    if body_kind(headers) != "multipart":
        return replace_model(body, model)
    boundary = multipart.boundary_of(headers["content-type"])
    field = OTHERS["multipart"].shape["model"].encode()
    return body if boundary is None else multipart.replace_value(body, boundary, field, model.encode())


def number(text: str | None) -> float | None:
    """A positive finite number; None for anything else."""
    try:
        value = float(text) if text and len(text) <= LONGEST_NUMBER else None
    except ValueError:
        return None
    return value if value is not None and 0 < value < float("inf") else None


def _first(headers: Mapping[str, str], keys: tuple[str, ...]) -> str | None:
    for key in keys:
        value = headers.get(key)
        if value:
            return cut(value, LONGEST_ID)
    return None


def understand(
    headers: Mapping[str, str],
    body: bytes | None,
    *,
    fallback_id: str,
    subset: tuple[str, ...] | None = None,
    unseen: bool = False,
    odd_limit: int = ODD_BODY_BYTES,
    own_envoy: bool = False,
    client: str | None = None,
    sessions: Sources = USUAL,
) -> InferenceRequest | BadRequest:
    """One request as the picker's machine wants it.

    *headers* have lower-case names and include `:method` and `:path`; *body* is None when it will not be
    seen, and the request is then routed without being understood. *fallback_id* names a request that
    came without `x-request-id`; *unseen*: its answer will not be seen. *odd_limit*: see `read_body`;
    *own_envoy*: it comes from our own gateway, whose headers are believed. *client*: who sent it, as the data
    plane has verified; *sessions*: what may name its session.

    A body on a path that no format claims is refused only for a model's name that is too long.
    """
    method, path = headers.get(":method", ""), headers.get(":path", "").partition("?")[0]
    kind = body_kind(headers)
    format_ = format_of(headers)
    reading: Reading | BadRequest | None = None
    if body is not None and kind is not None and (body or format_.strict or kind == "multipart"):
        reading = read_body(format_, body, odd_limit, headers.get("content-type", ""))
    if isinstance(reading, BadRequest):
        return reading
    lists_models = method == "GET" and path.endswith(MODELS_SUFFIX)
    return InferenceRequest(
        id=RequestId(cut(headers.get(names.REQUEST_ID, ""), LONGEST_ID) or fallback_id),
        api="models" if lists_models else "other" if reading is None else format_.api,
        path=cut(path, LONGEST_PATH),
        model=reading.model if reading else None,
        streaming=reading.streaming if reading else False,
        blocks=chain(reading.prompt, reading.model, reading.salt) if reading else b"",
        prompt_bytes=reading.prompt_bytes if reading else 0,
        max_tokens=reading.max_tokens if reading else None,
        subset=subset,
        unseen=unseen,
        objective=_first(headers, names.OBJECTIVE),
        fairness_id=_first(headers, names.FAIRNESS_ID),
        slo_ttft_ms=number(_first(headers, names.SLO_TTFT_MS)),
        slo_tpot_ms=number(_first(headers, names.SLO_TPOT_MS)),
        sessions=sessions_of(headers, reading.sessions if reading else (), sessions),
        body_bytes=len(body) if body is not None else 0,
        media_tokens=reading.media_tokens if reading else 0,
        tools_first=chain(reading.tools_first, reading.model, reading.salt) if reading else b"",
        pools=headers.get(names.POOLS) if lists_models and own_envoy else None,
        client=client,
        prior=prior_of(cut(path, LONGEST_PATH), reading.prior if reading else None),
        flow_policy=headers.get(names.FLOW) if own_envoy else None,
    )
