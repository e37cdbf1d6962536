"""How a pool's picker is asked: by which cluster, told what, and with which parts of the request."""

from headgate.gateway.envoy import names
from headgate.gateway.envoy.names import Json, typed
from headgate.gateway.envoy.wire import Constant
from headgate.model import headers
from headgate.model.endpoints import ModelRule, Pool, Rewrite

_EXT_PROC_PER_ROUTE = "envoy.extensions.filters.http.ext_proc.v3.ExtProcPerRoute"

BUFFERED_MODE: Json = Constant(
    {
        "request_header_mode": "SEND",
        "request_body_mode": "BUFFERED",
        "request_trailer_mode": "SKIP",
        "response_header_mode": "SEND",
        "response_body_mode": "STREAMED",
        "response_trailer_mode": "SKIP",
    }
)
"""Our own picker: with a buffered body, message timeout and fail-open really work."""

UNCHANGED_MODE: Json = Constant(BUFFERED_MODE | {"response_header_mode": "SKIP"})
"""The same for a pool that renames no model: its answers never need a change.

While the picker looks at response headers, Envoy holds them back and can no longer retry: a server that died
in that moment would cost the request.
"""

BODYLESS_MODE: Json = Constant(UNCHANGED_MODE | {"request_body_mode": "NONE", "response_body_mode": "NONE"})
"""Any picker asked about a connection that becomes a WebSocket. One that waits for a body all the same is
waited for as long as for our own, and then the pool's failure mode counts."""

DUPLEX_MODE: Json = {
    "request_header_mode": "SEND",
    "request_body_mode": "FULL_DUPLEX_STREAMED",
    "request_trailer_mode": "SEND",
    "response_header_mode": "SEND",
    "response_body_mode": "FULL_DUPLEX_STREAMED",
    "response_trailer_mode": "SEND",
}
"""What every conformant picker speaks."""

LATE_MODE: Json = BUFFERED_MODE | {"request_body_mode": "STREAMED", "response_body_mode": "NONE"}
"""A picker of the mode `streamed`."""


_LEAN: Json = Constant({"key": headers.LEAN, "value": "1"})
_OWN_PICKER: Json = Constant(names.grpc(names.OWN_PICKER))


def picker_cluster(pool: Pool) -> str:
    """The cluster of the pool's picker."""
    return names.OWN_PICKER if pool.picker is None else names.picker(pool.picker.service)


def ask(pool: Pool, mode: Json | None = None) -> Json:
    """Switches the picker on for one weighted cluster; *mode* is by default the one that the pool needs.

    With our own picker FailClose is the cluster's doing, which refuses what nobody picked: if ext_proc failed
    the request instead, a picker that dies would also cut the answers that it is just looking at.
    """
    own = pool.picker is None
    told = [{"key": headers.POOL, "value": pool.key}]
    if own:
        told.append(_LEAN)
    return typed(
        _EXT_PROC_PER_ROUTE,
        overrides={
            "grpc_service": _OWN_PICKER if own else names.grpc(picker_cluster(pool)),
            "grpc_initial_metadata": told,
            "failure_mode_allow": own or pool.failure_mode == "FailOpen",
            "processing_mode": mode or _mode(pool),
        },
    )


def _mode(pool: Pool) -> Json:
    if pool.picker is not None:
        return DUPLEX_MODE if pool.picker.body_mode == "full-duplex" else LATE_MODE
    rules: tuple[ModelRule | Rewrite, ...] = (*pool.models, *pool.rewrites)
    renamed = any(target.name != rule.model_name for rule in rules for target in rule.targets)
    return BUFFERED_MODE if renamed else UNCHANGED_MODE
