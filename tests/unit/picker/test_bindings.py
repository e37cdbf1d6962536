"""The bounded map of who was sent where, against a plain one."""

import hypothesis.strategies as st
from hypothesis import given

from headgate.model.ids import EndpointId
from headgate.picker.bindings import Bindings

MOST, IDLE_S = 4, 10.0
steps = st.lists(
    st.tuples(st.sampled_from(["put", "get"]), st.sampled_from("abcdefg"), st.floats(0.0, 6.0)), max_size=60
)


@given(steps)
def test_it_holds_the_last_used_ones_for_their_time(story: list[tuple[str, str, float]]) -> None:
    bindings = Bindings(MOST, IDLE_S)
    put: dict[str, tuple[EndpointId, float]] = {}
    now = 0.0
    for number, (what, name, pause) in enumerate(story):
        now += pause
        if what == "put":
            put.pop(name, None)
            put[name] = EndpointId(f"e{number}"), now
            bindings.put(name, put[name][0], now)
        known = [key for key, (_, used) in put.items() if now - used <= IDLE_S][-MOST:]
        assert bindings.get(name, now) == (put[name][0] if name in known else None)
        bindings.check()
        assert bindings.view().size == len(bindings) <= bindings.view().most == MOST
