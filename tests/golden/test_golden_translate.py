"""Runs every case in `translate/`: a purpose, documents, and what of the translation the case is about.

The first document holds the case's settings: `show` lists dotted paths into the resources (`route`,
`cluster`, …; `*` takes every key); `settings` overrides GatewaySettings. Results and problems are always shown.
HEADGATE_BLESS=1
rewrites the expected parts.
"""

import os
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml

from headgate.gateway.envoy import protos
from headgate.gateway.settings import GatewaySettings
from headgate.gateway.translate import translate
from headgate.manifests.decode import decode_all
from headgate.model.snapshot import Snapshot

MARK = "# --- expected\n"
CASES = sorted((Path(__file__).parent / "translate").glob("*.yaml"))


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.stem)
def test_case(case: Path) -> None:
    text, _, expected = case.read_text().partition(MARK)
    found = yaml.dump(outcome(text), sort_keys=False, width=110)
    if os.environ.get("HEADGATE_BLESS"):
        case.write_text(text + MARK + found)
    assert found == expected


def outcome(text: str) -> dict[str, Any]:
    """What the case asks to be shown, and all problems."""
    settings, *documents = yaml.safe_load_all(text)
    decoded = [each for raw in documents for each in decode_all(raw, "", lambda _: 0)]
    snapshot = Snapshot(
        objects=tuple(each.object for each in decoded if each.object is not None),
        problems=tuple(problem for each in decoded for problem in each.problems),
    )
    given = msgspec.convert(settings.get("settings", {}), GatewaySettings)
    translation = translate(snapshot, given)
    for kind, resources in translation.resources.items():
        for resource in resources.values():
            full_name = protos.MESSAGES[kind].DESCRIPTOR.full_name  # type: ignore[index]
            protos.WRITERS.write(full_name, resource)  # Envoy's types, and written without json_format
    plain = msgspec.to_builtins(translation.resources)
    shown = {path: pick(plain, path.split(".")) for path in settings.get("show", [])}
    problems = [str(each) for each in (*snapshot.problems, *translation.problems)]
    results = {str(each): told(msgspec.to_builtins(found)) for each, found in translation.results.items()}
    return {**shown, "results": results, **({"problems": problems} if problems else {})}


def told(value: Any) -> Any:
    """A result in short: conditions in one line, kinds that may attach by their names."""
    if isinstance(value, dict):
        if set(value) >= {"type", "status", "reason"}:
            return f"{value['type']}={value['status']} {value['reason']}"
        if set(value) == {"group", "kind"}:
            return value["kind"]
        return {key: told(each) for key, each in value.items() if key not in OF_ALL}
    return [told(each) for each in value] if isinstance(value, list | tuple) else value


OF_ALL = ("controller_name", "controllerName", "supportedFeatures")
"""What is the same in every result."""


def pick(value: Any, path: list[str]) -> Any:
    """The part of *value* at *path*; `*` maps over a list or a mapping."""
    if not path:
        return value
    head, *rest = path
    if head != "*":
        found = value[int(head)] if isinstance(value, list) else value.get(head)
        return pick(found, rest) if found is not None else None
    if isinstance(value, list):
        return [pick(each, rest) for each in value]
    return {key: pick(each, rest) for key, each in value.items()}


def test_there_are_cases() -> None:
    assert len(CASES) >= 12
