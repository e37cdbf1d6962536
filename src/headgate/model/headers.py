"""Header and metadata names on the wire; one place, so that gateway and picker cannot disagree.

Sources: the endpoint picker protocol (GIE proposal 004) and llm-d-router's header index.
"""

DESTINATION = "x-gateway-destination-endpoint"
SUBSET = "x-gateway-destination-endpoint-subset"
SERVED = "x-gateway-destination-endpoint-served"
LB_NAMESPACE = "envoy.lb"
SUBSET_NAMESPACE = "envoy.lb.subset_hint"

REQUEST_ID = "x-request-id"
POOL = "x-headgate-pool"
"""gRPC initial metadata of an ext_proc call: `namespace/name` of the pool that is asked for."""
POOL_ATTRIBUTES = ("xds.route_name", "xds.cluster_name")
"""Request attributes that name the pool of a stream without `POOL`, first wins: `namespace/name`, or that
after `pool/`, as our own clusters are called."""
POOLS = "x-headgate-pools"
"""Request header of our own Envoy: the pools that a list of models is to hold, `namespace/name`, parted by
spaces. A client's is removed."""
FLOW = "x-headgate-flow"
"""Request header of our own Envoy: the FlowPolicy of the request's route or listener, `namespace/name`. A
client's is removed."""
LEAN = "x-headgate-lean"
"""gRPC initial metadata, `1` from our own Envoy: the end of the request comes by the access log, so the
picker may leave the stream after the first response body chunk."""
FALLBACKS = "x-headgate-fallbacks"
"""gRPC initial metadata, `1` from a data plane that walks a list of endpoints (Envoy's override_host). Others
take the whole list for one address, and fail; they are told the first endpoint only."""

OWN_NAMESPACE = "headgate"
"""Dynamic metadata that the picker sets: `stream` (its key for the access log) and `decision`."""
ATTEMPTS_NAMESPACE = "headgate.attempts"
"""Dynamic metadata about a request's attempts at model servers; `reason` is why there was no other one."""
USAGE_NAMESPACE = "headgate.usage"
"""Dynamic metadata set by Envoy's json_to_metadata and sse_to_metadata: `prompt`, `completion`, `cached`,
and of Anthropic's `cache_read` and `cache_creation`, which are prompt besides `prompt`."""

DECISION = "x-headgate-decision"
"""Response header: the decision in a few words."""
ENDPOINT = "x-headgate-endpoint"
"""Response header: the endpoint that answered."""
REASON = "x-headgate-reason"
"""Response header of an error Headgate made itself: machine-readable reason."""
DROPPED_REASON = "x-llm-d-request-dropped-reason"
"""Response header: the incumbent's name for why a request was refused."""

TEST_SELECTION = "test-epp-endpoint-selection"
"""Request header of the conformance suites: endpoints, `ip` or `ip:port`, parted by commas."""
TEST_SERVED = "x-conformance-test-served-endpoint"
"""Response header that they look at: who the data plane says has served."""

OBJECTIVE = ("x-llm-d-inference-objective", "x-gateway-inference-objective")
FAIRNESS_ID = ("x-llm-d-inference-fairness-id", "x-gateway-inference-fairness-id")
MODEL_REWRITE = ("x-llm-d-model-name-rewrite", "x-gateway-model-name-rewrite")
SLO_TTFT_MS = ("x-llm-d-slo-ttft-ms", "x-slo-ttft-ms")
SLO_TPOT_MS = ("x-llm-d-slo-tpot-ms", "x-slo-tpot-ms")
SESSION = ("x-session-id",)

FALLBACK = "x-headgate-fallback"
"""Request header within the gateway: no endpoint was named, and these routes lead elsewhere."""

RELAY = "x-headgate-relay"
"""Request header between two listeners of the gateway: which fallback there is if no endpoint is named."""
RELAY_GROUP = "x-headgate-relay-group"
"""The same: the request's `HOST_GROUP`."""

CLIENT = "x-headgate-client"
"""Request header that Envoy's filters put the verified client's name into; it becomes metadata at once."""
CLIENT_KEY = "client"
"""Dynamic metadata in `OWN_NAMESPACE`: who the client is, where the gateway has verified it."""

MODEL_NAME = "x-gateway-model-name"
"""Request header that routes match: the body's `model`, put there by the gateway before it routes."""
BASE_MODEL_NAME = "x-gateway-base-model-name"
"""Request header that routes match: the base model of the body's `model`, as ConfigMaps say."""

HOST_GROUP = "x-headgate-host-group"
"""Request header between two parts of Envoy: the scope in which the request's route is looked up. Set where a
request enters, in place of a client's; removed before servers see it."""

FROM_BODY = (MODEL_NAME, BASE_MODEL_NAME)
"""Request headers that say what is in the body. Our gateway removes a client's; the picker leaves them, since
in other gateways a route may have been chosen by them and may be chosen again."""

NEVER_FROM_CLIENTS = (
    DESTINATION,
    SUBSET,
    SERVED,
    "x-gateway-destination-endpoint-fallback",
    "x-gateway-destination-endpoint-scores",
    *MODEL_REWRITE,
    "x-prefiller-host-port",
    "x-encoder-hosts-ports",
    "x-kv-cache-source-host-port",
    "x-data-parallel-host-port",
    POOL,
    POOLS,
    FLOW,
    LEAN,
    CLIENT,
    FALLBACK,
    RELAY,
    RELAY_GROUP,
    DECISION,
    ENDPOINT,
    REASON,
)
"""Request headers that steer routing: removed where a request enters, and never believed by the picker."""

OWN_PREFIX = "x-headgate-"
"""Beginning of the names that nobody but the gateway uses: none of a client's comes in."""
OWN_PREFIXES = (OWN_PREFIX, "x-gateway-")
"""Beginnings of the names that belong to the gateway, in requests and in responses."""

PROXY_PREFIXES = ("proxy-", "x-envoy-")
"""Beginnings of the names that are for one hop, or steer Envoy itself: retries, time limits, destinations."""

FRAMING = frozenset(
    {
        "connection",
        "content-length",
        "expect",
        "http2-settings",
        "keep-alive",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    }
)
"""Where a message ends and what becomes of its connection: the business of each hop alone. A request that
says it otherwise than it is sent makes the server take the rest of its body for somebody's next request."""


FOR_THE_PICKER = frozenset((*OBJECTIVE, *FAIRNESS_ID, *SLO_TTFT_MS, *SLO_TPOT_MS))
"""Request headers by which a picker tells requests apart. A route may set and remove them before it looks."""


def reserved(name: str) -> str | None:
    """Why a route must not set, add or remove the header *name*, of either direction; None: it may."""
    lower = name.lower()
    if lower in FOR_THE_PICKER:
        return None
    if lower in FRAMING or lower.startswith(":"):
        return "it frames the message or belongs to one connection"
    if lower.startswith(PROXY_PREFIXES):
        return "it is for the next proxy only"
    if lower.startswith(OWN_PREFIXES):
        return "it is the gateway's own"
    return None


HEALTH_PATH = "/headgate/healthz"
"""Path on the gateway's port that load balancers ask: it never reaches a route there.

A picker that is asked for it says that it can serve the pool, by the list of its models."""

NEVER_TO_SERVERS = (
    DESTINATION,
    SUBSET,
    SERVED,
    *OBJECTIVE,
    *FAIRNESS_ID,
    *MODEL_REWRITE,
    *SLO_TTFT_MS,
    *SLO_TPOT_MS,
)
"""Request headers meant for the gateway: removed before a model server sees the request."""
