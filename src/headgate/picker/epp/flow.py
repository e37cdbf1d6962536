"""`flowControl` of an EndpointPickerConfig → rules and bounds of ours."""

from collections.abc import Mapping
from typing import Any, Literal

import msgspec

from headgate.model.flow_rules import FlowRules
from headgate.model.objects.flow import BandSpec, DetectorSpec
from headgate.picker.epp import limits
from headgate.picker.epp.fields import Fields, Path, short
from headgate.picker.epp.plugins import Kind

NEVER_S = 3600.0
"""A time to live of 0 means no end there; nothing waits for longer than this here."""
USUAL_TTL_S = 60.0
MOST_BANDS = 64
_DETECTORS = ("utilization-detector", "concurrency-detector")

Plugins = Mapping[str, tuple[str, Mapping[str, Any]]]
"""Name → type and parameters."""

_SECTION: Mapping[str, Kind] = {
    "maxBytes": "any",
    "maxRequests": "any",
    "defaultRequestTTL": "duration",
    "noEndpointRequestTTL": "duration",
    "defaultPriorityBand": "map",
    "defaultNegativePriorityBand": "map",
    "priorityBands": "list",
    "usageLimitPolicyPluginRef": "text",
    "saturationDetector": "map",
    "enableEviction": "flag",
}
_BAND: Mapping[str, Kind] = {
    "maxBytes": "any",
    "maxRequests": "any",
    "fairnessPolicyRef": "text",
    "orderingPolicyRef": "text",
}


class Flow(msgspec.Struct, frozen=True, kw_only=True):
    """How requests wait; None: nothing is said."""

    rules: FlowRules | None = None
    ttl_s: float | None = None
    hold_empty_s: float | None = None
    """For a pool without endpoints to get one."""
    most_requests: int | None = None
    most_bytes: int | None = None


def flow_of(
    fields: Fields, plugins: Plugins, section: object, old_detector: object, gate: bool | None
) -> Flow:
    """What the section says; it counts when the gate is on, but for the detector, which always does."""
    found = fields.known(section, ("flowControl",), _SECTION, "flowControl")
    detector = _detector(fields, plugins, found.get("saturationDetector"), old_detector)
    if not gate:
        if set(found) - {"saturationDetector"}:
            message = "flowControl has no effect without the feature gate flowControl; add it to featureGates"
            fields.note(("flowControl",), "PluginLeftOut", message, "warning")
        return Flow(rules=None if detector is None else FlowRules("", detector=detector))
    ttl_s = _ttl(fields, found, "defaultRequestTTL")
    hold_s = _ttl(fields, found, "noEndpointRequestTTL")
    if found.get("enableEviction"):
        message = "enableEviction has no effect; evict of a band in a FlowPolicy ends running requests"
        fields.note(("flowControl", "enableEviction"), "PluginLeftOut", message, "warning")
    if "defaultNegativePriorityBand" in found:
        message = "defaultNegativePriorityBand has no effect; name the priorities in priorityBands"
        fields.note(("flowControl", "defaultNegativePriorityBand"), "PluginLeftOut", message, "warning")
    bands = _bands(fields, plugins, found.get("priorityBands", []))
    path = ("flowControl", "defaultPriorityBand")
    others = _band(fields, plugins, found.get("defaultPriorityBand"), path, _BAND)
    if (name := found.get("usageLimitPolicyPluginRef")) is not None:
        kind, parameters = plugins.get(name, (short(name), {}))
        path = ("flowControl", "usageLimitPolicyPluginRef")
        bands, others = limits.limited(fields, kind, parameters, path, (bands, others))
    rules = FlowRules("", detector=detector or DetectorSpec(), bands=bands, other_bands=others)
    ttl_s = USUAL_TTL_S if ttl_s is None else ttl_s
    return Flow(
        rules=rules,
        ttl_s=ttl_s,
        hold_empty_s=ttl_s if hold_s is None else hold_s,
        most_requests=_amount(fields, found, "maxRequests", ("flowControl",)),
        most_bytes=_amount(fields, found, "maxBytes", ("flowControl",)),
    )


def _ttl(fields: Fields, found: Mapping[str, Any], name: str) -> float | None:
    if name not in found:
        return None
    said = fields.seconds(found[name], ("flowControl", name))
    return NEVER_S if said == 0 else said


