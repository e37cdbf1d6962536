"""Signs of life, and what their absence means."""

import pytest
from tests.unit.picker.picker_builders import an_endpoint, booking

from headgate.model.load import Load
from headgate.picker.bookings import Bookings
from headgate.picker.concerns import Concerns
from headgate.picker.health import Health
from headgate.picker.liveness import Liveness
from headgate.picker.settings import HealthSettings
from headgate.picker.tracked import Booking
from headgate.scheduling.api import EndpointState

SETTINGS = HealthSettings()


class Engine:
    """An endpoint that is scraped and answers."""

    def __init__(self) -> None:
        self.state = EndpointState(an_endpoint("a"), 0)
        self.health = Health(SETTINGS)
        self.bookings = Bookings(self.state, Concerns())
        self.liveness = Liveness(self.state, self.health, self.bookings, SETTINGS)

    def book(self, stream: int, now: float, predicted_s: float = 0.1) -> Booking:
        made = booking(stream, predicted_s=predicted_s, sent_at=now)
        self.bookings.add(made)
        return made

    def scrape(
        self, progress: float | None, now: float, running: int = 1, started: float | None = None
    ) -> bool:
        self.state.correct(Load("vllm", 0, running, progress=progress), now, 0, 0, 0)
        restarted = self.liveness.scraped(progress, started, now)
        self.liveness.check()
        return restarted


def test_progress_that_goes_backwards_is_a_restart() -> None:
    engine = Engine()
    assert [engine.scrape(progress, at) for at, progress in enumerate([50.0, 60.0, None, 1.0])] == [
        False,
        False,
        False,
        True,
    ]


def test_a_process_that_began_later_is_a_restart_whatever_its_counters_say() -> None:
    engine = Engine()
    told = [(0.0, 100.0), (50.0, 100.0), (50.0, None), (70.0, 100.0), (90.0, 130.0), (95.0, 130.0)]
    found = [engine.scrape(progress, float(now), started=began) for now, (progress, began) in enumerate(told)]
    assert found == [False, False, False, False, True, False]


def test_several_processes_behind_one_address_are_no_restarts() -> None:
    engine = Engine()
    found = [engine.scrape(float(now), float(now), started=began) for now, began in enumerate([1.0, 2.0] * 4)]
    assert found == [False, True] + [False] * 6, "one mistake, until the first comes again"


def test_late_is_later_than_predicted_there() -> None:
    engine = Engine()
    assert not engine.liveness.late(9.0)
    one = engine.book(1, 1.0)
    assert not engine.liveness.late(1.05)
    assert engine.liveness.late(1.2)
    engine.liveness.lateness = 3.0
    assert not engine.liveness.late(1.2)
    engine.bookings.heard_of(one)
    assert not engine.liveness.late(9.0)


def test_a_counter_that_stands_still_while_a_request_waits_is_a_hang() -> None:
    engine = Engine()
    engine.scrape(5.0, 0.0)
    engine.book(1, 0.1)
    at = 0.1 + SETTINGS.patience_s + SETTINGS.quiet_s
    engine.scrape(5.0, at)
    assert engine.liveness.overdue(at, blind=False) is not None
    engine.scrape(6.0, at)
    assert engine.liveness.overdue(at, blind=False) is None


def test_a_counter_that_shows_no_token_is_not_believed() -> None:
    engine = Engine()
    engine.scrape(5.0, 0.0)
    one = engine.book(1, 0.1)
    engine.liveness.produced(one, 0.2)
    engine.bookings.heard_of(one)
    engine.scrape(5.0, 5.0)
    engine.book(2, 5.0, predicted_s=1000.0)
    assert engine.liveness.overdue(30.0, blind=False) is None, (
        "without a counter patience follows what was predicted"
    )


def test_only_a_suspicion_that_proved_wrong_makes_patient_and_long_answers_in_time_impatient() -> None:
    engine = Engine()
    engine.book(1, 0.0)
    engine.liveness.sign(1.0)
    assert engine.liveness.lateness == 1.0
    engine.health.hanging(1.9, "no sign of life")
    engine.liveness.sign(2.0)
    assert engine.liveness.lateness == pytest.approx(1 + 0.5 * (min(SETTINGS.latest, 20) - 1))
    engine.liveness.lateness = 5.0
    engine.liveness.answered(booking(2, predicted_s=2.0, sent_at=1.0), 3.0)
    assert engine.liveness.lateness == pytest.approx(5 - 0.05 * 4)
    engine.liveness.answered(booking(3, predicted_s=0.1, sent_at=1.0), 1.05)
    assert engine.liveness.lateness == pytest.approx(5 - 0.05 * 4)
