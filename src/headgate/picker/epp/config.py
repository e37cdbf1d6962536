"""EndpointPickerConfig → what this picker does with it, and every word of it that it does not follow."""

from collections.abc import Mapping
from typing import Any

import msgspec

from headgate.flow.settings import FlowSettings
from headgate.model.endpoints import Pool
from headgate.model.flow_rules import FlowRules
from headgate.model.problems import Place, Problem
from headgate.picker.epp import sessions
from headgate.picker.epp.fields import Fields, LineOf, Path, nearest, short
from headgate.picker.epp.flow import Flow, flow_of
from headgate.picker.epp.labels import DECODES, ENCODES, PREFILLS, ROLE, Requirement
from headgate.picker.epp.plugins import PLUGINS, Kind, Plugin
from headgate.picker.settings import MachineSettings

KIND = "EndpointPickerConfig"
VERSIONS = ("llm-d.ai/v1alpha1", "inference.networking.x-k8s.io/v1alpha1")
"""Today's, and that of the Inference Extension before it moved."""
MOST_PLUGINS = 500
GATES = ("flowControl", "haPopulateNonLeaderDatastore")
COUNTS_REQUESTS = frozenset({"active-request-scorer", "running-requests-size-scorer"})

_TOP: Mapping[str, Kind] = {
    "apiVersion": "text",
    "kind": "text",
    "metadata": "any",
    "featureGates": "list",
    "plugins": "list",
    "schedulingProfiles": "list",
    "requestHandler": "map",
    "dataLayer": "map",
    "data": "map",
    "flowControl": "map",
    "saturationDetector": "map",
    "parser": "map",
}
_DATA: Mapping[str, Kind] = {
    "injectDefaults": "flag",
    "sources": "list",
    "discovery": "map",
    "peerDiscovery": "map",
    "crossReplicaSyncerPluginRef": "text",
    "crossReplicaSyncInterval": "duration",
}
_REF: Mapping[str, Kind] = {"pluginRef": "text"}


class Adopted(msgspec.Struct, frozen=True, kw_only=True):
    """What a configuration asks for, in our words; None: it says nothing about that."""

    policy: str | None = None
    required: tuple[Requirement, ...] = ()
    """Of the labels of endpoints that may serve."""
    flow_control: bool | None = None
    flow: Flow = Flow()
    sessions: tuple[str, ...] | None = None
    """What names a session, as `FlowRules.sessions`."""
    scrape_interval_s: float | None = None
    problems: tuple[Problem, ...] = ()
    """Errors: it cannot be followed, and nothing else counts. Warnings: what is not done. Notes: what is done
    otherwise."""

    @property
    def usable(self) -> bool:
        """Whether there is no error."""
        return all(each.severity != "error" for each in self.problems)

    def applied_to(self, pool: Pool) -> Pool:
        """*pool* as it is served: endpoints without the labels are left out, and the flow rules count where
        no FlowPolicy says anything."""
        if not self.required and self.flow.rules is None and self.sessions is None:
            return pool
        endpoints = pool.endpoints
        if self.required:
            endpoints = tuple(
                each for each in endpoints if all(one.met_by(each.labels) for one in self.required)
            )
        rules = self.flow.rules if pool.flow is None else pool.flow
        if self.sessions is not None and (rules is None or rules.sessions is None):
            rules = msgspec.structs.replace(rules or FlowRules(""), sessions=self.sessions)
        return msgspec.structs.replace(pool, endpoints=endpoints, flow=rules)

    def settings(self, given: MachineSettings) -> MachineSettings:
        """The settings with what it says of waiting; what it does not say stays as *given*."""
        flow, said = given.flow, self.flow
        if self.flow_control is False:
            return msgspec.structs.replace(given, flow=None)
        if self.flow_control and flow is None:
            flow = FlowSettings()
        if flow is None:
            return given
        bands = flow.other_bands
        if said.ttl_s is not None:
            bands = msgspec.structs.replace(bands, ttl_s=said.ttl_s)
        flow = msgspec.structs.replace(
            flow,
            other_bands=bands,
            most_requests=said.most_requests or flow.most_requests,
            most_bytes=said.most_bytes or flow.most_bytes,
        )
        hold_s = given.hold_empty_s if said.hold_empty_s is None else said.hold_empty_s
        return msgspec.structs.replace(given, flow=flow, hold_empty_s=hold_s)


NOTHING = Adopted()
"""Of a picker without such a configuration."""


