"""The border to the native wire: what it is configured with, and its rows of built-in values as ours.

The native module itself is not imported here: rows are plain tuples, and `kinds` names their first entries.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from headgate.model import bounds
from headgate.model import headers as names
from headgate.model.ids import EndpointId, StreamId
from headgate.model.requests import BLOCK_BYTES, MEDIA_TOKENS, MOST_MEDIA, InferenceRequest, Usage
from headgate.model.sessions import USUAL, Sources
from headgate.wire import multipart
from headgate.wire.accesslog import LONGEST_DETAILS
from headgate.wire.api import LONGEST_MODEL, Format
from headgate.wire.blocks import HORIZON_BLOCKS
from headgate.wire.extproc import EVICTED_STATUS, STRIPPED, Settings
from headgate.wire.messages import LONGEST_ENDPOINT, MOST_SUBSET
from headgate.wire.parse import FORMATS, LONGEST_ID, LONGEST_PATH, MODELS_SUFFIX, number
from headgate.wire.said import RequestEnded
from headgate.wire.shape import MEDIA_BLOCKS
from headgate.wire.stored import is_stored, prior_of
from headgate.wire.stream_key import StreamKeys

Row = Sequence[Any]

_NAMES: Mapping[str, Any] = {
    "pool": names.POOL,
    "pool_attributes": names.POOL_ATTRIBUTES,
    "lean": names.LEAN,
    "fallbacks": names.FALLBACKS,
    "destination": names.DESTINATION,
    "subset": names.SUBSET,
    "served": names.SERVED,
    "lb_namespace": names.LB_NAMESPACE,
    "subset_namespace": names.SUBSET_NAMESPACE,
    "request_id": names.REQUEST_ID,
    "own_namespace": names.OWN_NAMESPACE,
    "client": names.CLIENT_KEY,
    "usage_namespace": names.USAGE_NAMESPACE,
    "attempts_namespace": names.ATTEMPTS_NAMESPACE,
    "decision": names.DECISION,
    "endpoint": names.ENDPOINT,
    "objective": names.OBJECTIVE,
    "fairness_id": names.FAIRNESS_ID,
    "slo_ttft_ms": names.SLO_TTFT_MS,
    "slo_tpot_ms": names.SLO_TPOT_MS,
    "stripped": sorted(STRIPPED),
    "models_suffix": MODELS_SUFFIX,
    "pools": names.POOLS,
    "flow": names.FLOW,
}


def session_lists(wanted: Sources) -> tuple[Sequence[str], Sequence[str], Sequence[str]]:
    """What the native `Server` takes: headers, cookies and fields of bodies that may name a session."""
    return sorted(wanted.headers), sorted(wanted.cookies), sorted(wanted.body)


def native_settings(
    settings: Settings, formats: Sequence[Format] = FORMATS, sessions: Sources = USUAL
) -> dict[str, Any]:
    """What the native `Server` and `Conversation` take."""
    return {
        "names": dict(_NAMES),
        "formats": [(each.api, list(each.suffixes), each.shape, each.body) for each in formats],
        "answers": [each.answers.declared() for each in formats],
        "sessions": session_lists(sessions),
        "longest_boundary": bounds.BOUNDARY_BYTES,
        "most_parts": bounds.MOST_PARTS,
        "longest_part_headers": bounds.PART_HEADERS_BYTES,
        "true_words": list(multipart.TRUE),
        "media_blocks": MEDIA_BLOCKS,
        "media_tokens": MEDIA_TOKENS,
        "most_media": MOST_MEDIA,
        "longest_model": LONGEST_MODEL,
        "longest_id": LONGEST_ID,
        "longest_path": LONGEST_PATH,
        "longest_endpoint": LONGEST_ENDPOINT,
        "most_subset": MOST_SUBSET,
        "evicted_status": EVICTED_STATUS,
        "odd_body_limit": settings.odd_body_limit,
        "longest_details": LONGEST_DETAILS,
        "nonce": settings.nonce,
        "secret": settings.secret,
        "body_limit": settings.body_limit,
        "subset_filter": settings.subset_filter,
        "block_bytes": BLOCK_BYTES,
        "horizon_blocks": HORIZON_BLOCKS,
    }


def request_of(row: Row) -> InferenceRequest:
    """An ARRIVED row's request: from its fourth entry on, a row has the order of the fields."""
    prior = row[23] if len(row) > 23 else None
    path = row[5]
    if row[14] is row[15] is prior is None and not is_stored(path):
        return InferenceRequest(*row[3:])
    ttft_ms, tpot_ms = (None if text is None else number(text) for text in row[14:16])
    fields: Row = (*row[3:14], ttft_ms, tpot_ms, *row[16:])
    found = InferenceRequest(*fields)
    meant = prior_of(found.path, prior)
    return found if meant == prior else msgspec.structs.replace(found, prior=meant)


def logged(row: Row, keys: StreamKeys) -> RequestEnded | None:
    """A LOGGED row: how a request ended; None: it is none of this process."""
    number = keys.number(row[1])
    if number is None:
        return None
    served: EndpointId | None = row[5]
    return RequestEnded(StreamId(number), row[2], row[3], usage_of(row[4]), served, row[6], row[7])


def usage_of(found: tuple[int, int, int | None] | tuple[int, bytes] | None) -> Usage | None:
    """What a row says of usage; for an object of an unusual form: the number of the format, and the bytes."""
    if found is None:
        return None
    if len(found) == 2:
        return FORMATS[found[0]].counter.find(found[1])
    return Usage(*found)
