"""What needs looking at again."""

from tests.unit.picker.picker_builders import an_endpoint

from headgate.model.load import Load
from headgate.picker.concerns import Concerns
from headgate.scheduling.api import EndpointState


def test_who_leaves_concerns_nobody_and_who_returns_is_as_it_was() -> None:
    concerns, state = Concerns(), EndpointState(an_endpoint("a"), 0)
    state.correct(Load("vllm", 1, 2), 0.0, 0, 0, 0)
    state.full = True
    for told in (concerns.unwell, concerns.queueing, concerns.full):
        told.add(state)
    concerns.left(state)
    assert not (concerns.unwell or concerns.queueing or concerns.full)
    concerns.returned(state, plain=False)
    assert concerns.unwell == concerns.queueing == concerns.full == {state}
    concerns.left(state)
    state.full = False
    state.correct(None, 0.0, 0, 0, 0)
    concerns.returned(state, plain=True)
    assert not (concerns.unwell or concerns.queueing or concerns.full)


def test_each_is_told_by_itself() -> None:
    concerns, state = Concerns(), EndpointState(an_endpoint("a"), 0)
    concerns.unsettled(state)
    concerns.queues(state, True)
    concerns.fills(state, True)
    assert (concerns.unwell, concerns.queueing, concerns.full) == ({state}, {state}, {state})
    concerns.queues(state, False)
    concerns.fills(state, False)
    concerns.settled(state)
    assert not (concerns.unwell or concerns.queueing or concerns.full)
