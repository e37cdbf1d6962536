"""Every plugin type that configurations of other endpoint pickers name, and what it means here."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Literal

import msgspec

Kind = Literal["text", "flag", "number", "count", "list", "map", "duration", "any"]
"""What a field holds; a `count` is a whole number from 0 on."""
Treatment = Literal["mapped", "built in", "left out", "refused"]
"""Done by the part of ours that means the same; done anyway, by other means; not done, which may be lived
with; not done, and serving without it would be wrong."""
Role = Literal[
    "filter", "scorer", "picker", "handler", "decider", "parser", "detector", "fairness", "ordering", "limit",
    "data", "other",
]  # fmt: skip


class Plugin(msgspec.Struct, frozen=True):
    """One plugin type."""

    role: Role
    treatment: Treatment
    here: str
    """What happens here in its place: words that end a sentence."""
    parameters: Mapping[str, Kind] = MappingProxyType({})


def _one(role: Role, treatment: Treatment, here: str, **parameters: Kind) -> Plugin:
    return Plugin(role, treatment, here, MappingProxyType(parameters))


_PREDICTED = (
    "the default policy predicts the first token's time from prefix, queue and tokens of each endpoint"
)
_PREFIX = "prefixes are indexed from requests and the engines' own counts; nothing needs to produce them"
_NO_EVENTS = "prefixes are indexed from requests; events of KV caches are not read"
_ROLE = "endpoints are kept or left out by their label"
_CLUSTERS = "clusters are no endpoints here; name pools of other clusters by InferencePoolImport"
_NO_STAGES = (
    "requests go to decode endpoints, which prefill for themselves; nothing is sent to prefill or encode"
)
_SESSIONS = (
    "a session prefers the server of its last request, by predicted seconds; it is not bound to it; "
    "headers and cookies that name one are followed"
)
_HELD_BACK = "a band's requests go only to endpoints that are no fuller than its ceiling"
_PARSED = "every API that Headgate knows is read, by its path"
_ATTRIBUTE = "metrics of your own are not read; fill and health of endpoints are looked at anyway"
_LATENCY = "no trained model is asked; " + _PREDICTED
_SOURCE: dict[str, Kind] = {
    "scheme": "text",
    "path": "text",
    "port": "count",
    "insecureSkipVerify": "flag",
    "caCertPath": "text",
    "clientCertPath": "text",
    "clientKeyPath": "text",
    "interval": "duration",
}
_MATCH: dict[str, Kind] = {"prefixMatchInfoProducerName": "text"}
_FLIGHT: dict[str, Kind] = {"inFlightLoadProducerName": "text"}
_PREDICTION: dict[str, Kind] = {"latencyPredictionInfoProducerName": "text"}
_SESSION: dict[str, Kind] = {
    "strategy": "text",
    "encodedEndpointHeaderConfig": "map",
    "sessionIdConfig": "map",
    "profileName": "text",
}
_PICK: dict[str, Kind] = {"maxNumOfEndpoints": "count"}
_DISAGG: dict[str, Kind] = {
    "stageOrder": "text",
    "profiles": "map",
    "deciders": "map",
    "decodeProfile": "text",
    "prefillProfile": "text",
    "encodeProfile": "text",
    "prefillDeciderPluginName": "text",
    "encodeDeciderPluginName": "text",
    "deciderPluginName": "text",
    "primaryPort": "count",
}
_KV: dict[str, Kind] = {
    "tokenProcessorConfig": "map",
    "indexerConfig": "map",
    "kvEventsConfig": "map",
    "speculativeIndexing": "flag",
    "speculativeTTL": "duration",
}
_APPROXIMATE: dict[str, Kind] = {
    "autoTune": "flag",
    "blockSize": "count",
    "blockSizeTokens": "count",
    "hashBlockSize": "count",
    "maxPrefixBlocksToMatch": "count",
    "maxPrefixTokensToMatch": "count",
    "lruCapacityPerServer": "count",
}
_TOKENIZER: dict[str, Kind] = {
    "estimate": "map",
    "vllm": "map",
    "udsTokenizerConfig": "map",
    "modelName": "text",
    "tokenizersPoolConfig": "map",
}
_STALE: dict[str, Kind] = {"metricsStalenessThreshold": "duration", "headroom": "number"}

PLUGINS: Mapping[str, Plugin] = MappingProxyType(
    {
        # profile handlers and their deciders
        "single-profile-handler": _one("handler", "mapped", "its one profile is served"),
        "disagg-profile-handler": _one("handler", "left out", _NO_STAGES, **_DISAGG),
        "pd-profile-handler": _one("handler", "left out", _NO_STAGES, **_DISAGG),
        "data-parallel-profile-handler": _one(
            "handler", "built in", "each rank's port is an endpoint and is named itself", primaryPort="count"
        ),
        "header-profile-handler": _one(
            "handler",
            "refused",
            "a header chooses no profile; make a pool with its own picker for each of the profiles",
            headerName="text",
            defaultProfile="text",
        ),
        "disagg-headers-handler": _one("other", "left out", _NO_STAGES, **_DISAGG),
        "prefill-header-handler": _one("other", "left out", _NO_STAGES, **_DISAGG),
        "always-disagg-pd-decider": _one("decider", "left out", _NO_STAGES),
        "always-disagg-multimodal-decider": _one("decider", "left out", _NO_STAGES),
        "prefix-based-pd-decider": _one(
            "decider", "left out", _NO_STAGES, nonCachedTokens="count", promptTokens="count"
        ),
        # filters
        "label-selector-filter": _one("filter", "mapped", _ROLE, matchLabels="map", matchExpressions="list"),
        "by-label-selector": _one("filter", "mapped", _ROLE, matchLabels="map", matchExpressions="list"),
        "by-label": _one("filter", "mapped", _ROLE, label="text", validValues="list", allowsNoLabel="flag"),
        "decode-filter": _one("filter", "mapped", _ROLE),
        "prefill-filter": _one("filter", "mapped", _ROLE),
        "encode-filter": _one("filter", "mapped", _ROLE),
        "prefix-cache-affinity-filter": _one(
            "filter",
            "built in",
            _PREDICTED,
            affinityThreshold="number",
            explorationProbability="number",
            maxTTFTPenaltyMs="number",
            ttftSource="text",
            peakPrefillThroughput="number",
            **_MATCH,
            **_PREDICTION,
            **_FLIGHT,
        ),
        "slo-headroom-tier-filter": _one(
            "filter", "left out", _LATENCY, epsilonExploreNeg="number", **_PREDICTION
        ),
        "session-affinity-filter": _one("filter", "built in", _SESSIONS, **_SESSION),
        "multicluster-session-affinity-filter": _one("filter", "refused", _CLUSTERS, **_SESSION),
        "endpoint-attribute-filter": _one(
            "filter",
            "left out",
            _ATTRIBUTE,
            attribute="text",
            producer="text",
            onMissing="text",
            fallbackOnEmpty="flag",
            algorithm="map",
        ),
        "utilization-filter": _one(
            "filter",
            "built in",
            "endpoints that have their fill are avoided while another one has room",
            conditions="list",
            fallbackOnEmpty="flag",
            **_FLIGHT,
        ),
        "topology-affinity-filter": _one(
            "filter",
            "left out",
            "there is no second endpoint to be near to",
            minAffinity="text",
            topologyProducerName="text",
        ),
        "header-based-testing-filter": _one("filter", "left out", "--conformance-headers does this"),
        # scorers
        "queue-scorer": _one("scorer", "mapped", _PREDICTED),
        "running-requests-size-scorer": _one("scorer", "mapped", _PREDICTED),
        "kv-cache-utilization-scorer": _one("scorer", "mapped", _PREDICTED),
        "prefix-cache-scorer": _one(
            "scorer",
            "mapped",
            _PREDICTED,
            matchLengthWeight="number",
            matchLengthScaleTokens="count",
            **_MATCH,
            **_APPROXIMATE,
        ),
        "precise-prefix-cache-scorer": _one("scorer", "left out", _NO_EVENTS, **_KV),
        "load-aware-scorer": _one("scorer", "mapped", _PREDICTED, threshold="count"),
        "active-request-scorer": _one(
            "scorer",
            "mapped",
            _PREDICTED,
            idleThreshold="count",
            maxBusyScore="number",
            requestTimeout="duration",
            **_FLIGHT,
        ),
        "token-load-scorer": _one("scorer", "mapped", _PREDICTED, queueThresholdTokens="count", **_FLIGHT),
        "lora-affinity-scorer": _one("scorer", "mapped", "the time to load an adapter is added"),
        "session-affinity-scorer": _one("scorer", "built in", _SESSIONS, **_SESSION),
        "header-label-affinity-scorer": _one(
            "scorer", "left out", "no header prefers an endpoint", headerName="text", labelKey="text"
        ),
        "endpoint-attribute-scorer": _one(
            "scorer", "left out", _ATTRIBUTE, attributeKey="text", producer="text", algorithm="map"
        ),
        "context-length-aware": _one(
            "scorer",
            "left out",
            "endpoints are not told apart by the length of prompts",
            label="text",
            enableFiltering="flag",
        ),
        "no-hit-lru-scorer": _one(
            "scorer",
            "built in",
            "of equals the one goes first that was given a cold prompt least recently",
            lruSize="count",
            **_MATCH,
        ),
        "mm-embeddings-cache-scorer": _one(
            "scorer", "left out", "caches of images and sounds are not followed", producerName="text"
        ),
        "latency-scorer": _one(
            "scorer",
            "built in",
            _LATENCY,
            ttftWeight="number",
            tpotWeight="number",
            headroomSelectionStrategy="text",
            compositeKVWeight="number",
            compositeQueueWeight="number",
            compositePrefixWeight="number",
            **_PREDICTION,
            **_MATCH,
        ),
        "topology-affinity-scorer": _one(
            "scorer", "left out", "there is no second endpoint to be near to", topologyProducerName="text"
        ),
        "multicluster-queue-scorer": _one("scorer", "refused", _CLUSTERS),
        "multicluster-kv-cache-utilization-scorer": _one("scorer", "refused", _CLUSTERS),
        "multicluster-prefix-cache-scorer": _one("scorer", "refused", _CLUSTERS, **_MATCH),
        # pickers
        "max-score-picker": _one("picker", "mapped", "the endpoint of the lowest cost is chosen", **_PICK),
        "random-picker": _one("picker", "mapped", "the policy is `random`", **_PICK),
        "weighted-random-picker": _one(
            "picker", "built in", "the endpoint of the lowest cost is chosen; equals by the dice", **_PICK
        ),
        # flow control
        "utilization-detector": _one(
            "detector",
            "mapped",
            "an endpoint has its fill at these thresholds",
            queueDepthThreshold="count",
            kvCacheUtilThreshold="number",
            **_STALE,
        ),
        "concurrency-detector": _one(
            "detector",
            "mapped",
            "an endpoint has its fill with so many requests",
            maxConcurrency="count",
            concurrencyMode="text",
            maxTokenConcurrency="count",
            headroom="number",
            **_FLIGHT,
        ),
        "round-robin-fairness-policy": _one("fairness", "mapped", "fairness ids take turns"),
        "global-strict-fairness-policy": _one(
            "fairness", "built in", "fairness ids share by tokens, so that none of them starves the others"
        ),
        "program-aware-fairness": _one(
            "fairness",
            "built in",
            "fairness ids share by tokens used",
            strategy="text",
            lasWeightService="number",
            lasWeightHeadWait="number",
            lasHalfLifeSeconds="number",
            evictionTtlSeconds="number",
            evictionSweepSeconds="number",
        ),
        "fcfs-ordering-policy": _one("ordering", "mapped", "who came first goes first"),
        "edf-ordering-policy": _one("ordering", "mapped", "the earliest deadline goes first"),
        "slo-deadline-ordering-policy": _one("ordering", "mapped", "the earliest deadline goes first"),
        "static-usage-limit-policy": _one("limit", "mapped", _HELD_BACK, threshold="number"),
        "priority-holdback-policy": _one(
            "limit",
            "mapped",
            _HELD_BACK,
            minCeiling="number",
            maxCeiling="number",
            shape="text",
            domain="text",
        ),
        "soft-reflective-ceiling-policy": _one("limit", "mapped", _HELD_BACK),
        # parsers
        "openai-parser": _one("parser", "built in", _PARSED),
        "anthropic-parser": _one("parser", "built in", _PARSED),
        "vllmhttp-parser": _one("parser", "built in", _PARSED),
        "sglanghttp-parser": _one("parser", "built in", _PARSED),
        "vertexai-parser": _one("parser", "left out", "messages of gRPC pass unread"),
        "vllmgrpc-parser": _one("parser", "left out", "messages of gRPC pass unread"),
        "passthrough-parser": _one("parser", "built in", "what is not known passes unread"),
        # data
        "token-producer": _one(
            "data", "built in", "tokens are estimated from the text and learned from answers", **_TOKENIZER
        ),
        "tokenizer": _one(
            "data", "built in", "tokens are estimated from the text and learned from answers", **_TOKENIZER
        ),
        "approx-prefix-cache-producer": _one("data", "built in", _PREFIX, **_APPROXIMATE),
        "precise-prefix-cache-producer": _one("data", "left out", _NO_EVENTS, **_KV),
        "burst-prefix-cache-producer": _one(
            "data", "left out", "requests are not gathered; each follows its prefix by itself",
            windowDurationMs="count", maxPerReplica="number", blockSizeTokens="count",
            maxPrefixTokensToMatch="count", minColocateBlocks="count",
            maxBatchSize="number", balanceBy="text",
        ),
        "multicluster-approx-prefix-cache-producer": _one("data", "refused", _CLUSTERS, **_APPROXIMATE),
        "inflight-load-producer": _one(
            "data", "built in", "requests and tokens in flight are booked at the choice",
            addEstimatedOutputTokens="flag", outputRatio="number", maxEstimatedOutputTokens="count",
            syncCrossReplicaState="flag", **_MATCH,
        ),
        "predicted-latency-producer": Plugin("data", "left out", _LATENCY, MappingProxyType({"*": "any"})),
        "mm-embeddings-cache-producer": _one(
            "data", "left out", "caches of images and sounds are not followed", cacheSizeInMBPerServer="count"
        ),
        "session-id-producer": _one("data", "built in", _SESSIONS, headerName="text", cookieName="text"),
        "p2p-source-producer": _one(
            "data", "left out", "no cache is named to be copied from",
            minCachedTokenDelta="count", prefillProfileName="text", **_MATCH,
        ),
        "metrics-data-source": _one("data", "mapped", "endpoints are scraped at this interval", **_SOURCE),
        "models-data-source": _one("data", "built in", "models are asked of every endpoint", **_SOURCE),
        "dcgm-data-source": _one("data", "left out", _ATTRIBUTE, useNodeAddress="flag", **_SOURCE),
        "k8s-notification-source": _one(
            "data", "built in", "objects are watched", group="text", version="text", kind="text"
        ),
        "endpoint-notification-source": _one("data", "built in", "endpoints are watched"),
        "multicluster-metrics-data-source": _one("data", "refused", _CLUSTERS, **_SOURCE),
        "core-metrics-extractor": _one(
            "data", "built in", "each engine is known by its metrics",
            engineLabelKey="text", defaultEngine="text", engineConfigs="list",
        ),
        "models-data-extractor": _one("data", "built in", "models are asked of every endpoint"),
        "dcgm-extractor": _one("data", "left out", _ATTRIBUTE),
        "topology-extractor": _one(
            "data", "left out", "there is no second endpoint to be near to",
            hostname="text", rack="text", zone="text", region="text",
        ),
        "multicluster-metrics-extractor": _one("data", "refused", _CLUSTERS),
        "file-discovery": _one(
            "data", "refused", "name the endpoints by --endpoints, or as ModelServers in a file with -f",
            path="text", watchFile="flag",
        ),
        "multicluster-file-discovery": _one("data", "refused", _CLUSTERS, path="text", watchFile="flag"),
        # around requests
        "latency-slo-admitter": _one(
            "other", "left out", "requests of negative priority wait, or are refused, while all are full",
            **_PREDICTION,
        ),
        "probabilistic-admitter": _one(
            "other", "left out", "requests of negative priority wait, or are refused, while all are full",
            queueDepthThreshold="number", kvCacheUtilThreshold="number", power="number", k="number",
        ),
        "agent-identity": _one(
            "other", "left out", "a fairness id is taken from its own header only",
            additionalSessionHeaders="list",
        ),
        "request-attribute-reporter": _one(
            "other", "left out", "usage is counted in metrics, not told to the gateway", attributes="list"
        ),
        "disaggregatedset-rollout-screener": _one(
            "other", "refused", "revisions are not kept apart; make a pool for each of them, with weights",
            scope="map", headerSelectors="list", revisionGating="map",
        ),
        "destination-endpoint-served-verifier": _one("other", "left out", "--conformance-headers does this"),
    }
)  # fmt: skip
"""By type."""
