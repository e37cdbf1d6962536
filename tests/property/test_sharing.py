"""Who shares a cached prefix: counted when booked, uncounted once when over, whatever happens between."""

import random

import hypothesis.strategies as st
from hypothesis import event, given
from tests.unit.picker.picker_builders import (
    KEY,
    a_pool,
    address,
    arrives,
    blocks,
    ends,
    no_scrape,
    scrape,
    short,
    starts,
    token,
)

from headgate.picker.actions import Conclude, Route
from headgate.picker.events import Event, Woken
from headgate.picker.machine import PoolMachine
from headgate.picker.settings import MachineSettings
from headgate.scheduling.prefix import PrefixIndex
from headgate.scheduling.profiles import PROFILES

names = st.sampled_from("abc")
numbers = st.integers(0, 30)
happenings = st.one_of(
    st.tuples(st.just("arrive"), st.sampled_from(["", "h", "hot", "hot1", "hot2", "hotter", "cold"])),
    st.tuples(st.just("arrive"), st.sampled_from(["hot1", "hot2"])),
    st.builds(lambda n, ending: ends(n, ending), numbers, st.sampled_from(["complete", "aborted", "failed"])),
    st.builds(lambda n, status: starts(n, status), numbers, st.sampled_from([200, 404, 503])),
    st.builds(lambda n, name: starts(n, 200, name), numbers, names),
    st.builds(token, numbers),
    st.builds(lambda picked: a_pool("".join(sorted(picked))), st.sets(names)),
    st.builds(no_scrape, names),
    st.builds(lambda name, progress: scrape(name, progress=progress), names, st.floats(0, 9)),
    st.tuples(st.just("wait"), st.sampled_from([0.1, 9.0, 4000.0])),
)


@given(story=st.lists(happenings, max_size=60), policy=st.sampled_from(sorted(PROFILES)))
def test_a_decision_counts_the_requests_in_flight_behind_its_prefix(
    story: list[Event | tuple[str, object]], policy: str
) -> None:
    index = PrefixIndex()
    machine = PoolMachine(KEY, PROFILES[policy], MachineSettings(), random.Random(1), index)
    machine.handle(a_pool("abc"), 0.0)
    behind: dict[int, str] = {}
    now, stream = 0.0, 0
    for what in story:
        prompt = ""
        match what:
            case ("wait", float(seconds)):
                now += seconds
                continue
            case ("arrive", str(asked)):
                stream, prompt = stream + 1, asked
                happened: Event = arrives(stream, prompt)
            case _:
                happened = what  # type: ignore[assignment]
        found = index.match(blocks(prompt))
        for action in machine.handle(happened, now):
            if isinstance(action, Conclude):
                behind.pop(action.stream, None)
            elif isinstance(action, Route):
                prefix = prompt[: max(found.values(), default=0)]
                expected = sum(one == prefix for one in behind.values()) if prefix else 0
                assert action.decision.written().sharers == expected
                event("shared" if expected else "not shared")
                behind[action.stream] = prefix
        machine.check()
    for action in machine.handle(Woken(), now):  # those that nobody ended for an hour
        if isinstance(action, Conclude):
            del behind[action.stream]
    for open_stream in list(behind):
        assert short(machine.handle(ends(open_stream), now))
    machine.handle(a_pool("a"), now)
    for prompt in ("hot1", "hot2", "cold", "h"):
        stream += 1
        (route,) = [one for one in machine.handle(arrives(stream, prompt), now) if isinstance(one, Route)]
        assert route.decision.written().sharers == 0, "nothing is left of those that are over"
        machine.handle(ends(stream), now)
    assert address("a") in route.endpoints
