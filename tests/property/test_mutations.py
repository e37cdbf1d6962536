"""Valid manifests with one thing changed at random: nothing crashes, what is left out is named, the rest is
served as before."""

import copy
import random
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests import manifests as manifest
from tests.live.harness.echo import service

from headgate.gateway.settings import GatewaySettings
from headgate.gateway.translate import translate
from headgate.manifests.decode import decode_all
from headgate.model.snapshot import Snapshot

GOLDEN = Path(__file__).parents[1] / "golden" / "translate"
MUTATIONS = 1000
BATCHES = 10

VALUES: tuple[Any, ...] = (
    *(
        None,
        True,
        0,
        -1,
        2**63,
        1.5,
        "",
        "x",
        "*",
        "%",
        "\n",
        "\x00",
        "é" * 300,
        "a/b",
        "80",
        "1h",
        "{}",
        [],
        {},
    ),
    *(
        [None],
        [[]],
        {"": None},
        {"name": {"name": "x"}},
        "default",
        "Gateway",
        "http://x",
        "9" * 400,
        float("inf"),
    ),
)


def documents() -> list[Any]:
    """Everything that the golden cases hold, but for their settings."""
    found: list[Any] = []
    for case in sorted(GOLDEN.glob("*.yaml")):
        text = case.read_text().partition("# --- expected\n")[0]
        found += [each for each in list(yaml.safe_load_all(text))[1:] if isinstance(each, dict)]
    return found


def rest() -> list[Any]:
    """Objects of a namespace of their own, with a port of their own."""
    listener = {"name": "http", "port": 18999, "protocol": "HTTP"}
    gate = manifest.manifest("Gateway", "rest", {"gatewayClassName": "headgate", "listeners": [listener]})
    rule = {"backendRefs": [{"name": "rest", "port": 80}]}
    route = manifest.route(rule, name="rest", parent="rest")
    found = [gate, route, *service("rest", 8000)]
    for each in found:
        each["metadata"]["namespace"] = "rest"
    return found


def changed(document: Any, dice: random.Random) -> Any:
    """The document with one value changed, moved, doubled or lost."""
    found = copy.deepcopy(document)
    places: list[tuple[Any, Any]] = []
    todo = [found]
    while todo:
        holder = todo.pop()
        keys = list(holder) if isinstance(holder, dict) else range(len(holder))
        for key in keys:
            places.append((holder, key))
            if isinstance(holder[key], dict | list):
                todo.append(holder[key])
    holder, key = dice.choice(places)
    match dice.randrange(5):
        case 0:
            del holder[key]
        case 1 if isinstance(holder, dict):
            holder[str(key)[:-1] + dice.choice("xyz")] = holder.pop(key)
        case 2 if isinstance(holder, list):
            holder.append(holder[key])
        case 3:
            other, place = dice.choice(places)
            holder[key] = copy.deepcopy(other[place])
        case _:
            holder[key] = copy.deepcopy(dice.choice(VALUES))
    return found


def snapshot(raw: list[Any]) -> Snapshot:
    """What is read of documents."""
    decoded = [each for one in raw for each in decode_all(one, "f.yaml", lambda _: 1)]
    objects = {each.object.identity: each.object for each in decoded if each.object is not None}
    problems = tuple(problem for each in decoded for problem in each.problems)
    return Snapshot(tuple(objects.values()), problems=problems)


@pytest.mark.parametrize("batch", range(BATCHES))
def test_one_thing_changed_at_random(batch: int) -> None:
    dice = random.Random(batch)
    every = documents()
    told = GatewaySettings()
    expected = translate(snapshot(rest()), told).resources["route"]["port-18999"]
    for _ in range(MUTATIONS // BATCHES):
        some = dice.sample(every, 12)
        some[0] = changed(some[0], dice)
        found = snapshot([*some, *rest()])
        translation = translate(found, told)
        assert not [each for each in translation.problems if each.reason == "InternalError"], some[0]
        assert translation.resources["route"]["port-18999"] == expected, some[0]
        for each in (*found.problems, *translation.problems):
            assert each.place.object or each.place.file, each
            assert each.message and "Traceback" not in each.message
