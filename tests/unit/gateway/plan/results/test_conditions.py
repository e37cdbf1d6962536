"""Conditions, from what is wrong with an object."""

from headgate.gateway.plan.results.conditions import accepted
from headgate.model.problems import Place, Problem

WRONG = Problem(Place(), "ModelNameInUse", "the name is taken")
IN_VAIN = Problem(
    Place(), "PoolNotFound", "there is no pool; until then this object has no effect", "warning"
)


def test_an_error_is_the_reason_and_warnings_are_told_beside_what_holds() -> None:
    found = [accepted(problems, 3) for problems in ((), (IN_VAIN,), (IN_VAIN, WRONG))]
    assert [(each.status, each.reason, each.message) for each in found] == [
        ("True", "Accepted", ""),
        ("True", "Accepted", IN_VAIN.message),
        ("False", "ModelNameInUse", WRONG.message),
    ]
    assert {each.observed_generation for each in found} == {3}
