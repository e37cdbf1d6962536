"""In which order the requests of a flow go."""

from tests.unit.flow.flow_builders import a_ticket

from headgate.flow.ordering.earliest_deadline import EarliestDeadline
from headgate.flow.ordering.fcfs import Fcfs


def test_first_come_first_served_does_not_look_at_deadlines() -> None:
    order = Fcfs()
    assert order.rank(a_ticket(1, deadline=1.0)) == order.rank(a_ticket(2))
    assert order.latest(a_ticket(1, deadline=1.0)) == float("inf")


def test_the_earliest_deadline_ranks_lowest_and_none_highest() -> None:
    order = EarliestDeadline()
    ranks = [order.rank(a_ticket(key, deadline=deadline)) for key, deadline in enumerate([1.0, 2.0, None])]
    assert ranks == sorted(ranks)
    assert order.latest(a_ticket(1, deadline=7.0)) == 7.0
    assert order.latest(a_ticket(1)) == float("inf")
