"""Changes of pools over time: any sequence of them, at any times."""

from collections.abc import Iterator

from hypothesis import example, given
from hypothesis import strategies as st

from headgate.app.picker.pools import fixed_pool
from headgate.app.picker.settling import Settling
from headgate.model.endpoints import Pool
from headgate.model.ids import EndpointId, PoolKey

SETTLE_S = 8
"""Of a clock that counts in whole numbers, so that everything can fall together."""

KEYS = (PoolKey("default/a"), PoolKey("default/b"))
PODS = tuple(EndpointId(f"10.0.0.{number}:80") for number in range(4))

State = dict[PoolKey, frozenset[EndpointId]]
Told = list[tuple[int, State]]
"""How long after the one before, and the pools with their pods."""

states = st.dictionaries(st.sampled_from(KEYS), st.frozensets(st.sampled_from(PODS)))
histories = st.lists(st.tuples(st.integers(0, 2 * SETTLE_S), states), max_size=12)


class Served:
    """What is served, put together of the changes."""

    def __init__(self) -> None:
        self.settling = Settling(SETTLE_S)
        self._pools: dict[PoolKey, Pool] = {}

    def tell(self, state: State, now: int) -> None:
        """These are all pools now."""
        for key in KEYS:
            self.settling.tell(key, fixed_pool(key, state[key]) if key in state else None, now)

    def at(self, now: int) -> State:
        """What is served; nothing is told that is so already."""
        for key, pool in self.settling.take(now).items():
            assert self._pools.get(key) != pool
            if pool is None:
                del self._pools[key]
            else:
                self._pools[key] = pool
        return {key: frozenset(each.id for each in pool.endpoints) for key, pool in self._pools.items()}


def played(history: Told) -> Iterator[tuple[int, State, list[State]]]:
    """At every moment: the time, what is served, and the states that were true within the last `SETTLE_S`."""
    subject = Served()
    told: list[tuple[int, State]] = [(-SETTLE_S, {})]
    moments: dict[int, list[State]] = {}
    at = 0
    for gap, state in history:
        at += gap
        moments.setdefault(at, []).append(state)
    for now in range(at + SETTLE_S + 2):
        for state in moments.get(now, ()):
            subject.tell(state, now)
            told.append((now, state))
        served = subject.at(now)
        since = max(index for index, (when, _) in enumerate(told) if when <= now - SETTLE_S)
        yield now, served, [state for _, state in told[since:]]


A = KEYS[0]
BOTH, ONE = frozenset(PODS[:2]), frozenset(PODS[:1])


@given(histories)
@example([(0, {A: BOTH}), (9, {A: ONE}), (3, {A: BOTH})])
@example([(0, {A: ONE}), (9, {A: BOTH}), (3, {A: ONE})])
def test_what_was_told_last_is_served_in_the_end(history: Told) -> None:
    _, served, _ = list(played(history))[-1]
    assert served == (history[-1][1] if history else {})


@given(histories)
@example([(0, {A: BOTH}), (9, {A: ONE}), (3, {A: BOTH})])
def test_a_pod_is_dropped_only_when_the_newest_state_does_not_have_it(history: Told) -> None:
    before: State = {}
    for _, served, recent in played(history):
        for key, pods in before.items():
            newest = recent[-1].get(key)
            if newest is None:
                assert key in served or all(key not in state for state in recent)
            else:
                assert pods & newest <= served[key]
        before = served


@given(histories)
@example([(0, {A: ONE}), (9, {A: BOTH}), (3, {A: ONE})])
def test_nothing_is_served_that_was_not_there_within_the_settling_time(history: Told) -> None:
    for _, served, recent in played(history):
        for key, pods in served.items():
            assert pods <= frozenset().union(*(state.get(key, frozenset()) for state in recent))


@given(histories)
def test_what_has_stood_for_the_settling_time_is_served(history: Told) -> None:
    for _, served, recent in played(history):
        for key in KEYS:
            if all(key in state for state in recent):
                stood = frozenset.intersection(*(state[key] for state in recent))
                assert stood <= served[key]


@given(histories)
def test_a_pool_that_was_not_served_is_served_at_once(history: Told) -> None:
    for _, served, recent in played(history):
        assert recent[-1].keys() <= served.keys()


def test_a_new_pod_waits_unless_there_is_no_other() -> None:
    subject = Served()
    subject.tell({A: ONE}, 0)
    subject.tell({A: BOTH}, 1)
    subject.tell({A: frozenset(PODS[:3])}, 5)
    assert [subject.at(now)[A] for now in (8, 9, 12)] == [ONE, BOTH, BOTH]
    assert subject.at(13) == {A: frozenset(PODS[:3])}
    subject.tell({A: frozenset()}, 20)
    subject.tell({A: frozenset(PODS[3:])}, 24)
    found = [subject.at(now)[A] for now in (27, 28)]
    assert found == [frozenset(PODS[:3]), frozenset(PODS[3:])]
    assert subject.settling.due == 32
    assert subject.at(32) == {A: frozenset(PODS[3:])} and subject.settling.due is None


def test_a_pool_that_comes_and_goes_within_one_look_was_never_there() -> None:
    subject = Served()
    subject.tell({A: ONE}, 0)
    subject.tell({}, 0)
    assert subject.at(SETTLE_S) == {}
