"""The access log: one JSON object for every request, those that no route, picker or server saw among them.

Nothing of it is secret: no query, no body, and of headers only those named here. Each text of the client is
cut. Envoy escapes control characters and bytes that are no UTF-8.
"""

from collections.abc import Mapping

from headgate.gateway.envoy.names import Json, extension
from headgate.gateway.envoy.replies import cel_filter
from headgate.model import headers

EVENT = "request"
"""Value of `event`, which tells the lines from the events of `headgate run --output json`."""

FIELDS: Mapping[str, str] = {
    "event": EVENT,
    "time": "%START_TIME(%Y-%m-%dT%H:%M:%S.%3fZ)%",
    "request_id": f"%REQ({headers.REQUEST_ID}):200%",
    "method": "%REQ(:METHOD):32%",
    "path": "%PATH(NQ:ORIG_OR_PATH):512%",
    "host": "%REQ(:AUTHORITY):255%",
    "protocol": "%PROTOCOL%",
    "client": "%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%",
    "user_agent": "%REQ(USER-AGENT):200%",
    "model": f"%REQ({headers.MODEL_NAME}):200%",
    "status": "%RESPONSE_CODE%",
    "reason": f"%RESP({headers.REASON}):64%",
    "details": "%RESPONSE_CODE_DETAILS%",
    "flags": "%RESPONSE_FLAGS%",
    "bytes_in": "%BYTES_RECEIVED%",
    "bytes_out": "%BYTES_SENT%",
    "duration_ms": "%DURATION%",
    "first_byte_ms": "%RESPONSE_DURATION%",
    "route": "%ROUTE_NAME%",
    "cluster": "%UPSTREAM_CLUSTER%",
    "endpoint": "%UPSTREAM_HOST%",
    "attempts": "%UPSTREAM_REQUEST_ATTEMPT_COUNT%",
}
"""Field → Envoy's command operator. What does not exist is null."""

_ENDED = 'response.code_details != "internal_redirect"'


def access_log(path: str) -> Json:
    """Writes a line to the file *path*, as Envoy reaches it, when a request has ended.

    The questions of load balancers to the gateway's health path are left out; a request that begins again for
    its pool's fallback (`relay`) has one line.
    """
    log = extension(
        "envoy.access_loggers.file",
        "envoy.extensions.access_loggers.file.v3.FileAccessLog",
        path=path,
        log_format={"json_format": dict(FIELDS)},
    )
    filters = [{"not_health_check_filter": {}}, cel_filter(_ENDED)]
    return log | {"filter": {"and_filter": {"filters": filters}}}
