"""Selectors and origins."""

import pytest

from headgate.model.meta import LabelExpression, LabelSelector, Origin


@pytest.mark.parametrize(
    ("expression", "labels", "expected"),
    [
        (LabelExpression("a", "In", ("x", "y")), {"a": "y"}, True),
        (LabelExpression("a", "In", ("x",)), {}, False),
        (LabelExpression("a", "NotIn", ("x",)), {}, True),
        (LabelExpression("a", "NotIn", ("x",)), {"a": "x"}, False),
        (LabelExpression("a", "Exists"), {"a": ""}, True),
        (LabelExpression("a", "DoesNotExist"), {"a": ""}, False),
    ],
)
def test_expressions(expression: LabelExpression, labels: dict[str, str], expected: bool) -> None:
    assert LabelSelector({}, (expression,)).selects(labels) is expected


def test_the_line_of_a_field_is_that_of_its_nearest_written_ancestor() -> None:
    origin = Origin("f", {"": 1, "spec": 2, "spec.rules[0]": 5})
    assert origin.line("spec.rules[0].backendRefs[1].name") == 5
    assert origin.line("spec.rules[1].matches") == 2
    assert origin.line("metadata.name") == 1
