"""How a pool's picker is asked: by which filter and cluster, told what, and with which parts of the request.

Most pools have our own picker and rename no model. For these, routes say nothing: one filter asks for every
request whose cluster is a pool's, and the cluster's name says for which. An `ExtProcPerRoute` costs Envoy 45
to 70 microseconds, and thousands of routes would repeat it. The others (pickers of other vendors, pools that
rename models, fallbacks) have filters that are off: weighted clusters switch them on, and the usual one off.
"""

from collections.abc import Mapping

from headgate.gateway.envoy import fallback, names
from headgate.gateway.envoy.names import Json, duration, extension, typed
from headgate.gateway.envoy.wire import Constant
from headgate.gateway.settings import GatewaySettings
from headgate.model import headers
from headgate.model.endpoints import ModelRule, Pool, Rewrite

_EXT_PROC = "envoy.extensions.filters.http.ext_proc.v3"
_BUFFER_PER_ROUTE = "envoy.extensions.filters.http.buffer.v3.BufferPerRoute"
_MATCHING = "envoy.extensions.common.matching.v3"

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

METADATA_OPTIONS: Json = {
    "forwarding_namespaces": {
        "untyped": [headers.LB_NAMESPACE, headers.SUBSET_NAMESPACE, headers.OWN_NAMESPACE]
    },
    "receiving_namespaces": {"untyped": [headers.LB_NAMESPACE, headers.OWN_NAMESPACE]},
}
"""Which dynamic metadata a picker sees and may set; without it Envoy drops both directions in silence."""

_LEAN: Json = Constant({"key": headers.LEAN, "value": "1"})
_OWN_PICKER: Json = Constant(names.grpc(names.OWN_PICKER))


def ext_proc(
    settings: GatewaySettings,
    name: str = names.EXT_PROC,
    *,
    refusals_are_silence: bool = False,
    late: bool = False,
) -> Json:
    """The filter *name*, off by itself: weighted clusters switch it on with their pool's picker (`ask`).

    *late*: the picker gets the body before it answers the headers.
    """
    silent = {"request_header_mode": "SKIP", "response_header_mode": "SKIP"}
    return extension(
        name,
        f"{_EXT_PROC}.ExternalProcessor",
        grpc_service=names.grpc(names.OWN_PICKER),
        processing_mode=silent,
        disable_immediate_response=refusals_are_silence,
        **({"send_body_without_waiting_for_header_response": True} if late else {}),
        **_usual(settings),
    ) | {"disabled": True}


def own_ext_proc(
    settings: GatewaySettings, name: str = names.OWN_EXT_PROC, mode: Json = UNCHANGED_MODE
) -> Json:
    """The filter *name*: asks our own picker for every request to a pool, where its weighted cluster does not
    say `UNASKED`."""
    asks = extension(
        names.EXT_PROC,
        f"{_EXT_PROC}.ExternalProcessor",
        grpc_service=_OWN_PICKER | {"initial_metadata": [_LEAN]},
        processing_mode=mode,
        failure_mode_allow=True,
        request_attributes=["xds.cluster_name"],
        **_usual(settings),
    )
    return extension(
        name,
        f"{_MATCHING}.ExtensionWithMatcher",
        extension_config=asks,
        xds_matcher=names.skipped_where({"not_matcher": {"single_predicate": _POOLS}}),
    )


def _usual(settings: GatewaySettings) -> Json:
    """The route stays what it was: its header changes are made already, so that the match may fit no more."""
    return {
        "message_timeout": duration(settings.picker_timeout_s),
        "max_message_timeout": duration(settings.picker_max_wait_s),
        "status_on_error": {"code": "ServiceUnavailable"},
        "metadata_options": METADATA_OPTIONS,
        "route_cache_action": "RETAIN",
    }


def _pools() -> Json:
    """`xds.cluster_name.startsWith("pool/")`, parsed as Envoy wants it; false without a route or cluster."""
    name = {
        "id": 2,
        "select_expr": {"operand": {"id": 3, "ident_expr": {"name": "xds"}}, "field": "cluster_name"},
    }
    begins = {"id": 4, "const_expr": {"string_value": f"{names.POOL}/"}}
    call = {"id": 1, "call_expr": {"target": name, "function": "startsWith", "args": [begins]}}
    return {
        "input": extension("attributes", "xds.type.matcher.v3.HttpAttributesCelMatchInput"),
        "custom_match": extension(
            "cel", "xds.type.matcher.v3.CelMatcher", expr_match={"cel_expr_parsed": {"expr": call}}
        ),
    }


_POOLS: Json = _pools()

UNASKED: Json = Constant(
    typed(
        f"{_MATCHING}.ExtensionWithMatcherPerRoute",
        xds_matcher={"on_no_match": names.SKIPPED},
    )
)
"""`typed_per_filter_config` of an `own_ext_proc`: it asks nobody."""


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
        f"{_EXT_PROC}.ExtProcPerRoute",
        overrides={
            "grpc_service": _OWN_PICKER if own else names.grpc(picker_cluster(pool)),
            "grpc_initial_metadata": told,
            "failure_mode_allow": own or pool.failure_mode == "FailOpen",
            "processing_mode": mode or _mode(pool),
        },
    )


def asked(
    pool: Pool, settings: GatewaySettings, by: str = names.EXT_PROC, mark: str | None = None
) -> Mapping[str, Json]:
    """`typed_per_filter_config` of a weighted cluster of *pool*; empty when the usual filters are right.

    *by* is the filter that asks the pool's picker.
    *mark*: set on requests for which this picker names nobody, so that another pool's is asked (`fallback`).
    """
    own = pool.picker is None
    if own and by == names.EXT_PROC and mark is None and _mode(pool) is UNCHANGED_MODE:
        return {}
    found: dict[str, Json] = {names.OWN_EXT_PROC: UNASKED}
    if mark is not None:
        found |= fallback.switched_on(ask(pool), mark)
    elif pool.picker is not None and pool.picker.body_mode == "streamed":
        found |= {names.WHOLE_BODY: whole_body(settings), names.LATE_EXT_PROC: ask(pool)}
    else:
        found[by] = ask(pool)
    if not own:
        found |= {names.OWN_UPGRADE_EXT_PROC: UNASKED, names.UPGRADE_EXT_PROC: ask(pool, BODYLESS_MODE)}
    return found


def whole_body(settings: GatewaySettings) -> Json:
    """`typed_per_filter_config` of the filter that holds a request until its body is there."""
    return typed(_BUFFER_PER_ROUTE, buffer={"max_request_bytes": settings.body_limit_bytes})


def _mode(pool: Pool) -> Json:
    if pool.picker is not None:
        return DUPLEX_MODE if pool.picker.body_mode == "full-duplex" else LATE_MODE
    rules: tuple[ModelRule | Rewrite, ...] = (*pool.models, *pool.rewrites)
    renamed = any(target.name != rule.model_name for rule in rules for target in rule.targets)
    return BUFFERED_MODE if renamed else UNCHANGED_MODE
