"""A problem reads as one line that says where, how bad, what and why."""

import pytest

from headgate.model.problems import Place, Problem


@pytest.mark.parametrize(
    ("place", "expected"),
    [
        (Place("a.yaml", 3, "Gateway default/g", "spec"), "a.yaml:3 Gateway default/g spec"),
        (Place("a.yaml", 0, "Gateway default/g"), "a.yaml Gateway default/g"),
        (Place("", 3, "Gateway default/g"), "Gateway default/g"),
        (Place(), ""),
    ],
)
def test_a_place_names_what_is_known(place: Place, expected: str) -> None:
    assert str(place) == expected


def test_a_problem_leads_with_its_place_if_it_has_one() -> None:
    assert str(Problem(Place("a.yaml", 3), "Reason", "what")) == "a.yaml:3: error: what [Reason]"
    assert str(Problem(Place(), "Reason", "what", "warning")) == "warning: what [Reason]"


def test_problems_sort_by_file_and_line() -> None:
    late, early = (Problem(Place("a.yaml", line), "R", "m") for line in (12, 7))
    assert sorted([late, early]) == [early, late]
