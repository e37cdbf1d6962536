"""Which requests count towards the budget for long bodies, and how many may be there."""

import re

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from headgate.gateway.envoy.body_budget import CLASSES, most
from headgate.gateway.settings import GatewaySettings


@given(st.integers(0, 1 << 45), st.integers(0, 3))
def test_a_length_counts_once_from_a_million_bytes_on(length: int, zeros: int) -> None:
    found = [each for each in CLASSES if re.fullmatch(each.lengths, "0" * zeros + str(length))]
    assert len(found) == (1 if length >= 10**6 else 0)
    assert all(length <= each.longest or each is CLASSES[-1] for each in found)


@given(st.integers(1 << 20, 1 << 30), st.integers(1 << 20, 1 << 36))
def test_those_that_are_let_in_keep_to_the_budget(limit: int, budget: int) -> None:
    settings = msgspec.structs.replace(GatewaySettings(), body_limit_bytes=limit, body_budget_bytes=budget)
    longest = [min(each.longest, limit) for each in CLASSES]
    held = sum(most(each, settings) * size for each, size in zip(CLASSES, longest, strict=True))
    assert all(most(each, settings) >= 1 for each in CLASSES)
    assert held <= max(budget, 2 * sum(longest))