def _amount(fields: Fields, found: Mapping[str, Any], name: str, path: Path) -> int | None:
    """0 and nothing both leave our own bound."""
    if name not in found:
        return None
    said = fields.amount(found[name], (*path, name))
    if said is not None and said < 0:
        fields.note((*path, name), "InvalidValue", f"{name} is 0 or more")
    return said if said and said > 0 else None


def _type(plugins: Plugins, name: object) -> str:
    """Type of the plugin of that name; types may be named without being listed."""
    if name in plugins:
        return plugins[str(name)][0]
    return short(str(name))


def _bands(fields: Fields, plugins: Plugins, raw: list[Any]) -> Mapping[int, BandSpec]:
    bands: dict[int, BandSpec] = {}
    if len(raw) > MOST_BANDS:
        fields.note(("flowControl", "priorityBands"), "TooLarge", f"more than {MOST_BANDS} bands")
    for number, each in enumerate(raw[:MOST_BANDS]):
        path: Path = ("flowControl", "priorityBands", number)
        kinds: Mapping[str, Kind] = {"priority": "number", "priorityName": "text", **_BAND}
        priority = each.get("priority") if isinstance(each, Mapping) else None
        band = _band(fields, plugins, each, path, kinds)
        if isinstance(priority, bool) or not isinstance(priority, int) or priority in bands:
            message = "a band needs a priority, a whole number that no other band has"
            fields.note((*path, "priority"), "InvalidValue", message)
        else:
            bands[priority] = band
    return bands


def _band(fields: Fields, plugins: Plugins, raw: object, path: Path, kinds: Mapping[str, Kind]) -> BandSpec:
    found = fields.known(raw, path, kinds, "a priority band")
    band = BandSpec()
    fairness: Literal["WeightedTokens", "RoundRobin"] = "WeightedTokens"
    ordering: Literal["FirstCome", "EarliestDeadline"] = "FirstCome"
    if (name := found.get("fairnessPolicyRef")) is not None:
        match _type(plugins, name):
            case "round-robin-fairness-policy":
                fairness = "RoundRobin"
            case "global-strict-fairness-policy" | "program-aware-fairness":
                pass
            case other:
                fields.note((*path, "fairnessPolicyRef"), "UnknownPlugin", f"{other} is no fairness policy")
    if (name := found.get("orderingPolicyRef")) is not None:
        match _type(plugins, name):
            case "edf-ordering-policy" | "slo-deadline-ordering-policy":
                ordering = "EarliestDeadline"
            case "fcfs-ordering-policy":
                pass
            case other:
                fields.note((*path, "orderingPolicyRef"), "UnknownPlugin", f"{other} is no ordering policy")
    return BandSpec(
        fairness=fairness,
        ordering=ordering,
        max_queued=_amount(fields, found, "maxRequests", path) or band.max_queued,
        max_queued_bytes=_amount(fields, found, "maxBytes", path) or band.max_queued_bytes,
    )


def _detector(fields: Fields, plugins: Plugins, raw: object, old: object) -> DetectorSpec | None:
    """None: none is named, and fill is learned."""
    path: Path = ("flowControl", "saturationDetector") if raw is not None else ("saturationDetector",)
    said = fields.known(raw if raw is not None else old, path, {"pluginRef": "text"}, "saturationDetector")
    if (name := said.get("pluginRef")) is None:
        return None
    kind = _type(plugins, name)
    parameters = plugins[name][1] if name in plugins else {}
    if kind not in _DETECTORS:
        message = f"{kind} is no saturation detector; there are {', '.join(_DETECTORS)}"
        fields.note((*path, "pluginRef"), "UnknownPlugin", message)
        return None
    if kind == "utilization-detector":
        kv = float(parameters.get("kvCacheUtilThreshold", 0.8))
        if not 0 < kv <= 1:
            fields.note(path, "InvalidValue", "kvCacheUtilThreshold is above 0 and up to 1")
            kv = 0.8
        return DetectorSpec(
            type="Utilization", queue_depth=max(1, parameters.get("queueDepthThreshold", 5)), kv_cache=kv
        )
    if (mode := parameters.get("concurrencyMode", "requests")) != "requests":
        message = f"concurrencyMode {short(mode)} has no effect: requests are counted, not tokens"
        fields.note(path, "PluginLeftOut", message, "warning")
    return DetectorSpec(type="Concurrency", max_concurrency=max(1, parameters.get("maxConcurrency", 100)))
