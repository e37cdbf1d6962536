"""Base models: what ConfigMaps say, and what is wrong with them."""

from typing import Any

import pytest
from tests import manifests as manifest

from headgate.gateway.envoy import body_script
from headgate.gateway.envoy.model_routing import BODY_SCRIPT
from headgate.gateway.settings import GatewaySettings
from headgate.gateway.translate import translate

LABEL = {"inference.networking.k8s.io/bbr-managed": "true"}


def config_map(name: str, labels: dict[str, str] | None = None, **data: str) -> manifest.Manifest:
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": name, "labels": LABEL if labels is None else labels},
        "data": data,
    }


def told(*maps: manifest.Manifest) -> tuple[dict[str, str], list[str]]:
    """Name → base model as Envoy is told, and fields of problems of ConfigMaps."""
    match: dict[str, Any] = {"headers": [{"name": "X-Gateway-Base-Model-Name", "value": "base"}]}
    objects = [manifest.gateway(), manifest.route(manifest.rule("fit", matches=[match])), *maps]
    found = translate(manifest.snapshot(*objects), GatewaySettings())
    filters = found.resources["route"]["port-8080"]["typed_per_filter_config"]
    lines = filters[BODY_SCRIPT]["filter_context"].get(body_script.BASE_MODELS, "").splitlines()
    names = dict(line.split("\t") for line in lines)
    return names, [each.place.field for each in found.problems if "ConfigMap" in str(each.place.object)]


def test_names_of_both_labels_count_and_a_base_is_its_own() -> None:
    other = {"inference.llm-d.ai/ipp-managed": "true"}
    names, problems = told(
        config_map("a", baseModel="base", adapters="- one\n- two\n"),
        config_map("b", other, baseModel="more"),
        config_map("c", {}, baseModel="unread", adapters="- x"),
    )
    assert names == {"base": "base", "one": "base", "two": "base", "more": "more"}
    assert problems == []


def test_a_name_that_two_have_is_the_first_ones_and_is_said() -> None:
    names, problems = told(
        config_map("a", baseModel="first", adapters="[one]"),
        config_map("b", baseModel="second", adapters="[one, two]"),
    )
    assert names == {"first": "first", "one": "first", "second": "second", "two": "second"}
    assert problems == ["data.adapters"]


@pytest.mark.parametrize(
    ("data", "field"),
    [
        ({"adapters": "- one"}, "data.baseModel"),
        ({"baseModel": "b", "adapters": "one: two"}, "data.adapters"),
        ({"baseModel": "b", "adapters": "- [one]"}, "data.adapters"),
        ({"baseModel": "b", "adapters": "- 'one"}, "data.adapters"),
        ({"baseModel": "b", "adapters": "- &a [x]\n- *a"}, "data.adapters"),
        ({"baseModel": "b", "adapters": "[" * 5000}, "data.adapters"),
    ],
)
def test_what_is_wrong_is_named_and_left_out(data: dict[str, str], field: str) -> None:
    names, problems = told(config_map("a", None, **data), config_map("fine", baseModel="base"))
    assert (names, problems) == ({"base": "base"}, [field])
