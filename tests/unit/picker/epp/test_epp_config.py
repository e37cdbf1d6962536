"""Configurations of other endpoint pickers, as they are shipped and as they are mistyped."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import pytest
from msgspec.structs import replace

from headgate.flow.settings import FlowSettings
from headgate.model.endpoints import Endpoint, Pool
from headgate.model.flow_rules import FlowRules
from headgate.model.ids import EndpointId, PoolKey
from headgate.model.objects.flow import DetectorSpec
from headgate.picker.epp.config import VERSIONS, Adopted, adopt
from headgate.picker.epp.plugins import PLUGINS
from headgate.picker.settings import MachineSettings
from headgate.scheduling.filters.healthy import Healthy
from headgate.scheduling.filters.keeps_answer import KeepsAnswer
from headgate.scheduling.filters.model_listed import ModelListed
from headgate.scheduling.profiles import PROFILES

NO_WEIGHTS: Mapping[str, float] = MappingProxyType({})


def config(*plugins: Any, **more: Any) -> dict[str, Any]:
    named = [{"type": each} if isinstance(each, str) else each for each in plugins]
    return {"apiVersion": VERSIONS[0], "kind": "EndpointPickerConfig", "plugins": named, **more}


def profile(*names: str, name: str = "default", weights: Mapping[str, float] = NO_WEIGHTS) -> dict[str, Any]:
    return {
        "name": name,
        "plugins": [
            {"pluginRef": each, **({"weight": weights[each]} if each in weights else {})} for each in names
        ],
    }


def read(raw: object) -> Adopted:
    return adopt(raw, "epp.yaml", lambda path: len(path))


def said(found: Adopted, severity: str) -> list[str]:
    return [f"{each.place.field}: {each.message}" for each in found.problems if each.severity == severity]


def errors(raw: object) -> list[str]:
    return said(read(raw), "error")


def test_the_usual_blend_is_the_default_policy() -> None:
    found = read(
        config(
            "queue-scorer",
            "kv-cache-utilization-scorer",
            "prefix-cache-scorer",
            "max-score-picker",
            schedulingProfiles=[
                profile(
                    "queue-scorer",
                    "kv-cache-utilization-scorer",
                    "prefix-cache-scorer",
                    "max-score-picker",
                    weights={"queue-scorer": 2, "kv-cache-utilization-scorer": 2, "prefix-cache-scorer": 3},
                )
            ],
        )
    )
    assert found.usable and found.policy is None and found.flow.rules is None
    assert said(found, "warning") == []
    notes = "\n".join(said(found, "note"))
    assert all(each in notes for each in ("queue-scorer", "prefix-cache-scorer", "weights of scorers"))
    given = MachineSettings(flow=FlowSettings())
    assert found.settings(given) == given


@pytest.mark.parametrize(
    ("members", "policy"),
    [
        (("random-picker",), "random"),
        (("active-request-scorer", "max-score-picker"), "least-requests"),
        (("running-requests-size-scorer",), "least-requests"),
        (("active-request-scorer", "prefix-cache-scorer"), None),
        (("max-score-picker",), None),
    ],
)
def test_a_profile_that_only_counts_or_draws_is_a_policy_of_ours(
    members: tuple[str, ...], policy: str | None
) -> None:
    assert read(config(*members, schedulingProfiles=[profile(*members)])).policy == policy
    assert read(config(*members)).policy == policy, "no profile: one of all plugins"
    assert policy is None or policy in PROFILES


def test_a_scorer_of_weight_0_does_not_count() -> None:
    both = ("active-request-scorer", "prefix-cache-scorer")
    found = read(config(*both, schedulingProfiles=[profile(*both, weights={"prefix-cache-scorer": 0})]))
    assert found.policy == "least-requests"


def pool(*labels: dict[str, str], flow: FlowRules | None = None) -> Pool:
    made = [
        Endpoint(id=EndpointId(f"10.0.0.{each}:80"), ip=f"10.0.0.{each}", port=80, name="x", labels=of)
        for each, of in enumerate(labels)
    ]
    return Pool(key=PoolKey("default/p"), endpoints=tuple(made), flow=flow)


def kept(found: Adopted, *labels: dict[str, str]) -> list[int]:
    left = found.applied_to(pool(*labels)).endpoints
    return [int(each.ip.rpartition(".")[2]) for each in left]


ROLES: tuple[dict[str, str], ...] = (
    {},
    {"llm-d.ai/role": "decode"},
    {"llm-d.ai/role": "prefill"},
    {"llm-d.ai/role": "both"},
)


def test_roles_keep_endpoints_out() -> None:
    assert kept(read(config("decode-filter")), *ROLES) == [0, 1, 3]
    assert kept(read(config("prefill-filter")), *ROLES) == [2, 3]
    assert kept(read(config("encode-filter")), *ROLES) == []


def test_with_stages_the_profile_that_decodes_counts() -> None:
    found = read(
        config(
            {"type": "disagg-profile-handler", "parameters": {"deciders": {"prefill": "pd"}}},
            {"name": "pd", "type": "prefix-based-pd-decider", "parameters": {"nonCachedTokens": 16}},
            "prefill-filter",
            "decode-filter",
            "prefix-cache-scorer",
            "max-score-picker",
            schedulingProfiles=[
                profile("prefill-filter", "prefix-cache-scorer", "max-score-picker", name="prefill"),
                profile("decode-filter", "prefix-cache-scorer", "max-score-picker", name="decode"),
            ],
        )
    )
    assert found.usable and kept(found, *ROLES) == [0, 1, 3]
    assert any("disagg-profile-handler is left out" in each for each in said(found, "warning"))


def test_selectors_are_those_of_kubernetes() -> None:
    expressions: list[dict[str, Any]] = [
        {"key": "tier", "operator": "In", "values": ["a", "b"]},
        {"key": "zone", "operator": "NotIn", "values": ["z"]},
        {"key": "ready", "operator": "Exists"},
        {"key": "old", "operator": "DoesNotExist"},
    ]
    found = read(
        config(
            {
                "type": "label-selector-filter",
                "parameters": {"matchLabels": {"app": "x"}, "matchExpressions": expressions},
            }
        )
    )
    fine = {"app": "x", "tier": "a", "ready": ""}
    assert kept(
        found, fine, {**fine, "zone": "z"}, {**fine, "old": ""}, {**fine, "tier": "c"}, {**fine, "zone": "y"}
    ) == [0, 4]
    expressions[2]["values"] = ["x"]
    raw = config({"type": "label-selector-filter", "parameters": {"matchExpressions": expressions}})
    assert len(errors(raw)) == 1


def test_by_label_may_allow_its_absence() -> None:
    parameters: dict[str, Any] = {"label": "gpu", "validValues": ["h100"]}
    for absent, expected in ((False, [0]), (True, [0, 2])):
        found = read(config({"type": "by-label", "parameters": {**parameters, "allowsNoLabel": absent}}))
        assert kept(found, {"gpu": "h100"}, {"gpu": "l4"}, {}) == expected


def test_flow_control_is_taken_over_with_its_gate() -> None:
    raw = config(
        {"type": "utilization-detector", "parameters": {"queueDepthThreshold": 3}},
        "round-robin-fairness-policy",
        featureGates=["flowControl"],
        flowControl={
            "maxRequests": "1k",
            "maxBytes": "1Gi",
            "defaultRequestTTL": "5s",
            "noEndpointRequestTTL": "90s",
            "saturationDetector": {"pluginRef": "utilization-detector"},
            "priorityBands": [
                {
                    "priority": 10,
                    "maxRequests": 7,
                    "fairnessPolicyRef": "round-robin-fairness-policy",
                    "orderingPolicyRef": "slo-deadline-ordering-policy",
                }
            ],
        },
    )
    found = read(raw)
    assert said(found, "error") == said(found, "warning") == []
    made = found.settings(MachineSettings())
    assert made.flow is not None and made.hold_empty_s == 90
    assert (made.flow.most_requests, made.flow.most_bytes) == (1000, 1 << 30)
    assert made.flow.other_bands.ttl_s == 5
    rules = found.applied_to(pool()).flow
    assert rules is not None and rules.detector == DetectorSpec(type="Utilization", queue_depth=3)
    band = rules.bands[10]
    assert (band.max_queued, band.fairness, band.ordering) == (7, "RoundRobin", "EarliestDeadline")
    policy = FlowRules("default/ours")
    assert found.applied_to(pool(flow=policy)).flow is policy, "a FlowPolicy goes before"

    raw["flowControl"]["enableEviction"] = True
    [warning] = said(read(raw), "warning")
    assert "evict of a band in a FlowPolicy" in warning

    raw["featureGates"] = []
    closed = read(raw)
    assert any("without the feature gate" in each for each in said(closed, "warning"))
    assert closed.settings(MachineSettings()) == MachineSettings()
    raw["featureGates"] = ["flowControl=false"]
    assert read(raw).settings(MachineSettings(flow=FlowSettings())).flow is None


def test_a_usage_limit_policy_gives_bands_their_ceilings() -> None:
    raw = config(
        {"name": "held", "type": "priority-holdback-policy", "parameters": {"minCeiling": 0.6}},
        featureGates=["flowControl"],
        flowControl={
            "usageLimitPolicyPluginRef": "held",
            "priorityBands": [{"priority": 10}, {"priority": -10}],
        },
    )
    found = read(raw)
    assert said(found, "error") == said(found, "warning") == []
    rules = found.applied_to(pool()).flow
    assert rules is not None and rules.other_bands.ceiling is None
    assert {priority: each.ceiling for priority, each in rules.bands.items()} == {10: 1.0, -10: 0.6}
    raw["flowControl"]["usageLimitPolicyPluginRef"] = "static-usage-limit-policy"
    assert not said(read(raw), "error"), "it need not be listed"
    raw["flowControl"]["usageLimitPolicyPluginRef"] = "nobody"
    assert "no usage-limit policy" in said(read(raw), "error")[0]


def test_whatever_is_adopted_kept_answers_stay_with_their_servers() -> None:
    """Every policy that a file can lead to has that step, and goes by health and models, too."""
    raws = (
        config("queue-scorer", "prefix-cache-scorer"),
        config("random-picker"),
        config("running-requests-size-scorer"),
        config(
            "session-affinity-scorer", "max-score-picker", schedulingProfiles=[profile("max-score-picker")]
        ),
    )
    for raw in raws:
        found = read(raw)
        assert found.usable
        filters = {type(each) for each in PROFILES[found.policy or "default"].filters}
        assert {KeepsAnswer, ModelListed, Healthy} <= filters
    assert all(KeepsAnswer() in each.filters for each in PROFILES.values())


def test_sessions_are_named_as_the_plugins_say_where_no_policy_does() -> None:
    by_id = {"strategy": "session_id", "sessionIdConfig": {"sources": [{"header": "X-A"}, {"header": "x-b"}]}}
    found = read(
        config(
            {"type": "session-id-producer", "parameters": {"cookieName": "sid"}},
            {"type": "session-affinity-scorer", "parameters": by_id},
        )
    )
    assert found.usable and not said(found, "warning")
    named = ("cookie:sid", "header:x-a", "header:x-b")
    rules = found.applied_to(pool()).flow
    assert rules is not None and rules.sessions == named
    other = FlowRules("d/p", priority=3)
    assert found.applied_to(pool(flow=other)).flow == replace(other, sessions=named)
    silent = FlowRules("d/p", sessions=())
    assert found.applied_to(pool(flow=silent)).flow == silent, "a FlowPolicy goes before"
    assert read(config("queue-scorer")).sessions is None


def test_what_waits_for_ever_there_waits_for_an_hour_here() -> None:
    found = read(config(featureGates=["flowControl"], flowControl={"defaultRequestTTL": "0s"}))
    assert found.flow.ttl_s == found.flow.hold_empty_s == 3600


def test_the_old_place_of_the_detector_is_read_without_the_gate() -> None:
    found = read(
        config(
            {"type": "concurrency-detector", "parameters": {"maxConcurrency": 8}},
            saturationDetector={"pluginRef": "concurrency-detector"},
        )
    )
    assert found.usable and found.flow.rules is not None
    assert found.flow.rules.detector == DetectorSpec(type="Concurrency", max_concurrency=8)


def test_scrapes_take_the_interval_of_the_metrics_source() -> None:
    found = read(
        config(
            {"type": "metrics-data-source", "parameters": {"interval": "200ms", "port": 9100}},
            "core-metrics-extractor",
            dataLayer={
                "sources": [
                    {
                        "pluginRef": "metrics-data-source",
                        "extractors": [{"pluginRef": "core-metrics-extractor"}],
                    }
                ]
            },
        )
    )
    assert found.scrape_interval_s == 0.2
    assert [each.partition(" ")[0] for each in said(found, "warning")] == ["plugins[0].parameters.port:"]


def test_both_groups_are_read() -> None:
    for version in VERSIONS:
        assert read({**config("queue-scorer"), "apiVersion": version}).usable
    assert errors({**config(), "apiVersion": "v1"})[0].startswith("apiVersion:")
    assert errors({**config(), "kind": "Config"})[0].startswith("kind:")


@pytest.mark.parametrize(
    ("raw", "where", "words"),
    [
        ("text", "", "must hold one EndpointPickerConfig"),
        (config("queue-scorrer"), "plugins[0].type", "did you mean queue-scorer?"),
        (config("my-scorer"), "plugins[0].type", "take it out of plugins"),
        (config({"name": "x"}), "plugins[0]", "needs a type"),
        (config("queue-scorer", "queue-scorer"), "plugins[1].name", "two plugins"),
        (
            config({"type": "queue-scorer", "paramters": {}}),
            "plugins[0].paramters",
            "did you mean parameters",
        ),
        (
            config({"type": "load-aware-scorer", "parameters": {"threshhold": 3}}),
            "plugins[0].parameters.threshhold",
            "plugin load-aware-scorer (load-aware-scorer) has no field threshhold; did you mean threshold?",
        ),
        (
            config({"type": "load-aware-scorer", "parameters": {"threshold": "much"}}),
            "plugins[0].parameters.threshold",
            "must be a whole number",
        ),
        (config("header-profile-handler"), "plugins[0].type", "make a pool with its own picker"),
        (config("file-discovery"), "plugins[0].type", "--endpoints"),
        (config(plugin=[]), "plugin", "did you mean plugins?"),
        (config(featureGates=["flow"]), "featureGates[0]", "is no feature gate"),
        (
            config("queue-scorer", schedulingProfiles=[profile("prefix")]),
            "schedulingProfiles[0].plugins[0].pluginRef",
            "no plugin is named prefix",
        ),
        (
            config("queue-scorer", schedulingProfiles=[profile(name="a"), profile(name="b")]),
            "schedulingProfiles",
            "there are 2 profiles",
        ),
        (
            config(
                "queue-scorer", schedulingProfiles=[profile("queue-scorer", weights={"queue-scorer": -1})]
            ),
            "schedulingProfiles[0].plugins[0].weight",
            "0 or more",
        ),
        (
            config(featureGates=["flowControl"], flowControl={"maxBytes": "lots"}),
            "flowControl.maxBytes",
            "is no amount",
        ),
        (
            config(featureGates=["flowControl"], flowControl={"priorityBands": [{"maxRequests": 1}]}),
            "flowControl.priorityBands[0].priority",
            "needs a priority",
        ),
        (
            config("queue-scorer", saturationDetector={"pluginRef": "queue-scorer"}),
            "saturationDetector.pluginRef",
            "is no saturation detector",
        ),
    ],
)
def test_mistakes_are_named_with_their_place(raw: object, where: str, words: str) -> None:
    (found,) = errors(raw)
    assert found.startswith(f"{where}: ") and words in found
    (problem,) = [each for each in read(raw).problems if each.severity == "error"]
    assert problem.place.file == "epp.yaml"


def test_what_other_plugins_do_is_said_and_their_unknown_parameters_cost_nothing() -> None:
    found = read(config({"type": "approx-prefix-cache-producer", "parameters": {"newOne": 1}}))
    assert found.usable
    assert [each.place.field for each in found.problems] == [
        "plugins[0].parameters.newOne",
        "plugins[0].type",
    ]


def test_every_plugin_is_followed_or_named() -> None:
    for kind, plugin in PLUGINS.items():
        found = read(config({"name": "it", "type": kind}))
        told = [each for each in found.problems if f"it ({kind})" in each.message]
        if plugin.treatment == "mapped" and plugin.role != "scorer":
            assert not told, kind
        else:
            assert len(told) == 1, kind
        assert found.usable == (plugin.treatment != "refused" and kind != "by-label"), kind


def test_a_hostile_file_is_bounded() -> None:
    many = config(*({"name": str(each), "type": "x" * 10_000} for each in range(10_000)))
    found = read(many)
    assert not found.usable and len(found.problems) <= 300
    assert all(len(str(each)) < 1000 for each in found.problems)
