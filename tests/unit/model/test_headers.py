"""Header names that are not for everybody."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headgate.model import headers

TOKEN = st.text("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_", min_size=1, max_size=20)


@given(st.sampled_from((*headers.OWN_PREFIXES, *headers.PROXY_PREFIXES, ":")), TOKEN, st.booleans())
def test_everything_under_a_reserved_beginning_is_reserved(start: str, rest: str, upper: bool) -> None:
    name = start + rest
    assert headers.reserved(name.upper() if upper else name)


def test_all_that_the_gateway_steers_by_is_out_of_a_routes_reach() -> None:
    own = {each for each in headers.NEVER_FROM_CLIENTS if each.startswith(("x-headgate", "x-gateway"))}
    assert len(own) > 8
    assert all(headers.reserved(name) for name in (*own, *headers.FROM_BODY, *headers.FRAMING))


@pytest.mark.parametrize(
    "name", ["authorization", "content-type", "x-request-id", "x-forwarded-for", "set-cookie", "te-x", "via"]
)
def test_other_headers_are_free(name: str) -> None:
    assert headers.reserved(name) is None
