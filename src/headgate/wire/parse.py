"""Method, path, headers and body → `InferenceRequest`, or what is wrong with it."""

import re
from collections.abc import Mapping

import msgspec

from headgate import registry
from headgate.model import headers as names
from headgate.model.ids import RequestId
from headgate.model.requests import InferenceRequest
from headgate.wire import formats
from headgate.wire.api import BadRequest, Format, Reading
from headgate.wire.blocks import chain
from headgate.wire.glance import glance

FORMATS: tuple[Format, ...] = registry.values(formats, Format)
MODELS_SUFFIX = "/v1/models"
LONGEST_ID = 256
"""Characters of a client's `x-request-id` that are kept."""

_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_SURROGATE = re.compile(
    rb"(?<!\\)((?:\\\\)*)\\u[dD](?:[89abAB][0-9a-fA-F]{2}(\\u[dD][c-fC-F][0-9a-fA-F]{2})?|[c-fC-F][0-9a-fA-F]{2})"
)
"""An escaped surrogate, with its second half where it has one."""


def claimed_by(method: str, path: str) -> Format | None:
    """The format whose path this is (query already removed); None: not understood."""
    if method != "POST":
        return None
    for candidate in FORMATS:
        if path.endswith(candidate.suffixes):
            return candidate
    return None


def is_json(headers: Mapping[str, str]) -> bool:
    """Whether the body may be read as JSON: said so, or nothing said; never when it is compressed."""
    kind = headers.get("content-type", "").partition(";")[0].strip().lower()
    plain = headers.get("content-encoding", "identity").lower() in ("", "identity")
    return plain and (not kind or kind == "application/json" or kind.endswith("+json"))


def read_body(format_: Format, body: bytes) -> Reading | BadRequest:
    """Reads a body on a claimed path.

    What engines, which read with Python's `json`, let pass is not refused: a byte order mark, half a
    surrogate pair (an emoji cut in two). Bytes inside strings that are no UTF-8 are replaced. All that
    concerns only what is read here: the body goes on as it came.
    """
    try:
        try:
            return format_.read(body)
        except UnicodeDecodeError:
            return format_.read(body.decode("utf-8", "replace").encode())
        except msgspec.DecodeError:
            mended = _mend(body)
            if mended == body:
                raise
            return format_.read(mended)
    except msgspec.ValidationError as error:
        return BadRequest(*_explain(error))
    except (msgspec.DecodeError, RecursionError) as error:
        return BadRequest(f"the body is not valid JSON: {error}")


def _mend(body: bytes) -> bytes:
    whole = _SURROGATE.sub(lambda found: found[0] if found[2] else found[1] + b"\\ufffd", body)
    return whole.removeprefix(_BYTE_ORDER_MARK)


def _explain(error: msgspec.ValidationError) -> tuple[str, str | None]:
    text, _, place = str(error).partition(" - at `$")
    if not place:
        return "the body must be a JSON object", None
    return f"{text} at {place.strip('`.')}", place.strip("`.").partition("[")[0].partition(".")[0] or None


def number(text: str | None) -> float | None:
    """A positive finite number; None for anything else."""
    try:
        value = float(text) if text else None
    except ValueError:
        return None
    return value if value is not None and 0 < value < float("inf") else None


def _first(headers: Mapping[str, str], keys: tuple[str, ...]) -> str | None:
    for key in keys:
        value = headers.get(key)
        if value:
            return value
    return None


def understand(
    headers: Mapping[str, str],
    body: bytes | None,
    *,
    fallback_id: str,
    subset: tuple[str, ...] | None = None,
    unseen: bool = False,
) -> InferenceRequest | BadRequest:
    """One request as the picker's machine wants it.

    *headers* have lower-case names and include `:method` and `:path`; *body* is None when it will not be
    seen, and the request is then routed without being understood. *fallback_id* names a request that
    came without `x-request-id`; *unseen*: its answer will not be seen.

    JSON on a path that no format claims is never refused here; its model, if it names one, counts.
    """
    method, path = headers.get(":method", ""), headers.get(":path", "").partition("?")[0]
    readable = body if body and is_json(headers) else None
    format_ = claimed_by(method, path) if body is not None and is_json(headers) else None
    lists_models = method == "GET" and path.endswith(MODELS_SUFFIX)
    reading = read_body(format_, body or b"") if format_ else glance(readable) if readable else None
    if isinstance(reading, BadRequest):
        return reading
    return InferenceRequest(
        id=RequestId(headers.get(names.REQUEST_ID, "")[:LONGEST_ID] or fallback_id),
        api=format_.api if format_ else "models" if lists_models else "other",
        path=path,
        model=(reading.model or None) if reading else None,
        streaming=reading.streaming if reading else False,
        blocks=chain(reading.prompt, reading.model) if reading else b"",
        prompt_bytes=len(reading.prompt) if reading else 0,
        max_tokens=reading.max_tokens if reading else None,
        subset=subset,
        unseen=unseen,
        objective=_first(headers, names.OBJECTIVE),
        fairness_id=_first(headers, names.FAIRNESS_ID),
        slo_ttft_ms=number(_first(headers, names.SLO_TTFT_MS)),
        slo_tpot_ms=number(_first(headers, names.SLO_TPOT_MS)),
        session=_first(headers, names.SESSION),
        body_bytes=len(body) if body is not None else 0,
    )
