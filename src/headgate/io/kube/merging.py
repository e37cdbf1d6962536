"""Our part of an object's status: told from that of others, compared, merged. Pure."""

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from headgate.model.meta import GATEWAY_GROUP, INFERENCE_X_GROUP, Identity

Json = Mapping[str, Any]

BY_CONTROLLER = ("parents", "ancestors")
"""Lists of which each controller has its own entries."""

CONDITIONS = frozenset(
    {
        "Accepted",
        "Programmed",
        "ResolvedRefs",
        "SupportedVersion",
        "InsecureFrontendValidationMode",
    }
)
"""Conditions of a whole object that are ours; others survive."""

CONTROLLERS = "controllers"
"""List of an InferencePoolImport's status: an entry for each controller, with the parents that it knows."""

OLD_PARENTS = "parent"
"""What v1alpha2 pools call their parents, which have no controller's name."""

Gateways = frozenset[tuple[str, str]]
"""Namespace and name of the Gateways that are ours."""


class Ours(msgspec.Struct, frozen=True):
    """Who we are."""

    controller: str
    gateways: Gateways = frozenset()


def wanted(identity: Identity, result: Json) -> Json:
    """A result in the words of the object's kind."""
    if _is_old_pool(identity):
        entries = [
            {key: value for key, value in each.items() if key != "controllerName"}
            for each in result.get("parents", ())
        ]
        return {OLD_PARENTS: entries}
    return result


def own_part(identity: Identity, status: object, ours: Ours) -> bytes:
    """What a status says that is ours, without times, such that equal parts are equal bytes."""
    found = status if isinstance(status, Mapping) else {}
    part: dict[str, Any] = {}
    for key, value in found.items():
        if _is_shared(identity, key):
            part[key] = sorted(
                (_timeless(each) for each in _list(value) if _is_ours(identity, each, ours)),
                key=lambda each: msgspec.json.encode(each, order="deterministic"),
            )
        elif key == "conditions":
            part[key] = sorted(
                (_timeless(each) for each in _list(value) if each.get("type") in CONDITIONS),
                key=lambda each: str(each.get("type")),
            )
        else:
            part[key] = _timeless(value)
    kept = {key: value for key, value in part.items() if value not in ([], {}, 0, None)}
    return msgspec.json.encode(kept, order="deterministic")


def merged(identity: Identity, current: object, desired: Json, ours: Ours, now: str) -> Json:
    """What to patch a status with, so that our part is *desired* and that of others as it was.

    *now*: RFC 3339, for conditions whose status is another than before.
    """
    before = current if isinstance(current, Mapping) else {}
    patch: dict[str, Any] = {}
    for key, value in desired.items():
        old = before.get(key)
        if _is_shared(identity, key):
            others = [each for each in _list(old) if not _is_ours(identity, each, ours)]
            mine = {_ref(each): each for each in _list(old) if _is_ours(identity, each, ours)}
            patch[key] = [*others, *(_dated(each, mine.get(_ref(each)), now) for each in value)]
        elif key == "conditions":
            patch[key] = [
                *(
                    each
                    for each in _list(old)
                    if each.get("type") not in CONDITIONS and not _is_default(each)
                ),
                *_dated_conditions(value, _list(old), now),
            ]
        elif key == "listeners":
            by_name = {each.get("name"): each for each in _list(old)}
            patch[key] = [_dated(each, by_name.get(each.get("name")), now) for each in value]
        else:
            patch[key] = value
    return patch


def _is_old_pool(identity: Identity) -> bool:
    return identity.kind == "InferencePool" and identity.group == INFERENCE_X_GROUP


def _is_shared(identity: Identity, key: str) -> bool:
    if _is_import(identity):
        return key == CONTROLLERS
    return key in BY_CONTROLLER or (key == OLD_PARENTS and _is_old_pool(identity))


def _is_import(identity: Identity) -> bool:
    return identity.kind == "InferencePoolImport" and identity.group == INFERENCE_X_GROUP


def _is_ours(identity: Identity, entry: Mapping[str, Any], ours: Ours) -> bool:
    if _is_import(identity):
        return entry.get("name") == ours.controller
    if not _is_old_pool(identity):
        return entry.get("controllerName") == ours.controller
    found = entry.get("parentRef")
    ref = found if isinstance(found, Mapping) else {}
    if ref.get("kind") == "Status":  # what the CRD puts there before anybody came
        return True
    gateway = (str(ref.get("namespace", identity.namespace)), str(ref.get("name", "")))
    return ref.get("kind", "Gateway") == "Gateway" and gateway in ours.gateways


def _ref(entry: Mapping[str, Any]) -> bytes:
    """What tells an entry from others of a controller; an import has one of each."""
    ref = entry.get("parentRef", entry.get("ancestorRef"))
    defaults = {"group": GATEWAY_GROUP, "kind": "Gateway"}
    return msgspec.json.encode(
        {**defaults, **(ref if isinstance(ref, Mapping) else {})}, order="deterministic"
    )


def _is_default(condition: Mapping[str, Any]) -> bool:
    """The CRD of InferenceModel puts a condition there that nobody else ever touches."""
    return condition.get("type") == "Ready" and condition.get("reason") == "Pending"


def _dated(entry: Json, before: Mapping[str, Any] | None, now: str) -> Json:
    if "parents" in entry:  # of an import
        known = {_ref(each): each for each in _list((before or {}).get("parents"))}
        return {**entry, "parents": [_dated(each, known.get(_ref(each)), now) for each in entry["parents"]]}
    old = _list(before.get("conditions")) if before is not None else []
    return {**entry, "conditions": _dated_conditions(entry.get("conditions", ()), old, now)}


def _dated_conditions(
    conditions: Iterable[Json], before: Iterable[Mapping[str, Any]], now: str
) -> list[Json]:
    since = {
        (each.get("type"), each.get("status")): each.get("lastTransitionTime")
        for each in before
        if each.get("lastTransitionTime")
    }
    return [
        {**each, "lastTransitionTime": since.get((each["type"], each["status"]), now)} for each in conditions
    ]


def _list(value: object) -> list[Mapping[str, Any]]:
    return [each for each in value if isinstance(each, Mapping)] if isinstance(value, list | tuple) else []


def _timeless(value: Any) -> Any:
    match value:
        case Mapping():
            return {
                key: _timeless(each)
                for key, each in value.items()
                if key != "lastTransitionTime" and not (key == "message" and each == "")
            }
        case list() | tuple():
            return [_timeless(each) for each in value]
        case _:
            return value
