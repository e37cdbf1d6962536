"""Ends get lost; an engine counts truly. The books come to agree, and never fall below the truth."""

import random

from hypothesis import Phase, example, given, settings
from hypothesis import strategies as st
from tests.unit.picker.picker_builders import a_machine, address, arrives, ends, scrape, starts, token

STEP_S = 0.1
START_LAG_S = 0.8
"""At most so long after it was sent, the engine counts a request."""
END_LAG_S = 1.7
"""At most so long after it ended, an end is told, if it is."""


@settings(max_examples=40, deadline=None, phases=[Phase.explicit, Phase.reuse, Phase.generate])
@given(
    seed=st.integers(0, 2**32),
    every=st.sampled_from([0.2, 0.5, 1.0]),
    lost_share=st.sampled_from([0.0, 0.1, 0.5, 1.0]),
    load=st.sampled_from([0.05, 0.4]),
    longest_s=st.sampled_from([1.0, 8.0, 60.0]),
    foreign=st.sampled_from([0, 3]),
)
@example(seed=217, every=1.0, lost_share=0.5, load=0.4, longest_s=60.0, foreign=0)
@example(seed=1606, every=1.0, lost_share=1.0, load=0.05, longest_s=1.0, foreign=0)
def test_the_books_heal_and_never_fall_below_the_truth(
    seed: int, every: float, lost_share: float, load: float, longest_s: float, foreign: int
) -> None:
    dice = random.Random(seed)
    machine = a_machine("a")
    only_a = (address("a"),)
    running: dict[int, tuple[float, float]] = {}
    telling: list[tuple[float, int]] = []
    stream = 0
    scrape_at = progress = now = 0.0
    while now < 40.0 or running or telling:
        now += STEP_S
        if now < 40.0 and dice.random() < load:
            stream += 1
            machine.handle(arrives(stream, chr(200 + stream), subset=only_a), now)
            running[stream] = now + START_LAG_S * dice.random(), now + START_LAG_S + longest_s * dice.random()
        for each, (_, end) in list(running.items()):
            if end <= now:
                del running[each]
                progress += 1  # what it produced since the last scrape
                if dice.random() >= lost_share:
                    telling.append((now + END_LAG_S * dice.random(), each))
        due = [each for at, each in telling if at <= now]
        telling = [(at, each) for at, each in telling if at > now]
        for each in due:
            for event in (starts(each), token(each), ends(each)):
                machine.handle(event, now)
        if scrape_at <= now:
            scrape_at = now + every
            counted = sum(begun <= now for begun, _ in running.values())
            progress += counted
            machine.handle(scrape("a", running=counted + foreign, progress=progress), now)
            assert machine.view(now).in_flight >= len(running)
    machine.check()
    for _ in range(30):
        now += every
        machine.handle(scrape("a", progress=progress), now)
    assert machine.view(now).in_flight == 0 or not stream
    machine.check()
