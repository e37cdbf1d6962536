"""What was seen of an endpoint is a copy: the state may go on."""

from tests.unit.scheduling.scheduling_builders import a_state

from headgate.scheduling.state import Line, Seen


def test_what_was_seen_stays_as_it_was() -> None:
    state = a_state(3, in_flight=2, pending_tokens=70, scraped_at=1.5)
    seen = Seen(state, 1.0, 0.5, 0.25, ((1.0, 0.5, 0.25),))
    state.in_flight, state.pending_tokens, state.scraped_at, state.name = 9, 9, 9.0, "renamed"
    state.pace = 3.0
    assert (seen.endpoint, seen.name, seen.slot) == ("10.0.0.4:8000", "pod-3", 3)
    assert (seen.in_flight, seen.pending_tokens, seen.scraped_at, seen.pace) == (2, 70, 1.5, 1.0)


def test_agreement_is_about_everything() -> None:
    def seen(base: float = 1.0, shared: float = 0.25, lines: tuple[Line, ...] = (), **fields: object) -> Seen:
        return Seen(a_state(0, "", **fields), base, 0.5, shared, lines)

    assert seen().agrees(seen())
    others = [seen(2.0), seen(shared=0.5), seen(lines=((1.0, 0.5, 0.0),)), seen(in_flight=1), seen(name="x")]
    others += [seen(scraped_at=1.0), seen(pace=2.0)]
    assert not any(seen().agrees(other) for other in others)
