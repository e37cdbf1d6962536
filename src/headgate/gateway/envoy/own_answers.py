"""The errors that no server gave: no route, too large, nobody there, refused by the picker.

Envoy counts them itself, by port and by the reason that the client is told, so that a flood of them costs
nobody else. Of those that no picker of ours saw it tells the controller.
"""

from headgate.gateway.envoy.bootstrap import XDS_CLUSTER
from headgate.gateway.envoy.model_answers import MODEL_NOT_FOUND, UNREADABLE_BODY
from headgate.gateway.envoy.names import Json, duration, extension, grpc
from headgate.gateway.envoy.replies import GAVE_UP, MISDIRECTED, OWN_PICKERS, cel_filter, replies
from headgate.gateway.reasons import INVALID_ROUTE, NO_BACKEND
from headgate.gateway.settings import GatewaySettings
from headgate.model.headers import MODEL_NAME, OWN_NAMESPACE, REASON

PREFIX = "headgate"
COUNTER = "answers"
LISTENER, TAG = "listener", "reason"
"""The statistic is `PREFIX.COUNTER` with these tags."""

BAD_REQUEST = "bad-request"
"""Value of an answer with 400 also where it tells no reason: Envoy could not read the request."""

FALLBACK = "fallback"
"""Decision of a request that Envoy placed without a picker, and of one that no picker has decided on."""
DECIDED = "decision"
"""Key of it in our own metadata."""

TOLD_S = 0.2
"""So long Envoy keeps what it tells the controller, at most."""
TOLD_BYTES = 16 << 10
"""And so much of it."""

OTHER = "other"

_OURS = f"(!response.code_details.startsWith('via_upstream') || '{REASON}' in response.headers)"
"""Not a server's answer: those lose what only the gateway says."""
UNDECIDED = (BAD_REQUEST, "too-large", "unknown-pool")
"""Reasons of our picker's refusals that come before it decides; it remembers none of these."""
_METADATA = "metadata.filter_metadata"
_DECISION = f'{_METADATA}["{OWN_NAMESPACE}"]["{DECIDED}"]'
_ROUTED = (
    f'"{OWN_NAMESPACE}" in {_METADATA} && "{DECIDED}" in {_METADATA}["{OWN_NAMESPACE}"]'
    f' && {_DECISION} != "{FALLBACK}"'
)
_REFUSED = f"{OWN_PICKERS} && !(response.headers['{REASON}'] in {list(UNDECIDED)})"
_UNSEEN = f"{_OURS} && !({_ROUTED}) && !({_REFUSED})"
"""And our picker remembers nothing of the request."""

OF_PICKER = (
    *("saturated", "no-endpoints", "unknown-model", "no-target-model", "unknown-pool"),
    *("bad-request", "too-large"),
    *("over-quota", "queue-full", "displaced", "evicted", "ttl-expired", "deadline"),
)
"""Reasons of our picker's refusals."""


def reasons(settings: GatewaySettings) -> tuple[str, ...]:
    """Every value that the tag has besides `OTHER`, whatever a server or picker says."""
    found = [reply.reason for reply in replies(settings)]
    of_routes = (GAVE_UP.reason, MISDIRECTED.reason, NO_BACKEND, INVALID_ROUTE)
    found += [MODEL_NOT_FOUND, UNREADABLE_BODY]
    return tuple(dict.fromkeys((*found, *OF_PICKER, *of_routes)))


def counter(settings: GatewaySettings, listener: str) -> Json:
    """The access logger that counts those of *listener*."""
    told = f"response.headers['{REASON}']"
    known = ", ".join(f"'{reason}'" for reason in reasons(settings))
    value = (
        f"'{REASON}' in response.headers && {told} in [{known}] ? {told}"
        f" : response.code == 400 ? '{BAD_REQUEST}' : '{OTHER}'"
    )
    log = extension(
        "envoy.access_loggers.stats",
        "envoy.extensions.access_loggers.stats.v3.Config",
        stat_prefix=PREFIX,
        counters=[
            {
                "stat": {
                    "name": COUNTER,
                    "tags": [
                        {"name": LISTENER, "value_format": listener},
                        {"name": TAG, "value_format": f"%CEL({value})%"},
                    ],
                },
                "value_fixed": 1,
            }
        ],
    )
    return log | {"filter": _errors(_OURS)}


def teller() -> Json:
    """The access logger that tells the controller, on the cluster of the xDS server."""
    log = extension(
        "envoy.access_loggers.http_grpc",
        "envoy.extensions.access_loggers.grpc.v3.HttpGrpcAccessLogConfig",
        common_config={
            "log_name": "headgate-own-answers",
            "transport_api_version": "V3",
            "buffer_flush_interval": duration(TOLD_S),
            "buffer_size_bytes": TOLD_BYTES,
            "grpc_service": grpc(XDS_CLUSTER),
        },
        additional_request_headers_to_log=[":method", MODEL_NAME],
        additional_response_headers_to_log=[REASON],
    )
    return log | {"filter": _errors(_UNSEEN)}


def _errors(which: str) -> Json:
    """Answers with 4xx and 5xx for which the CEL expression *which* holds."""
    least = {"default_value": 400, "runtime_key": "headgate.least_error"}
    filters: list[Json] = [
        {"status_code_filter": {"comparison": {"op": "GE", "value": least}}},
        {"not_health_check_filter": {}},
        cel_filter(which),
    ]
    return {"and_filter": {"filters": filters}}
