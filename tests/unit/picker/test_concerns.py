"""What needs looking at again."""

from functools import partial

from tests.unit.picker.picker_builders import an_endpoint

from headgate.model.load import Load
from headgate.picker.concerns import Concerns
from headgate.picker.health import Health
from headgate.picker.settings import HealthSettings
from headgate.scheduling.api import EndpointState


def test_who_leaves_concerns_nobody_and_who_returns_is_as_it_was() -> None:
    concerns, state = Concerns(), EndpointState(an_endpoint("a"), 0)
    state.correct(Load("vllm", 1, 2), 0.0, 0, 0, 0)
    state.crowd(True, 2.0, 0.0)
    for told in (concerns.unwell, concerns.queueing, concerns.full):
        told.add(state)
    concerns.left(state)
    assert not (concerns.unwell or concerns.queueing or concerns.full)
    concerns.returned(state, plain=False)
    assert concerns.unwell == concerns.queueing == concerns.full == {state}
    concerns.left(state)
    state.crowd(False, 2.0, 0.0)
    state.correct(None, 0.0, 0, 0, 0)
    concerns.returned(state, plain=True)
    assert not (concerns.unwell or concerns.queueing or concerns.full)


def test_each_is_told_by_itself() -> None:
    concerns, state = Concerns(), EndpointState(an_endpoint("a"), 0)
    concerns.plain(state, False)
    concerns.queues(state, True)
    concerns.fills(state, True)
    assert (concerns.unwell, concerns.queueing, concerns.full) == ({state}, {state}, {state})
    concerns.queues(state, False)
    concerns.fills(state, False)
    concerns.plain(state, True)
    assert not (concerns.unwell or concerns.queueing or concerns.full)


def test_whatever_changes_a_state_or_its_health_tells() -> None:
    concerns = Concerns()
    state = EndpointState(an_endpoint("a"), 0, concerns)
    health = Health(HealthSettings(), partial(concerns.plain, state))
    state.correct(Load("vllm", 1, 2), 0.0, 0, 0, 0)
    state.crowd(True, 2.0, 0.0)
    health.failed(1.0, "gone")
    assert (concerns.unwell, concerns.queueing, concerns.full) == ({state}, {state}, {state})
    state.correct(None, 0.0, 0, 0, 0)
    state.crowd(False, 2.0, 0.0)
    health.refresh(3.0, overdue=False)
    assert (concerns.unwell, concerns.queueing, concerns.full) == ({state}, set(), set()), "it is tried"
    health.answered(4.0, 5.0)
    health.refresh(60.0, overdue=False)
    assert not concerns.unwell