class Named(msgspec.Struct, frozen=True):
    """One entry of `plugins`."""

    type: str
    known: Plugin
    parameters: Mapping[str, Any]
    path: Path


def adopt(raw: object, file: str, line_of: LineOf) -> Adopted:
    """What a document (plain data of YAML or JSON) asks for. *file* is named in problems."""
    fields = Fields(file, KIND, line_of)
    if not isinstance(raw, Mapping):
        problem = Problem(Place(file, 1, KIND), "InvalidValue", f"the file must hold one {KIND}")
        return Adopted(problems=(problem,))
    found = fields.known(raw, (), _TOP, KIND)
    _check_version(fields, found)
    plugins = _plugins(fields, found.get("plugins", []))
    gates = _gates(fields, found.get("featureGates", []))
    _tell_plugins(fields, plugins)
    profile = _profile(fields, found.get("schedulingProfiles"), plugins)
    _check_data(fields, found.get("dataLayer", found.get("data")), plugins)
    _check_parsers(fields, found, plugins)
    flow = flow_of(
        fields,
        {name: (each.type, each.parameters) for name, each in plugins.items()},
        found.get("flowControl"),
        found.get("saturationDetector"),
        gates.get("flowControl"),
    )
    return Adopted(
        policy=_policy(profile),
        required=tuple(one for each in profile for one in _required(fields, each)),
        flow_control=gates.get("flowControl"),
        flow=flow,
        sessions=_sessions(fields, plugins),
        scrape_interval_s=_interval(fields, plugins),
        problems=tuple(fields.problems),
    )


def _sessions(fields: Fields, plugins: Mapping[str, Named]) -> tuple[str, ...] | None:
    """Whatever their plugins know sessions by, in order; None: they know none."""
    found = [
        sessions.sources_of(fields, each.type, each.parameters, (*each.path, "parameters"))
        for each in plugins.values()
    ]
    return tuple(dict.fromkeys(source for each in found for source in each)) or None


def _check_version(fields: Fields, found: Mapping[str, Any]) -> None:
    version, kind = found.get("apiVersion"), found.get("kind")
    if kind != KIND:
        fields.note(("kind",), "UnknownKind", f"kind must be {KIND}")
    if version not in VERSIONS:
        fields.note(("apiVersion",), "UnknownKind", f"apiVersion must be {VERSIONS[0]}, or {VERSIONS[1]}")


def _gates(fields: Fields, raw: list[Any]) -> dict[str, bool]:
    gates: dict[str, bool] = {}
    for number, each in enumerate(raw):
        name, sign, value = str(each).partition("=")
        if name not in GATES or (sign and value not in ("true", "false")):
            message = (
                f"{short(str(each))} is no feature gate; there are {', '.join(GATES)}, or NAME=true|false"
            )
            fields.note(("featureGates", number), "InvalidValue", message)
        else:
            gates[name] = value != "false"
    return gates


def _plugins(fields: Fields, raw: list[Any]) -> dict[str, Named]:
    plugins: dict[str, Named] = {}
    if len(raw) > MOST_PLUGINS:
        fields.note(("plugins",), "TooLarge", f"there are more than {MOST_PLUGINS} plugins")
    for number, entry in enumerate(raw[:MOST_PLUGINS]):
        path: Path = ("plugins", number)
        found = fields.known(entry, path, {"name": "text", "type": "text", "parameters": "map"}, "a plugin")
        kind = found.get("type", "")
        name = found.get("name") or kind
        if not kind:
            fields.note(path, "InvalidValue", "a plugin needs a type")
            continue
        if name in plugins:
            fields.note((*path, "name"), "InvalidValue", f"two plugins are named {short(name)}; names differ")
            continue
        known = PLUGINS.get(kind)
        if known is None:
            near = nearest(kind, PLUGINS)
            hint = f"did you mean {near}? " if near else ""
            message = (
                f"no plugin of type {short(kind)} is known; {hint}"
                "plugins of your own are not run here: take it out of plugins and of the profiles"
            )
            fields.note((*path, "type"), "UnknownPlugin", message)
            continue
        parameters = fields.known(
            found.get("parameters"),
            (*path, "parameters"),
            known.parameters,
            f"plugin {short(name)} ({kind})",
            "error" if known.treatment == "mapped" else "warning",
        )
        plugins[name] = Named(kind, known, parameters, path)
    return plugins


