"""Plain YAML or JSON data → objects, checked as the CRDs would check it.

A wrong value is an error and there is no object; an unknown field is a warning and the object lives without
it. Kinds that mean nothing to a gateway (Deployment, ConfigMap, …) pass in silence.
"""

import difflib
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import UTC, date, datetime
from typing import Any, TypeGuard

import msgspec

from headgate.manifests import schema, sentences
from headgate.manifests.rules import broken_rules
from headgate.model.meta import Identity, KubeObject, Namespace, ObjectName, Origin
from headgate.model.objects import ConfigMap, InferencePoolX, ModelServer, Object, Secret
from headgate.model.problems import Place, Problem, Severity

Path = tuple[str | int, ...]
MAX_WORD = 100
"""Characters of a kind or group that may be a misspelt one."""

LineOf = Callable[[Path], int]
"""Path of keys and indexes within the document → 1-based line; 0 when unknown."""


class Decoded(msgspec.Struct, frozen=True):
    """One document: an object, or why there is none; both empty for kinds that we do not read."""

    object: Object | None = None
    identity: Identity | None = None
    """Known also for most objects that are too wrong to be used."""
    problems: tuple[Problem, ...] = ()

    @property
    def may_be_any(self) -> bool:
        """It is wrong, and so that nobody can say which object it was to be."""
        return self.identity is None and any(problem.severity == "error" for problem in self.problems)


def _is_list(raw: object) -> TypeGuard[Mapping[str, Any]]:
    """Whether *raw* holds objects. A plain `List` does even when its `items` are misspelt."""
    if not isinstance(raw, Mapping):
        return False
    kind = str(raw.get("kind", ""))
    return (kind == "List" and raw.get("apiVersion") == schema.CORE) or (
        kind.endswith("List") and "items" in raw
    )


_OF_SECRETS = ("apiVersion", "kind", "metadata", "data", "stringData")


def decode_all(raw: object, file: str, line_of: LineOf) -> list[Decoded]:
    """Decode one YAML document, which may be a `List` of objects.

    *raw* is plain data (dicts, lists, strings, numbers, None); *file* is the path to name in problems.
    """
    if not _is_list(raw):
        return [decode(raw, file, line_of)]
    items = raw.get("items")
    if not isinstance(items, list):
        place = Place(file, line_of(("items",)) or line_of(()), str(raw["kind"]), "items")
        return [Decoded(problems=(Problem(place, "InvalidValue", "items must be a list of objects"),))]
    found: list[Decoded] = []
    for index, item in enumerate(items):

        def line_in_item(path: Path, index: int = index) -> int:
            return line_of(("items", index, *path))

        if item is None:
            found.append(
                Decoded(problems=(_broken(Place(file, line_in_item(())), "this item of the list is empty"),))
            )
        else:
            found += decode_all(item, file, line_in_item)
    return found


def decode(raw: object, file: str, line_of: LineOf) -> Decoded:
    """Decode one object. Never raises for wrong data: every mistake is a Problem with its place."""
    if raw is None:
        return Decoded()
    if not isinstance(raw, Mapping):
        return Decoded(problems=(_broken(Place(file, line_of(())), "a Kubernetes object must be a mapping"),))
    for key in ("apiVersion", "kind"):
        if not isinstance(raw.get(key), str) or not raw[key]:
            where = Place(file, line_of(()), f"{raw.get('kind', '')} {_named(raw)}".strip(), key)
            near = next(
                (each for each in raw if str(each).casefold() == key.casefold() and each != key), None
            )
            hint = "every object needs apiVersion and kind" if near is None else f"{near} is spelt {key}"
            return Decoded(problems=(_broken(where, f"{key} is missing; {hint}"),))
    data: dict[str, Any] = _plain(raw)
    api, kind = data["apiVersion"], data["kind"]
    cls = schema.KINDS.get((api, kind))
    if cls is None:
        strange = _unread(data, file, line_of)
        return Decoded(problems=() if strange is None else (strange,))
    if cls is ModelServer:
        data = _without_key(data)
    identity = _identity(cls, data)
    origin = Origin(file, {dotted: line_of(path) for dotted, path in _paths(raw)} if file else {})

    shown = str(identity) if identity is not None else f"{kind} {_named(data) or 'without a name'}"

    def place(field: str) -> Place:
        return Place(file, origin.line(field), shown, field)

    if cls is Secret:  # no message may show a value
        data = {key: data[key] for key in data if key in _OF_SECRETS}
    templates = cls in (Secret, ConfigMap)  # an ordinary thing to keep there
    unfilled = [] if templates else list(sentences.placeholders(data))
    if unfilled:
        problems = [
            Problem(place(field), "Placeholder", sentences.unfilled(each)) for field, each in unfilled
        ]
        return Decoded(identity=identity, problems=tuple(problems))
    found: Any = None
    try:
        found = _convert(cls, data, origin)
    except msgspec.ValidationError as error:
        errors = [sentences.explained(cls, data, str(error))]
    else:
        errors = broken_rules(found)
    errors, ineffective = sentences.merged(errors, list(schema.strange_fields(cls, data)))
    told = {field for field, _ in errors}
    return Decoded(
        None if errors else found,
        identity,
        (
            *(_broken(place(field), message) for field, message in errors),
            *(
                Problem(place(field), reason, message, "warning")
                for field, reason, message in ineffective
                if not any(field.startswith(f"{each.removesuffix('.matchLabels')}.") for each in told)
            ),
        ),
    )


def _without_key(data: dict[str, Any]) -> dict[str, Any]:
    """The same where a key itself stands in place of what names it: no message may show it."""
    match data.get("spec"):
        case {"apiKey": dict() as ref, **rest}:
            named = {
                key: value
                for key, value in ref.items()
                if isinstance(value, dict if key == "secretRef" else str)
            }
        case {"apiKey": _, **rest}:
            named = {}
        case _:
            return data
    return {**data, "spec": {**rest, "apiKey": named}}


