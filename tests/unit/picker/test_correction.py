"""Load that is somebody else's."""

import pytest
from tests.unit.picker.picker_builders import an_endpoint

from headgate.model.load import Load
from headgate.picker.concerns import Concerns
from headgate.picker.correction import Correction
from headgate.scheduling.api import EndpointState


@pytest.mark.parametrize(
    ("waiting", "running", "peak", "extra"),
    [
        (3, 2, 1, (4, 30, 400)),
        (0, 5, 1, (4, 0, 400)),
        (9, 0, 8, (1, 10, 100)),
        (1, 1, 2, (0, 0, 0)),
        (0, 0, 9, (0, 0, 0)),
    ],
)
def test_what_an_engine_reports_beyond_ours(
    waiting: int, running: int, peak: int, extra: tuple[int, int, int]
) -> None:
    concerns = Concerns()
    state = EndpointState(an_endpoint("a"), 0, concerns)
    correction = Correction(state)
    correction.failed("timeout")
    correction.scraped(Load("vllm", waiting, running), 1.0, peak, 10.0, 100.0)
    correction.check()
    assert (state.extra_requests, state.extra_pending_tokens, state.extra_context_tokens) == extra
    assert correction.error is None
    assert concerns.queueing == ({state} if waiting else set())


def test_an_old_scrape_is_forgotten_and_a_failed_one_changes_nothing() -> None:
    concerns = Concerns()
    state = EndpointState(an_endpoint("a"), 0, concerns)
    correction = Correction(state)
    assert not correction.stale(100.0, 2.0)
    correction.scraped(Load("vllm", 3, 2), 1.0, 0, 10.0, 100.0)
    correction.failed("refused")
    assert (correction.error, state.extra_requests) == ("refused", 5)
    assert not correction.stale(3.0, 2.0)
    assert correction.stale(3.1, 2.0)
    correction.forget()
    correction.check()
    assert (state.load, state.extra_requests, state.scraped_at) == (None, 0, 1.0)
    assert not concerns.queueing
    assert not correction.stale(9.0, 2.0)
