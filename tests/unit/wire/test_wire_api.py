"""Field readers that formats share."""

import msgspec
import pytest

from headgate.wire.api import BadRequest, model_name, token_limit


@pytest.mark.parametrize("value", [msgspec.UNSET, None, ""])
def test_a_body_without_a_name(value: object) -> None:
    assert model_name(value) == ""


@pytest.mark.parametrize("value", [3, ["m"], {}, True])
def test_no_name(value: object) -> None:
    found = model_name(value)
    assert isinstance(found, BadRequest)
    assert found.param == "model"


def test_a_name() -> None:
    assert model_name("m") == "m"


@pytest.mark.parametrize(
    ("values", "expected"), [((None, 5), 5), ((0, 5), 0), ((True, -1, "7"), None), ((), None)]
)
def test_token_limits(values: tuple[object, ...], expected: int | None) -> None:
    assert token_limit(*values) == expected