def _tell_plugins(fields: Fields, plugins: Mapping[str, Named]) -> None:
    for name, each in plugins.items():
        called = f"plugin {short(name)} ({each.type})" if name != each.type else f"plugin {name}"
        match each.known.treatment:
            case "refused":
                message = (
                    f"{called} cannot be followed, and serving without it would be wrong: {each.known.here}"
                )
                fields.note((*each.path, "type"), "PluginRefused", message)
            case "left out":
                message = f"{called} is left out: {each.known.here}"
                fields.note((*each.path, "type"), "PluginLeftOut", message, "warning")
            case "built in":
                message = f"{called} is built in otherwise: {each.known.here}"
                fields.note((*each.path, "type"), "PluginBuiltIn", message, "note")
            case "mapped" if each.known.role == "scorer":
                message = f"{called} is followed by prediction, not by its own score: {each.known.here}"
                fields.note((*each.path, "type"), "PluginBuiltIn", message, "note")
        if each.known.role == "picker" and each.parameters.get("maxNumOfEndpoints", 1) > 1:
            message = (
                f"maxNumOfEndpoints of {called} has no effect: a list is answered to gateways that ask "
                "for one with the gRPC initial metadata x-headgate-fallbacks: 1"
            )
            fields.note((*each.path, "parameters", "maxNumOfEndpoints"), "PluginLeftOut", message, "warning")


def _refer(fields: Fields, name: object, path: Path, plugins: Mapping[str, Named]) -> Named | None:
    """The plugin of that name; None, and a note, without."""
    found = plugins.get(name) if isinstance(name, str) else None
    if found is None:
        message = (
            f"no plugin is named {short(str(name))}; a plugin's name is its name in plugins, or else its type"
        )
        fields.note(path, "UnknownPlugin", message)
    return found


def _profile(fields: Fields, raw: list[Any] | None, plugins: Mapping[str, Named]) -> tuple[Named, ...]:
    """The filters, scorers and pickers that count: those of the one profile that chooses who decodes."""
    profiles: dict[str, tuple[Named, ...]] = {}
    weighted = False
    for number, entry in enumerate(raw or ()):
        path: Path = ("schedulingProfiles", number)
        found = fields.known(entry, path, {"name": "text", "plugins": "list"}, "a profile")
        members: list[Named] = []
        for place, each in enumerate(found.get("plugins", [])[:MOST_PLUGINS]):
            at: Path = (*path, "plugins", place)
            said = fields.known(each, at, {"pluginRef": "text", "weight": "number"}, "a plugin of a profile")
            member = _refer(fields, said.get("pluginRef"), (*at, "pluginRef"), plugins)
            weight = said.get("weight", 1.0)
            if weight < 0:
                fields.note((*at, "weight"), "InvalidValue", "a weight is 0 or more")
            if member is None or (member.known.role == "scorer" and weight == 0):
                continue
            weighted = weighted or (member.known.role == "scorer" and weight != 1.0)
            members.append(member)
        profiles[found.get("name", "default")] = tuple(members)
    if weighted:
        fields.note(
            ("schedulingProfiles",),
            "PluginBuiltIn",
            "weights of scorers have no effect, but for 0, which takes the scorer out: what is added here "
            "are predicted seconds, which need no weights",
            "note",
        )
    if not profiles:
        return tuple(plugins.values())
    handlers = [each for each in plugins.values() if each.known.role == "handler"]
    if len(handlers) > 1:
        fields.note((*handlers[1].path, "type"), "InvalidValue", "there is more than one profile handler")
    if len(profiles) == 1:
        return next(iter(profiles.values()))
    handler = handlers[0] if handlers else None
    decode = "decode"
    if handler is not None:
        named = handler.parameters.get("profiles")
        inner = named.get("decode") if isinstance(named, Mapping) else None
        decode = str(inner or handler.parameters.get("decodeProfile") or decode)
    if handler is None or handler.type == "single-profile-handler" or decode not in profiles:
        message = (
            f"there are {len(profiles)} profiles, and nothing says which of them chooses: keep one, "
            f"or name a disagg-profile-handler and a profile {short(decode)}"
        )
        fields.note(("schedulingProfiles",), "InvalidValue", message)
        return ()
    return profiles[decode]


def _policy(profile: tuple[Named, ...]) -> str | None:
    scorers = {each.type for each in profile if each.known.role == "scorer"}
    pickers = [each.type for each in profile if each.known.role == "picker"]
    if pickers == ["random-picker"]:
        return "random"
    if scorers and scorers <= COUNTS_REQUESTS:
        return "least-requests"
    return None