def _convert(cls: type[KubeObject], data: dict[str, Any], origin: Origin) -> Any:
    """The object; raises msgspec.ValidationError."""
    if cls is InferencePoolX:
        wire = msgspec.convert(data, schema.PoolXWire)
        return InferencePoolX(metadata=wire.metadata, spec=wire.spec.as_v1(), origin=origin)
    return msgspec.structs.replace(msgspec.convert(data, cls), origin=origin)


def _broken(place: Place, message: str) -> Problem:
    return Problem(place, "InvalidValue", message)


def _named(data: Mapping[str, Any]) -> str:
    meta = data.get("metadata")
    if not isinstance(meta, Mapping) or "name" not in meta:
        return ""
    return f"{meta.get('namespace', 'default')}/{meta['name']}"


class _Named(msgspec.Struct, frozen=True):
    name: ObjectName
    namespace: Namespace = "default"


def _identity(cls: type[KubeObject], data: Mapping[str, Any]) -> Identity | None:
    try:
        meta = msgspec.convert(data.get("metadata"), _Named)
    except msgspec.ValidationError:
        return None
    return Identity(cls.KIND, meta.namespace if cls.NAMESPACED else "", meta.name, cls.GROUP)


def _unread(data: Mapping[str, Any], file: str, line_of: LineOf) -> Problem | None:
    """What to say of an object that no struct reads; None for kinds that are none of a gateway's business.

    Ours by a typing error is what stands in one of our API groups, or has nearly the name of one of our kinds
    in a group that is nearly ours or is Kubernetes' own. Other people's groups may have an HTTPRoute too.
    """
    api, kind = data["apiVersion"], data["kind"]

    def problem(field: str, reason: str, message: str, severity: Severity = "error") -> Problem:
        place = Place(file, line_of((field,)), f"{kind} {_named(data)}".strip(), field)
        return Problem(place, reason, message, severity)

    group = _group(api)
    meant = _near(kind, schema.NAMES, 0.75)
    versions = schema.versions(meant, _group(api))
    if group in schema.GROUPS:
        if kind == meant and versions:
            message = f"{kind} is not read in {api}; write apiVersion: {versions[0]}"
            return problem("apiVersion", "UnknownVersion", message)
        if kind in schema.NOT_YET:
            message = f"{kind} is not supported yet and is ignored"
            return problem("kind", "UnsupportedKind", message, "warning")
        return problem("kind", "UnknownKind", f"there is no kind {kind} in {api}{_did_you_mean(meant)}")
    if api == schema.CORE and kind not in schema.CORE_KINDS:
        core = _near(kind, schema.CORE_NAMES, 0.6)
        if core is not None:
            return problem("kind", "UnknownKind", f"there is no kind {kind} in {api}{_did_you_mean(core)}")
    if meant is None or kind in schema.CORE_KINDS:
        return None
    near = _near(group, schema.GROUPS, 0.85)
    if near is not None:
        return problem("apiVersion", "UnknownGroup", f"API group {group} is unknown{_did_you_mean(near)}")
    if versions and kind.casefold() == meant.casefold() and _is_nobodys(api):
        message = f"there is no kind {kind} in {api}; did you mean {meant} of {versions[0]}?"
        return problem("apiVersion", "UnknownGroup", message)
    return None


_VERSION = re.compile(r"v[0-9]+(?:(?:alpha|beta)[0-9]+)?")


def _group(api: str) -> str:
    """The group of an apiVersion; all of it when its version was forgotten."""
    group, slash, _ = api.partition("/")
    return group if slash else "" if _VERSION.fullmatch(api) else api


def _is_nobodys(api: str) -> bool:
    """Whether no third party can have kinds there: a group of Kubernetes' own, no group, or no valid one."""
    group, slash, _ = api.rpartition("/")
    return not slash or "/" in group or "." not in group or group.endswith((".k8s.io", ".x-k8s.io"))


def _near(word: str, known: Iterable[str], cutoff: float) -> str | None:
    """The one of *known* that is most like *word*, whatever their case; None when none is like it."""
    if len(word) > MAX_WORD:
        return None
    folded = {each.casefold(): each for each in sorted(known)}
    near = difflib.get_close_matches(word.casefold(), folded, 1, cutoff)
    return folded[near[0]] if near else None


def _did_you_mean(near: str | None) -> str:
    return "" if near is None else f"; did you mean {near}?"


def _plain(value: Any) -> Any:
    """Nulls dropped, as the API server does; YAML's own timestamps back to RFC 3339 text."""
    match value:  # the most frequent first, and a dict before all that Mappings may be
        case str() | int() | float():
            return value
        case dict() | Mapping():
            return {key: _plain(each) for key, each in value.items() if each is not None}
        case list():
            return [_plain(each) for each in value]
        case datetime():
            aware = value if value.tzinfo else value.replace(tzinfo=UTC)
            return aware.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        case date():
            return value.isoformat()
        case _:
            return value


def _paths(value: object, path: Path = (), dotted: str = "") -> Iterator[tuple[str, Path]]:
    """Of *value* and all below it."""
    yield sys.intern(dotted), path  # the same few for all objects of a kind
    match value:
        case str() | int() | float():
            pass
        case dict() | Mapping():
            for key, each in value.items():
                part = f"[{key}]" if isinstance(key, int) else f".{key}" if dotted else str(key)
                yield from _paths(each, (*path, key), dotted + part)
        case list():
            for index, each in enumerate(value):
                yield from _paths(each, (*path, index), f"{dotted}[{index}]")
        case _:
            pass
