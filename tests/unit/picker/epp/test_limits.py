"""Ceilings that usage-limit policies give to the bands of priorities."""

from collections.abc import Mapping
from typing import Any

import pytest

from headgate.model.objects.flow import BandSpec
from headgate.picker.epp.fields import Fields
from headgate.picker.epp.limits import LEAST, limited
from headgate.picker.epp.plugins import PLUGINS

BANDS: Mapping[int, BandSpec] = {100: BandSpec(max_queued=7), 0: BandSpec(), -10: BandSpec()}
PATH = ("flowControl", "usageLimitPolicyPluginRef")


def ceilings(kind: str, parameters: Mapping[str, Any], bands: Mapping[int, BandSpec] = BANDS) -> Any:
    """By priority, and of others; and what was noted, with its severity."""
    fields = Fields("c.yaml", "EndpointPickerConfig", lambda path: 0)
    named, others = limited(fields, kind, parameters, PATH, (bands, BandSpec()))
    found = {priority: each.ceiling for priority, each in named.items()}
    return found, others.ceiling, [(each.severity, each.message) for each in fields.problems]


def test_one_threshold_for_all() -> None:
    assert ceilings("static-usage-limit-policy", {}) == ({100: None, 0: None, -10: None}, None, [])
    found = ceilings("static-usage-limit-policy", {"threshold": 0.8})
    assert found == ({100: 0.8, 0: 0.8, -10: 0.8}, 0.8, [])


def test_room_is_held_back_by_rank_or_by_value() -> None:
    kind = "priority-holdback-policy"
    found, others, said = ceilings(kind, {"minCeiling": 0.5})
    assert (found, others, said) == ({100: 1.0, 0: 0.75, -10: 0.5}, None, [])
    found, _, said = ceilings(kind, {"minCeiling": 0.0, "maxCeiling": 0.55, "domain": "value"})
    assert found == {100: 0.55, 0: pytest.approx(0.05), -10: LEAST} and not said
    named, _ = limited(Fields("", "", lambda path: 0), kind, {"minCeiling": 0.5}, PATH, (BANDS, BandSpec()))
    assert named[100].max_queued == 7, "the rest of a band stays"


@pytest.mark.parametrize("number", [2, 3, 5])
def test_a_reflected_ceiling_is_where_a_band_is_no_longer_open_by_itself(number: int) -> None:
    """Theirs opens band i of N, counted from the highest, while saturation < 1 - i * saturation / (N - 1)."""
    bands = {10 * each: BandSpec() for each in range(number)}
    found, others, said = ceilings("soft-reflective-ceiling-policy", {}, bands)
    assert others is None and not said
    for rank, priority in enumerate(sorted(bands, reverse=True)):
        for percent in range(1, 100):
            saturation = percent / 100
            is_open = saturation < 1 - rank * saturation / (number - 1)
            assert (saturation < found[priority]) is is_open, (priority, saturation)


@pytest.mark.parametrize(
    ("parameters", "words"),
    [
        ({}, "needs a minCeiling"),
        ({"minCeiling": 2}, "minCeiling is 0 to 1"),
        ({"minCeiling": 0.9, "maxCeiling": 0.1}, "not above maxCeiling"),
        ({"minCeiling": 0.1, "domain": "colour"}, "domain is rank or value"),
        ({"minCeiling": 0.1, "shape": "steep"}, "shape is linear"),
    ],
)
def test_wrong_parameters_are_errors(parameters: Mapping[str, Any], words: str) -> None:
    _, others, said = ceilings("priority-holdback-policy", parameters)
    assert others is None and [severity for severity, _ in said] == ["error"] and words in said[0][1]


def test_what_cannot_be_ranked_and_what_is_no_policy_is_said() -> None:
    one = {0: BandSpec()}
    found, _, said = ceilings("priority-holdback-policy", {"minCeiling": 0.5}, one)
    assert found == {0: None} and said[0][0] == "warning" and "priorityBands" in said[0][1]
    found, _, said = ceilings("soft-reflective-ceiling-policy", {}, one)
    assert found == {0: None} and said[0][0] == "warning" and "priorityBands" in said[0][1]
    _, _, said = ceilings("queue-scorer", {})
    assert said[0][0] == "error" and "no usage-limit policy" in said[0][1]


def test_every_usage_limit_policy_is_known() -> None:
    kinds = [name for name, each in PLUGINS.items() if each.role == "limit"]
    assert len(kinds) == 3
    for kind in kinds:
        assert not [each for _, each in ceilings(kind, {"minCeiling": 0.5})[2] if "no usage-limit" in each]
