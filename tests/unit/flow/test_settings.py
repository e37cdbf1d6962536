"""What may be tuned, and what is refused."""

import pytest

from headgate.flow.settings import Quota, Share


@pytest.mark.parametrize(
    "make",
    [
        lambda: Share(weight=0),
        lambda: Share(weight=float("inf")),
        lambda: Quota(tokens_per_minute=0),
        lambda: Quota(tokens_per_minute=float("nan")),
        lambda: Quota(tokens_per_minute=1, burst_tokens=-1),
    ],
)
def test_shares_that_say_nothing_are_refused(make: object) -> None:
    with pytest.raises(ValueError, match="must be a number above 0"):
        make()  # type: ignore[operator]
