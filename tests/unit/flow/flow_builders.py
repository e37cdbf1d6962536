"""Flow control with small bounds, and tickets that queue in it."""

from collections.abc import Hashable

from headgate.flow.control import FlowControl
from headgate.flow.queue import Ticket
from headgate.flow.settings import FlowSettings


def a_ticket(
    key: int,
    priority: int = 0,
    tokens: float = 100.0,
    size: int = 10,
    kind: Hashable = None,
    deadline: float | None = None,
) -> Ticket:
    """A request."""
    return Ticket(key, priority, tokens, size, kind, None, deadline)


def waits(flow: FlowControl, ticket: Ticket, who: str = "a", now: float = 0.0) -> Ticket:
    """The request arrived while nobody had room, and waits."""
    assert not flow.arrive(ticket, who, now, room=False)
    assert flow.dropped() == []
    assert ticket.waiting
    flow.check()
    return ticket


def gone(flow: FlowControl, now: float = 0.0, most: int = 1000) -> list[int]:
    """The keys of those who go while there is room, in order."""
    found: list[int] = []
    while len(found) < most and (ticket := flow.next(now, lambda kind: True)) is not None:
        found.append(ticket.key)
    flow.check()
    return found


def refusals(flow: FlowControl) -> list[tuple[int, str, int | None]]:
    """Who was dropped, why, and when to come back."""
    return [(each.ticket.key, each.reason, each.retry_after_s) for each in flow.dropped()]


def controlled(**settings: object) -> FlowControl:
    """Flow control with these settings."""
    return FlowControl(FlowSettings(**settings))  # type: ignore[arg-type]
