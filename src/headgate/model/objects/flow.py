"""Our policy of fair use: who counts as whom, and what each may have; `headgate.dev/v1alpha1`."""

from typing import Annotated, ClassVar, Literal

import msgspec

from headgate.model.meta import HEADGATE_GROUP, Duration, HeaderName, KubeObject, Line, Name
from headgate.model.sessions import BODY, COOKIE, HEADER

FairnessId = Annotated[Line, msgspec.Meta(min_length=1, max_length=253)]
Priority = Annotated[int, msgspec.Meta(ge=-(2**31), le=2**31 - 1)]
Count = Annotated[int, msgspec.Meta(ge=1, le=1_000_000)]
Size = Annotated[int, msgspec.Meta(ge=1, le=1 << 40)]
Tokens = Annotated[float, msgspec.Meta(ge=1, le=1e12)]


class FlowTarget(msgspec.Struct, frozen=True, rename="camel"):
    """What a policy is for, in its own namespace."""

    name: Name
    kind: Literal["InferencePool", "HTTPRoute", "GRPCRoute", "Gateway", "ListenerSet"] = "InferencePool"
    group: (
        Literal["inference.networking.k8s.io", "inference.networking.x-k8s.io", "gateway.networking.k8s.io"]
        | None
    ) = None
    """Without: that of the kind."""
    section_name: Annotated[str, msgspec.Meta(min_length=1, max_length=253)] | None = None
    """A listener of the Gateway or ListenerSet, or a named rule of the route; without: all of it."""

    @property
    def is_pool(self) -> bool:
        """Whether it is a pool."""
        return self.kind == "InferencePool"


class RequestsSpec(msgspec.Struct, frozen=True, rename="camel"):
    """What requests count as of which nothing else tells: no believed header, no client that is named."""

    fairness_id: FairnessId | None = None
    priority: Priority | None = None


class QuotaSpec(msgspec.Struct, frozen=True, rename="camel"):
    """Tokens, prompt and answer, that may be used."""

    tokens_per_minute: Tokens
    burst_tokens: Tokens | None = None
    """At once after a pause; without: what a minute brings."""


class ShareSpec(msgspec.Struct, frozen=True, rename="camel"):
    """What one fairness id may have."""

    weight: Annotated[float, msgspec.Meta(ge=0.001, le=1_000_000)] = 1.0
    """Its part of the tokens against those of others, while all want more than there is."""
    quota: QuotaSpec | None = None
    max_queued: Count = 1000
    """Of its requests that wait."""
    max_queued_bytes: Size = 500_000_000


class FlowSpec(ShareSpec, frozen=True, kw_only=True, rename="camel"):
    """The same for one that is named."""

    id: FairnessId


class ClientSpec(msgspec.Struct, frozen=True, rename="camel"):
    """Whom a client counts as whom the gateway has verified (an AccessPolicy, `--client-keys`)."""

    name: Annotated[Line, msgspec.Meta(min_length=1, max_length=253)]
    fairness_id: FairnessId | None = None
    """Without: the client's name."""
    priority: Priority | None = None
    """Of its requests that name no objective that counts."""


class BandSpec(msgspec.Struct, frozen=True, rename="camel"):
    """How requests of a priority wait."""

    ttl: Duration | None = None
    """At most so long; not longer than the picker lets requests wait."""
    max_queued: Count = 5000
    max_queued_bytes: Size = 1_000_000_000
    fairness: Literal["WeightedTokens", "RoundRobin"] = "WeightedTokens"
    """Who is next of the fairness ids: by tokens and weights, or a request each."""
    ordering: Literal["FirstCome", "EarliestDeadline"] = "FirstCome"
    """Who is next of one fairness id; by deadline, those that would come too late are refused."""
    ceiling: Annotated[float, msgspec.Meta(gt=0, le=1)] | None = None
    """One of its requests goes only to a server of which no more than this part is taken then; the rest stays
    free for other priorities. Without: 1 below 0, so that none waits in a server; others may wait there."""
    evict: bool = False
    """Below 0: a running request whose answer has not begun is ended with 429 when a more important one needs
    its place. Only of requests that are not streamed, each once; little work is lost so."""


