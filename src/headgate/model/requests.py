"""One inference request, whatever API it came by, and how it ended."""

from typing import Literal

import msgspec

from headgate.model.ids import EndpointId, RequestId

Api = Literal[
    "chat", "completions", "responses", "messages", "generate", "pooling", "audio", "models", "other"
]
"""`models` is `GET /v1/models`; `pooling` is embeddings, scores and the like; `audio` is sound to transcribe;
of `other` only the model is known."""

BLOCK_BYTES = 128
"""Prompt bytes per prefix block: about 32 tokens of English text."""

BYTES_PER_TOKEN = 4.0
"""First estimate of prompt bytes per token, before any answer told the true number."""

MEDIA_TOKENS = 1024
"""Prompt tokens that an image, a sound or a file counts for, whatever its size and the API it came by.

What vision models make of one megapixel (LLaVA 576, Qwen2.5-VL 1,369) and audio models of 40 seconds (25 a
second).
"""

MOST_MEDIA = 64
"""Images, sounds and files of one prompt that are counted; more of them weigh no more."""

LONGEST_WAIT_S = 300
"""Our own Envoy waits at most so long for the picker's answer to a request that was made to wait."""


class InferenceRequest(msgspec.Struct, frozen=True, gc=False):
    """What the picker knows of a request when it must decide. The order of fields is that of a native row."""

    id: RequestId
    api: Api
    path: str = ""
    model: str | None = None
    """The name the client asked for; None when the body has none or was not understood."""
    streaming: bool = False
    blocks: bytes = b""
    """Chained hashes of the prompt's whole blocks of `BLOCK_BYTES`, up to the horizon: 8 bytes each,
    little-endian."""
    prompt_bytes: int = 0
    """All prompt text, the part past the horizon too, without media."""
    max_tokens: int | None = None
    subset: tuple[str, ...] | None = None
    """Only these may serve (`ip:port` or bare `ip`); None: no restriction; empty: nobody may."""
    objective: str | None = None
    fairness_id: str | None = None
    slo_ttft_ms: float | None = None
    slo_tpot_ms: float | None = None
    sessions: tuple[tuple[str, str], ...] = ()
    """What may name its session: sources of `model.sessions` with digests of what they say, by name."""
    body_bytes: int = 0
    unseen: bool = False
    """Nothing of the answer will be told but its end: the data plane does not show the response phase."""
    media_tokens: int = 0
    """What the prompt's images, sounds and files count for, at most `MOST_MEDIA` times `MEDIA_TOKENS`."""
    tools_first: bytes = b""
    """The prompt's blocks for a model whose template has the tools before the system text; empty: as
    `blocks`."""
    pools: str | None = None
    """Further pools whose models a list of models is to hold: keys, parted by spaces."""
    client: str | None = None
    """Who the client is, where the data plane has verified it."""
    prior: str | None = None
    """Digest of the id of the answer or conversation that it goes on with, asks for, or is to be done
    something to."""
    flow_policy: str | None = None
    """`namespace/name` of the FlowPolicy of its route or listener, as our own data plane says."""
    target_model: str | None = None
    """Target model forced by a trusted header (`x-llm-d-model-name-rewrite`)."""


class Usage(msgspec.Struct, frozen=True, gc=False):
    """Token counts the engine reported."""

    prompt_tokens: int
    completion_tokens: int
    cached_tokens: int | None = None


Ending = Literal["complete", "aborted", "failed", "lost", "evicted"]
"""How a request ended: answered whole; the client went away; the upstream failed; nobody told us; before its
answer began it was ended, because a more important one needed its place."""


class Outcome(msgspec.Struct, frozen=True, gc=False):
    """What became of a routed request; times in seconds from its arrival."""

    ending: Ending
    status: int | None = None
    served: EndpointId | None = None
    ttft_s: float | None = None
    """Arrival at the picker to the first token; None when none came or none were seen."""
    duration_s: float | None = None
    usage: Usage | None = None
    details: str | None = None
    """What ended it, in the words of who saw that: Envoy's response code details, `gave-up` where a last
    attempt was refused, or one of `LOST_…`; None: nothing but the server's answer, or nobody said."""
    attempts: int | None = None
    """How often the data plane sent it to a model server; None: unknown."""
    trouble: str | None = None
    """What was held against `chosen[0]` while the request waited there."""


LOST_BY_COUNT = "engine-count"
"""Details of a lost request: its engine's count of running requests showed it to be over."""
LOST_TOO_LONG = "too-long"
"""It ran longer than any request is remembered."""
LOST_POOL = "pool-removed"
"""Its pool is served no more."""
LOST_PEER = "data-plane-gone"
"""Envoy went away, or its access log did not tell the end in time."""
