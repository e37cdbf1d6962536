"""Accounts of fairness ids, without a queue."""

import pytest

from headgate.flow.accounts import Accounts
from headgate.flow.lanes import Lanes
from headgate.flow.queue import Ticket
from headgate.flow.settings import BandSettings, FlowSettings, Quota, Share


def accounts(**settings: object) -> Accounts:
    band = BandSettings()
    return Accounts(FlowSettings(**settings), Lanes(lambda _: band))  # type: ignore[arg-type]


def known(of: Accounts, now: float = 0.0) -> set[str]:
    return {view.id for view in of.views(now)}


def test_a_quota_is_charged_or_tells_how_long_it_takes() -> None:
    found = accounts(other_shares=Share(quota=Quota(tokens_per_minute=600, burst_tokens=1000)))
    account = found.of("a", 0.0)
    assert found.charge(account, ticket := Ticket(1, 0, 800, 0), 0.0) is None
    assert (ticket.charged, account.level) == (800, 200)
    assert found.charge(account, Ticket(2, 0, 400, 0), 0.0) == pytest.approx(20.0)
    assert account.level == 200
    assert found.charge(account, Ticket(3, 0, 5000, 0), 80.0) is None, "a full bucket lets in what is larger"
    assert account.level == -4000


def test_the_one_that_rests_longest_is_forgotten_first_and_those_with_shares_last() -> None:
    found = accounts(most_accounts=2, shares={"named": Share(weight=2)})
    found.of("named", 0.0)
    found.of("a", 1.0)
    found.of("b", 2.0)
    assert known(found) == {"named", "b"}
    running = found.of("c", 3.0)
    found.stir(running)
    running.running = 1
    found.of("d", 4.0)
    assert known(found) == {"named", "c", "d"}, "who has a request is not forgotten"
    running.running = 0
    found.rest(running)
    assert known(found) == {"named", "c"}
    found.check((), 0, 0)


def test_other_settings_leave_what_was_used() -> None:
    found = accounts(shares={"a": Share(quota=Quota(tokens_per_minute=60, burst_tokens=100))})
    account = found.of("a", 0.0)
    found.charge(account, Ticket(1, 0, 90, 0), 0.0)
    more = Share(weight=3, quota=Quota(tokens_per_minute=60, burst_tokens=150))
    found.configure(FlowSettings(shares={"a": more}), 5.0)
    assert account.weight == 3
    assert account.level == pytest.approx(65.0), "10 left, 5 came, 50 are new"
