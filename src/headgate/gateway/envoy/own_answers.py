"""A counter of the errors that no server gave: no route, too large, nobody there, refused by the picker.

Envoy counts them itself, by the reason that the client is told, so that a flood of them costs nobody else.
"""

from headgate.gateway.envoy.model_answers import MODEL_NOT_FOUND, UNREADABLE_BODY
from headgate.gateway.envoy.names import Json, extension
from headgate.gateway.envoy.replies import GAVE_UP, MISDIRECTED, replies
from headgate.gateway.reasons import INVALID_ROUTE, NO_BACKEND
from headgate.gateway.settings import GatewaySettings
from headgate.model.headers import REASON

PREFIX = "headgate"
COUNTER = "answers"
TAG = "reason"
"""The statistic is `PREFIX.COUNTER` with this tag."""

BAD_REQUEST = "bad-request"
"""Value of an answer with 400 also where it tells no reason: Envoy could not read the request."""
OTHER = "other"

_CEL = "envoy.extensions.access_loggers.filters.cel.v3.ExpressionFilter"
_OURS = '!response.code_details.startsWith("via_upstream")'
"""Not a server's answer."""

OF_PICKER = (
    *("saturated", "no-endpoints", "unknown-model", "no-target-model", "unknown-pool"),
    *("bad-request", "too-large"),
    *("over-quota", "queue-full", "displaced", "ttl-expired", "deadline"),
)
"""Reasons of our picker's refusals."""


def reasons(settings: GatewaySettings) -> tuple[str, ...]:
    """Every value that the tag has besides `OTHER`, whatever a server or picker says."""
    found = [reply.reason for reply in replies(settings)]
    of_routes = (GAVE_UP.reason, MISDIRECTED.reason, NO_BACKEND, INVALID_ROUTE)
    found += [MODEL_NOT_FOUND, UNREADABLE_BODY]
    return tuple(dict.fromkeys((*found, *OF_PICKER, *of_routes)))


def counter(settings: GatewaySettings) -> Json:
    """The access logger that counts."""
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
                "stat": {"name": COUNTER, "tags": [{"name": TAG, "value_format": f"%CEL({value})%"}]},
                "value_fixed": 1,
            }
        ],
    )
    least = {"default_value": 400, "runtime_key": "headgate.least_error"}
    filters: list[Json] = [
        {"status_code_filter": {"comparison": {"op": "GE", "value": least}}},
        {"not_health_check_filter": {}},
        {"extension_filter": extension("envoy.access_loggers.extension_filters.cel", _CEL, expression=_OURS)},
    ]
    return log | {"filter": {"and_filter": {"filters": filters}}}
