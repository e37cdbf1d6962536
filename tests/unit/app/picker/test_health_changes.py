"""Changes of health: each is told, the last one always, and flapping fills no log."""

import hypothesis.strategies as st
from hypothesis import given

from headgate.app.picker.health_changes import MOST_TOLD, WITHIN_S, HealthChanges, Told
from headgate.model.ids import EndpointId

A, B = EndpointId("10.0.0.1:80"), EndpointId("10.0.0.2:80")
BOTH = {A, B}
ILL: dict[str, tuple[Told, str]] = {"a": ("down", "x")}


def told(changes: HealthChanges, now: float, **unwell: tuple[Told, str]) -> list[str]:
    names = {"a": A, "b": B}
    return [str(each) for each in changes.update({names[k]: v for k, v in unwell.items()}, BOTH, now)]


def test_a_replica_that_crashes_and_recovers() -> None:
    changes = HealthChanges()
    assert told(changes, 0.0) == []
    assert told(changes, 1.0, a=("suspect", "no sign of life for 0.8 s")) == [
        "10.0.0.1:80 is hanging: no sign of life for 0.8 s"
    ]
    assert told(changes, 2.0, a=("down", "scrape refused")) == ["10.0.0.1:80 is down: scrape refused"]
    assert told(changes, 3.0, a=("probing", "scrape refused")) == []
    assert told(changes, 3.5, a=("down", "scrape refused")) == []
    assert told(changes, 4.0) == ["10.0.0.1:80 is up again after 3.0 s"]
    assert told(changes, 5.0) == []


def test_one_that_refuses_what_others_answer() -> None:
    changes = HealthChanges()
    why = "answered 404, 5 in a row, where others answer well"
    assert told(changes, 0.0, a=("refusing", why)) == [f"10.0.0.1:80 is up and refuses requests: {why}"]
    assert told(changes, 5.0, a=("refusing", why)) == []
    assert told(changes, 9.0) == ["10.0.0.1:80 is up again after 9.0 s"]


def test_one_that_nobody_tries_is_told_of() -> None:
    changes = HealthChanges()
    told(changes, 0.0, a=("down", "scrape refused"))
    assert told(changes, 1.0, a=("probing", "scrape refused")) == []
    assert told(changes, 3.0, a=("probing", "scrape refused")) == [
        "10.0.0.1:80 may be well again, the next request tries it"
    ]
    assert told(changes, 9.0) == ["10.0.0.1:80 is up again after 9.0 s"]


def test_one_that_left_is_not_said_to_be_up() -> None:
    changes = HealthChanges()
    changes.update({A: ("down", "x")}, BOTH, 0.0)
    assert changes.update({}, {B}, 1.0) == []
    assert changes.update({}, BOTH, 2.0) == []


def test_flapping_is_summed_up() -> None:
    changes = HealthChanges()
    lines = []
    for step in range(200):
        lines += told(changes, step * 0.25, **(ILL if step % 2 else {}))
    assert len(lines) == MOST_TOLD
    late = told(changes, WITHIN_S + 1.0, a=("down", "x"))
    assert late == ["10.0.0.1:80 is down: x; 192 more changes before that"]


CONDITIONS: st.SearchStrategy[Told] = st.sampled_from(["up", "suspect", "down", "probing", "refusing"])


@given(st.lists(st.tuples(CONDITIONS, st.floats(0.1, 30.0)), max_size=60))
def test_what_was_told_last_is_true_in_the_end(story: list[tuple[Told, float]]) -> None:
    changes = HealthChanges()
    now, last = 0.0, "up"
    times: list[float] = []
    for condition, pause_s in [*story, *([(story[-1][0], WITHIN_S)] * 3 if story else [])]:
        now += pause_s
        unwell: dict[EndpointId, tuple[Told, str]] = {} if condition == "up" else {A: (condition, "x")}
        for change in changes.update(unwell, BOTH, now):
            assert change.condition != last
            last = change.condition
            times.append(now)
        assert sum(1 for time in times if now - time < WITHIN_S) <= MOST_TOLD
    if story:
        assert last == story[-1][0]