class NamedBandSpec(BandSpec, frozen=True, kw_only=True, rename="camel"):
    """The same for one priority."""

    priority: Priority


class DetectorSpec(msgspec.Struct, frozen=True, rename="camel"):
    """When a server has its fill, so that requests wait in the picker."""

    type: Literal["Learned", "Concurrency", "Utilization"] = "Learned"
    """`Learned`: as many run as its queue has shown that it runs at once, and a few wait; `Concurrency`: so
    many requests are there; `Utilization`: its last metrics show such a queue or so full a KV cache."""
    max_concurrency: Count = 100
    """Of `Concurrency`: running and waiting requests of one server."""
    queue_depth: Count = 5
    """Of `Utilization`: waiting requests of one server."""
    kv_cache: Annotated[float, msgspec.Meta(gt=0, le=1)] = 0.8
    """Of `Utilization`: use of the cache, 0..1."""


class SessionSource(msgspec.Struct, frozen=True, rename="camel"):
    """What names the session of a request: one of the three. Without a value it names none."""

    header: HeaderName | None = None
    cookie: HeaderName | None = None
    body: Literal["prompt_cache_key", "safety_identifier", "user", "metadata.user_id"] | None = None
    """A field of the JSON body: the first three of OpenAI's APIs, the last of Anthropic Messages."""

    def named(self) -> str:
        """As `model.sessions` has it; empty for none."""
        if self.header is not None:
            return HEADER + self.header.lower()
        if self.cookie is not None:
            return COOKIE + self.cookie
        return "" if self.body is None else BODY + self.body


ONE_SOURCE = msgspec.Meta(extra_json_schema={"minProperties": 1, "maxProperties": 1})


class FlowPolicySpec(msgspec.Struct, frozen=True, rename="camel"):
    """Fair use of the pools that are named, and who counts as whom on routes, listeners and Gateways.

    Of those, `trustHeaders`, `sessions`, `clients` and `requests` count, before what the pool's policy
    says of them.
    """

    target_refs: Annotated[tuple[FlowTarget, ...], msgspec.Meta(min_length=1, max_length=16)]
    trust_headers: (
        Annotated[tuple[Literal["fairness", "objective", "slo"], ...], msgspec.Meta(max_length=3)] | None
    ) = None
    """What is believed of clients' headers; without: what the command line says."""
    sessions: (
        Annotated[tuple[Annotated[SessionSource, ONE_SOURCE], ...], msgspec.Meta(max_length=8)] | None
    ) = None
    """What names the session of a request, the first one that has a value; without: the header
    `x-session-id`; empty: nothing does."""
    requests: RequestsSpec = RequestsSpec()
    detector: DetectorSpec = DetectorSpec()
    hold_empty: Duration | None = None
    """So long a request waits for a pool without endpoints to get one; not longer than requests may wait in
    the picker. `0s`: it is refused. Without: what the command line says."""
    clients: Annotated[tuple[ClientSpec, ...], msgspec.Meta(max_length=1024)] = ()
    flows: Annotated[tuple[FlowSpec, ...], msgspec.Meta(max_length=1024)] = ()
    default_flow: ShareSpec = ShareSpec()
    """Of each fairness id that `flows` does not name."""
    bands: Annotated[tuple[NamedBandSpec, ...], msgspec.Meta(max_length=64)] = ()
    default_band: BandSpec = BandSpec()
    """Of each priority that `bands` does not name."""


class FlowPolicy(KubeObject, frozen=True, kw_only=True):
    """Fairness, quotas and priorities. One policy counts for a target, the oldest."""

    KIND: ClassVar[str] = "FlowPolicy"
    GROUP: ClassVar[str] = HEADGATE_GROUP
    spec: FlowPolicySpec