def _required(fields: Fields, plugin: Named) -> list[Requirement]:
    match plugin.type:
        case "decode-filter":
            return [Requirement(ROLE, "In", DECODES, or_absent=True)]
        case "prefill-filter":
            return [Requirement(ROLE, "In", PREFILLS)]
        case "encode-filter":
            return [Requirement(ROLE, "In", ENCODES)]
        case "by-label":
            label = str(plugin.parameters.get("label", ""))
            values = tuple(str(each) for each in plugin.parameters.get("validValues", []))
            absent = bool(plugin.parameters.get("allowsNoLabel", False))
            if not label:
                fields.note((*plugin.path, "parameters"), "InvalidValue", "by-label needs a label")
            return [Requirement(label, "In", values, or_absent=absent)]
        case "label-selector-filter" | "by-label-selector":
            return _selector(fields, plugin)
    return []


def _selector(fields: Fields, plugin: Named) -> list[Requirement]:
    path = (*plugin.path, "parameters")
    made = [
        Requirement(key, "In", (str(value),))
        for key, value in plugin.parameters.get("matchLabels", {}).items()
    ]
    for number, each in enumerate(plugin.parameters.get("matchExpressions", [])):
        at: Path = (*path, "matchExpressions", number)
        found = fields.known(each, at, {"key": "text", "operator": "text", "values": "list"}, "an expression")
        operator, values = found.get("operator"), tuple(str(one) for one in found.get("values", []))
        match operator:
            case "In" | "NotIn" if values and found.get("key"):
                made.append(Requirement(found["key"], operator, values))
            case "Exists" | "DoesNotExist" if not values and found.get("key"):
                made.append(Requirement(found["key"], operator))
            case _:
                message = (
                    "an expression has a key, an operator (In, NotIn, Exists, DoesNotExist), and values for "
                    "the first two"
                )
                fields.note(at, "InvalidValue", message)
    return made


def _check_data(fields: Fields, raw: object, plugins: Mapping[str, Named]) -> None:
    found = fields.known(raw, ("dataLayer",), _DATA, "dataLayer")
    for number, each in enumerate(found.get("sources", [])):
        path: Path = ("dataLayer", "sources", number)
        source = fields.known(each, path, {"pluginRef": "text", "extractors": "list"}, "a source")
        _refer(fields, source.get("pluginRef"), (*path, "pluginRef"), plugins)
        for place, extractor in enumerate(source.get("extractors", [])):
            at: Path = (*path, "extractors", place)
            _refer(fields, fields.known(extractor, at, _REF, "an extractor").get("pluginRef"), at, plugins)
    if "discovery" in found:
        path = ("dataLayer", "discovery")
        _refer(
            fields, fields.known(found["discovery"], path, _REF, "discovery").get("pluginRef"), path, plugins
        )
    for name in ("peerDiscovery", "crossReplicaSyncerPluginRef", "crossReplicaSyncInterval"):
        if name in found:
            message = f"{name} has no effect: replicas share nothing (docs/picker.md, several replicas)"
            fields.note(("dataLayer", name), "PluginLeftOut", message, "warning")


def _check_parsers(fields: Fields, found: Mapping[str, Any], plugins: Mapping[str, Named]) -> None:
    handler = fields.known(
        found.get("requestHandler"), ("requestHandler",), {"parsers": "list"}, "requestHandler"
    )
    places: list[tuple[Path, object]] = [
        (("requestHandler", "parsers", number), each)
        for number, each in enumerate(handler.get("parsers", []))
    ]
    if "parser" in found:
        places.append((("parser",), found["parser"]))
    for path, each in places:
        _refer(fields, fields.known(each, path, _REF, "a parser").get("pluginRef"), path, plugins)


def _interval(fields: Fields, plugins: Mapping[str, Named]) -> float | None:
    """Of the source of engines' metrics."""
    for each in plugins.values():
        if each.type != "metrics-data-source":
            continue
        path = (*each.path, "parameters")
        for name, value in each.parameters.items():
            usual = {"scheme": "http", "path": "/metrics"}.get(name)
            if name not in ("interval", "insecureSkipVerify") and value != usual:
                message = (
                    f"{name} of {each.type} has no effect: metrics are read from /metrics of the port that "
                    "serves, by the scheme of its object; certificates by --upstream-ca"
                )
                fields.note((*path, name), "PluginLeftOut", message, "warning")
        if "interval" in each.parameters:
            found = fields.seconds(each.parameters["interval"], (*path, "interval"))
            return None if found is None else max(found, 0.01)
    return None
