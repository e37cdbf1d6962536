"""The heap that forgets who left."""

from tests.unit.flow.flow_builders import a_ticket

from headgate.flow.queue import COMPACT, Heap, Ticket


def numbered(number: int) -> Ticket:
    ticket = a_ticket(number)
    ticket.number, ticket.waiting = number, True
    return ticket


def test_the_lowest_rank_is_the_head_and_of_equals_the_first() -> None:
    heap = Heap()
    tickets = [numbered(n) for n in range(4)]
    for ticket, rank in zip(tickets, [2.0, 1.0, 1.0, 3.0], strict=True):
        heap.add(rank, ticket)
    assert heap.head() is tickets[1]
    tickets[1].waiting = False
    heap.left()
    assert heap.head() is tickets[2]
    assert set(heap.live()) == {tickets[0], tickets[2], tickets[3]}


def test_most_of_it_waits() -> None:
    heap = Heap()
    tickets = [numbered(n) for n in range(1000)]
    for ticket in tickets:
        heap.add(0.0, ticket)
    for ticket in tickets[1:]:
        ticket.waiting = False
        heap.left()
    assert heap.size() <= 2 + COMPACT
    assert heap.head() is tickets[0]
