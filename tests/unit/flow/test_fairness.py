"""How flows share: each fairness by itself, through flow control."""

import msgspec
import pytest
from tests.unit.flow.flow_builders import a_ticket, controlled, gone, waits

from headgate import registry
from headgate.flow import fairness, ordering
from headgate.flow.api import Fairness, Ordering
from headgate.flow.fairness.round_robin import RoundRobin
from headgate.flow.fairness.weighted_tokens import WeightedTokens
from headgate.flow.settings import BandSettings, Share

TURNS = BandSettings(fairness=RoundRobin())
TOKENS = BandSettings(fairness=WeightedTokens())


def test_round_robin_gives_each_flow_one_request_in_turn() -> None:
    flow = controlled(other_bands=TURNS)
    for key in range(4):
        waits(flow, a_ticket(key, tokens=1000), "a")
    waits(flow, a_ticket(10, tokens=1), "b")
    waits(flow, a_ticket(11, tokens=1), "b")
    waits(flow, a_ticket(20), "c")
    assert gone(flow) == [0, 10, 20, 1, 11, 2, 3]


def test_a_flow_that_comes_back_waits_for_its_turn() -> None:
    flow = controlled(other_bands=TURNS)
    for key in range(3):
        waits(flow, a_ticket(key), "a")
    waits(flow, a_ticket(10), "b")
    assert gone(flow, most=2) == [0, 10]
    waits(flow, a_ticket(11), "b")
    assert gone(flow) == [1, 11, 2]


def test_tokens_and_not_requests_are_shared_by_weight() -> None:
    flow = controlled(other_bands=TOKENS, shares={"heavy": Share(weight=3.0)})
    for key in range(60):
        waits(flow, a_ticket(key, tokens=300), "heavy")
        waits(flow, a_ticket(1000 + key, tokens=50), "light")
    heavy = [key < 1000 for key in gone(flow, most=60)]
    tokens = 300 * sum(heavy), 50 * (60 - sum(heavy))
    assert tokens[0] / sum(tokens) == pytest.approx(0.75, abs=0.05)


def test_what_was_used_in_truth_is_charged() -> None:
    flow = controlled(other_bands=TOKENS)
    first = waits(flow, a_ticket(0, tokens=100), "a")
    for key in range(1, 4):
        waits(flow, a_ticket(key, tokens=100), "a")
    for key in range(10, 14):
        waits(flow, a_ticket(key, tokens=100), "b")
    assert gone(flow, most=2) == [0, 10]
    flow.ended(first, 300.0, 1.0)  # 200 more than it was expected to
    assert gone(flow) == [11, 12, 1, 13, 2, 3]


def test_who_was_away_is_not_paid_for_it_and_who_owes_still_owes() -> None:
    flow = controlled(other_bands=TOKENS)
    for key in range(10):
        waits(flow, a_ticket(key), "a")
    assert gone(flow, most=5) == [0, 1, 2, 3, 4]
    for key in range(10, 14):
        waits(flow, a_ticket(key), "b")
    # b starts where a is, and gets no five requests in a row.
    order = gone(flow)
    assert order[:4] in ([10, 5, 11, 6], [5, 10, 6, 11])
    waits(flow, a_ticket(20, tokens=10_000), "a")
    waits(flow, a_ticket(30), "b")
    assert set(gone(flow)) == {20, 30}
    for key in range(40, 44):
        waits(flow, a_ticket(key), "a")
        waits(flow, a_ticket(key + 10), "b")
    assert gone(flow)[:4] == [50, 51, 52, 53]


def test_the_view_tells_who_is_ahead() -> None:
    flow = controlled(other_bands=TOKENS)
    for key in range(4):
        waits(flow, a_ticket(key), "a")
        waits(flow, a_ticket(10 + key), "b")
    gone(flow, most=3)
    ahead = {view.id: view.ahead for view in flow.view(0.0).flows}
    assert ahead["a"] - ahead["b"] == 100.0


def test_plugins_are_their_own_configuration() -> None:
    kinds = registry.classes(fairness, Fairness) + registry.classes(ordering, Ordering)
    assert len(kinds) >= 4
    for kind in kinds:
        text = msgspec.json.encode({"type": registry.plugin_type(kind.__name__)})
        assert msgspec.json.decode(text, type=kind) == kind()
