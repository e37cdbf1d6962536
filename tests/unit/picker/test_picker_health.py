"""How endpoints stop being chosen and come back: scripts over the whole machine, then the condition alone."""

from collections import Counter
from collections.abc import Iterator

import pytest
from tests.unit.picker.picker_builders import (
    a_machine,
    address,
    arrives,
    ends,
    letter,
    no_scrape,
    pick,
    routed,
    run,
    scrape,
    starts,
    token,
)

from headgate.model.ids import StreamId
from headgate.picker.events import ResponseStarted, Woken
from headgate.picker.health import Health
from headgate.picker.machine import PoolMachine
from headgate.picker.settings import HealthSettings
from headgate.scheduling.api import COOLING, DOWN, FINE, SUSPECT

ONLY_A = (address("a"),)


@pytest.fixture
def machine() -> Iterator[PoolMachine]:
    """Endpoints a, b, c."""
    made = a_machine("abc")
    yield made
    made.check()


def condition(machine: PoolMachine, now: float, name: str = "a") -> str:
    return next(one.condition for one in machine.view(now).endpoints if one.endpoint == address(name))


def spread(machine: PoolMachine, now: float, count: int = 12, first: int = 10_000) -> Counter[str]:
    """Where that many cold requests go at once; each is aborted afterwards."""
    fresh = chr(1000 + round(now * 100))
    picks = Counter(pick(machine, arrives(first + n, fresh + chr(500 + n) * 3), now) for n in range(count))
    for n in range(count):
        machine.handle(ends(first + n, "aborted", None), now)
    return picks


@pytest.mark.parametrize("error", ["refused", "unreachable"])
def test_a_refused_scrape_is_death_until_scrapes_work_again(machine: PoolMachine, error: str) -> None:
    machine.handle(arrives(1, "abcd", subset=ONLY_A), 0.0)
    machine.handle(ends(1), 0.1)
    machine.handle(no_scrape("a", error), 0.2)
    assert machine.view(0.2).endpoints[0].prefix_blocks == (0 if error == "refused" else 4)
    assert spread(machine, 0.21)["a"] == 0
    assert routed(machine, arrives(2, "x"), 0.3).endpoints[-1] == address("a")
    machine.handle(no_scrape("a", error), 20.0)
    assert spread(machine, 20.1)["a"] == 0
    machine.handle(scrape("a"), 20.2)
    assert spread(machine, 20.3)["a"] == 1
    machine.handle(arrives(3, "x", subset=ONLY_A), 20.4)
    run(machine, [(20.5, starts(3), []), (20.6, token(3), []), (20.7, ends(3), ["complete 200"])])
    assert condition(machine, 20.7) == "up"
    assert machine.view(20.7).endpoints[0].ramp == pytest.approx(0.1, abs=0.05)
    assert machine.view(40.0).endpoints[0].ramp == 1.0


@pytest.mark.parametrize("error", ["http-404", "unknown-metrics", "too-large"])
def test_an_endpoint_without_metrics_is_merely_unknown(machine: PoolMachine, error: str) -> None:
    for n in range(5):
        machine.handle(no_scrape("a", error), 0.2 * n)
    assert spread(machine, 1.1) == {"a": 4, "b": 4, "c": 4}
    assert machine.view(1.2).endpoints[0].scrape_error == error


def test_two_timed_out_scrapes_are_suspicious_and_the_next_answer_heals(machine: PoolMachine) -> None:
    machine.handle(no_scrape("a", "timeout"), 0.0)
    assert spread(machine, 0.1)["a"] == 4
    machine.handle(no_scrape("a", "timeout"), 0.2)
    assert spread(machine, 0.3)["a"] == 0


def test_slow_metrics_of_an_endpoint_that_answers_are_no_suspicion(machine: PoolMachine) -> None:
    for n in range(6):
        machine.handle(arrives(n, "x", subset=ONLY_A), 0.5 * n)
        machine.handle(token(n), 0.5 * n)
        machine.handle(no_scrape("a", "timeout"), 0.5 * n + 0.1)
        machine.handle(ends(n), 0.5 * n + 0.2)
        assert condition(machine, 0.5 * n + 0.2) == "up"
    machine.handle(no_scrape("a", "timeout"), 4.0)
    assert condition(machine, 4.0) == "suspect"


def test_an_endpoint_that_envoy_passed_over_rests_and_after_three_is_down(machine: PoolMachine) -> None:
    route = routed(machine, arrives(1, "abcd"), 0.0)
    picked, second = (letter(one) for one in route.endpoints[:2])
    machine.handle(starts(1, served=second), 0.1)
    flying = {letter(one.endpoint): (one.in_flight, one.prefix_blocks) for one in machine.view(0.1).endpoints}
    assert flying[picked][0] == 0
    assert flying[second] == (1, 4)
    assert condition(machine, 0.1, picked) == "up"
    assert spread(machine, 0.2)[picked] == 0
    assert spread(machine, 0.7)[picked] > 0
    machine.handle(ends(1), 0.7)
    for n, now in ((2, 1.0), (3, 1.1)):
        assert condition(machine, now, picked) == "up"
        machine.handle(arrives(n, "x", subset=(address(picked),)), now)
        machine.handle(starts(n, served=second), now)
        machine.handle(ends(n), now)
    assert condition(machine, 1.1, picked) == "down"


def test_a_trial_that_envoy_passed_over_has_failed(machine: PoolMachine) -> None:
    machine.handle(arrives(1, "x", subset=ONLY_A), 0.0)
    machine.handle(ends(1, "failed", None), 0.0)
    machine.handle(arrives(2, "x", subset=ONLY_A), 1.1)
    assert condition(machine, 1.1) == "probing"
    machine.handle(starts(2, served="b"), 1.2)
    assert condition(machine, 1.2) == "down"
    machine.handle(ends(2), 1.3)


def test_a_served_name_that_nobody_knows_proves_nothing(machine: PoolMachine) -> None:
    picked = pick(machine, arrives(1, "abcd"), 0.0)
    machine.handle(starts(1, served="z"), 0.1)
    assert condition(machine, 0.1, picked) == "up"
    assert machine.view(0.1).in_flight == 1
    machine.handle(ends(1), 0.2)


def test_the_end_alone_may_tell_who_served(machine: PoolMachine) -> None:
    route = routed(machine, arrives(1, "abcd"), 0.0)
    picked, second = (letter(one) for one in route.endpoints[:2])
    machine.handle(ends(1, served=second), 0.5)
    assert spread(machine, 0.6)[picked] == 0
    assert spread(machine, 0.7)[second] > 0


def test_an_answer_of_the_data_plane_itself_means_nobody_answered(machine: PoolMachine) -> None:
    run(machine, [(0.0, arrives(1, "x", subset=ONLY_A), ["route a"]), (0.1, starts(1, 503, local=True), [])])
    assert condition(machine, 0.1) == "down"
    run(machine, [(0.2, ends(1, "failed", 503), ["failed 503"])])
    run(
        machine,
        [(0.3, arrives(2, "x", subset=(address("b"),)), ["route b"]), (0.4, starts(2, 413, local=True), [])],
    )
    assert condition(machine, 0.4, "b") == "up"
    machine.handle(ends(2, "complete", 413), 0.5)


def test_a_failure_without_an_answer_is_down_and_an_abort_is_nothing(machine: PoolMachine) -> None:
    run(
        machine,
        [
            (0.0, arrives(1, "x", subset=ONLY_A), ["route a"]),
            (0.1, ends(1, "aborted", None), ["aborted None"]),
        ],
    )
    assert condition(machine, 0.1) == "up"
    run(
        machine,
        [(0.2, arrives(2, "x", subset=ONLY_A), ["route a"]), (0.3, ends(2, "failed", None), ["failed None"])],
    )
    assert condition(machine, 0.3) == "down"


def test_three_errors_in_a_row_rest_an_endpoint_and_backoff_doubles(machine: PoolMachine) -> None:
    def fail(stream: int, now: float) -> None:
        machine.handle(arrives(stream, "x", subset=ONLY_A), now)
        machine.handle(starts(stream, 500), now)
        machine.handle(ends(stream, "complete", 500), now)

    fail(1, 0.0)
    fail(2, 0.1)
    machine.handle(arrives(3, "x", subset=ONLY_A), 0.15)
    machine.handle(starts(3, 200), 0.16)
    machine.handle(ends(3), 0.17)
    fail(4, 0.2)
    fail(5, 0.3)
    assert condition(machine, 0.3) == "up"
    fail(6, 0.4)
    assert condition(machine, 0.4) == "down"
    assert spread(machine, 1.3)["a"] == 0
    assert spread(machine, 1.5)["a"] == 1
    fail(7, 1.6)
    assert spread(machine, 3.4)["a"] == 0
    assert spread(machine, 3.7)["a"] == 1


def test_one_trial_at_a_time(machine: PoolMachine) -> None:
    machine.handle(arrives(1, "x", subset=ONLY_A), 0.0)
    machine.handle(ends(1, "failed", None), 0.0)
    picks = [pick(machine, arrives(n, chr(500 + n) * 3), 1.1) for n in range(10, 22)]
    assert picks.count("a") == 1
    trial = 10 + picks.index("a")
    machine.handle(ends(trial, "aborted", None), 1.2)
    assert spread(machine, 1.3)["a"] == 1
    assert spread(machine, 1.4, 1, 20_000)["a"] == 1


def test_a_throttled_endpoint_cools_down_without_blame(machine: PoolMachine) -> None:
    machine.handle(arrives(1, "x", subset=ONLY_A), 0.0)
    machine.handle(starts(1, 429), 0.1)
    machine.handle(ends(1, "complete", 429), 0.1)
    assert spread(machine, 0.2)["a"] == 0
    assert machine.view(0.2).endpoints[0].reason == "cooling down after 429"
    assert spread(machine, 0.7)["a"] == 4


def hang(machine: PoolMachine, until: float, progress: float | None = 100.0) -> None:
    """a is scraped every 200 ms and works no more; b and c work on."""
    now = 0.0
    step = 0
    while now <= until:
        step += 1
        machine.handle(scrape("a", running=1, progress=progress), now)
        for name in "bc":
            machine.handle(scrape(name, running=1, progress=float(step)), now)
        machine.handle(Woken(), now + 0.1)
        now += 0.2


def test_a_hanging_endpoint_is_avoided_within_a_second_and_heals_at_once(machine: PoolMachine) -> None:
    machine.handle(scrape("a", progress=100.0), -0.2)
    for n, name in enumerate("abc"):
        machine.handle(arrives(n, "x", subset=(address(name),)), 0.0)
    hang(machine, 0.8)
    assert condition(machine, 0.9) == "suspect"
    assert condition(machine, 0.9, "b") == "up"
    assert spread(machine, 0.95)["a"] == 0
    machine.handle(scrape("a", running=1, progress=101.0), 1.0)
    assert spread(machine, 1.05) == {"a": 4, "b": 4, "c": 4}
    for n in range(3):
        machine.handle(ends(n), 1.1)


def test_a_frozen_process_whose_scrapes_time_out_is_hanging(machine: PoolMachine) -> None:
    machine.handle(scrape("a", progress=100.0), -0.1)
    run(machine, [(0.0, arrives(1, "x", subset=ONLY_A), ["route a"]), (0.6, no_scrape("a", "timeout"), [])])
    assert condition(machine, 0.6) == "up"
    machine.handle(Woken(), 0.8)
    assert condition(machine, 0.8) == "suspect"
    run(machine, [(0.9, token(1), []), (1.0, ends(1), ["complete 200"])])
    assert condition(machine, 1.0) == "up"


def test_a_long_prefill_is_not_a_hang(machine: PoolMachine) -> None:
    machine.handle(scrape("a", progress=100.0), -0.2)
    machine.handle(arrives(1, "x" * 3000, subset=ONLY_A), 0.0)
    hang(machine, 3.0)
    assert condition(machine, 3.1) == "up"
    hang(machine, 6.0)
    assert condition(machine, 6.1) == "suspect"
    machine.handle(ends(1, "aborted", None), 6.2)


def test_without_progress_only_a_longer_wait_is_suspicious(machine: PoolMachine) -> None:
    machine.handle(arrives(1, "x", subset=ONLY_A), 0.0)
    hang(machine, 1.8, progress=None)
    assert condition(machine, 1.9) == "up"
    machine.handle(Woken(), 2.5)
    assert condition(machine, 2.5) == "suspect"
    machine.handle(ends(1, "aborted", None), 2.6)


def test_a_plain_answer_may_take_as_long_as_it_needs_while_the_engine_works(machine: PoolMachine) -> None:
    machine.handle(arrives(1, "x", subset=ONLY_A, streaming=False), 0.0)
    for n in range(30):
        machine.handle(scrape("a", running=1, progress=float(n)), 0.2 * n)
        machine.handle(Woken(), 0.2 * n + 0.1)
    assert condition(machine, 6.0) == "up"
    machine.handle(ends(1), 6.1)


def test_a_suspect_whose_requests_went_away_is_tried_again(machine: PoolMachine) -> None:
    machine.handle(scrape("a", progress=100.0), -0.2)
    machine.handle(arrives(1, "x", subset=ONLY_A), 0.0)
    hang(machine, 2.4)
    assert spread(machine, 2.5)["a"] == 0
    machine.handle(ends(1, "aborted", None), 2.6)
    assert spread(machine, 2.7)["a"] == 1


def test_suspicion_of_everyone_refuses_nobody(machine: PoolMachine) -> None:
    for name in "abc":
        machine.handle(no_scrape(name), 0.0)
    assert spread(machine, 0.1) == {"a": 4, "b": 4, "c": 4}


def test_fallbacks_are_the_healthy_ones_first() -> None:
    machine = a_machine("abcdef")
    machine.handle(no_scrape("a"), 0.0)
    machine.handle(arrives(1, "x", subset=(address("b"),)), 0.0)
    machine.handle(starts(1, 429), 0.0)
    machine.handle(ends(1, "complete", 429), 0.0)
    assert len(routed(machine, arrives(2, "x"), 0.1).endpoints) == 4
    for name in "cde":
        machine.handle(no_scrape(name), 0.2)
    order = [letter(one) for one in routed(machine, arrives(3, "x"), 0.3).endpoints]
    assert order[:2] == ["f", "b"]
    assert len(order) == 4


def test_the_record_says_who_was_left_out_and_why(machine: PoolMachine) -> None:
    machine.handle(no_scrape("a"), 0.0)
    candidate = routed(machine, arrives(1, "x"), 0.1).decision.candidates[0]
    assert candidate.filtered_by == "healthy"
    assert candidate.filter_reason == "down: scrape refused"
    assert candidate.cost is None
    machine.handle(ends(1), 0.2)


def condition_of(health: Health) -> str:
    return health.condition


def test_conditions_in_order() -> None:
    health = Health(HealthSettings())
    assert health.severity(0.0) == (FINE, "")
    health.throttled(StreamId(1), 0.0)
    assert health.severity(0.1)[0] == COOLING
    health.hanging(1.0, "quiet")
    assert health.severity(1.1)[0] == SUSPECT
    health.alive(1.2)
    assert health.severity(1.2)[0] == FINE
    health.failed(2.0, "gone")
    assert health.severity(2.1)[0] == DOWN
    health.answered(1.9, 2.2)
    assert condition_of(health) == "down", "an answer to a request sent before the failure proves nothing"
    health.refresh(3.1, overdue=False)
    assert condition_of(health) == "probing"
    health.sent(StreamId(2), 0.0)
    assert health.severity(3.2)[0] == SUSPECT
    health.answered(3.2, 3.3)
    assert condition_of(health) == "up"
    assert health.ramp(3.3) == pytest.approx(0.1)
    assert health.ramp(8.3) == pytest.approx(0.55)
    health.refresh(13.4, overdue=False)
    assert health.plain


def test_backoff_is_bounded() -> None:
    settings = HealthSettings()
    health = Health(settings)
    now = 0.0
    for _ in range(20):
        health.failed(now, "gone")
        assert health.retry_at - now <= settings.longest_backoff_s
        now = health.retry_at
        health.refresh(now, overdue=False)
    assert health.retry_at - health.since <= settings.longest_backoff_s
    assert condition_of(health) == "probing"


def test_a_timeout_of_the_route_is_one_bad_answer(machine: PoolMachine) -> None:
    for n in range(1, 4):
        assert condition(machine, n - 0.5) == "up"
        machine.handle(arrives(n, "x", subset=ONLY_A), float(n))
        machine.handle(starts(n, 504, local=True), n + 0.1)
        machine.handle(ends(n, "failed", 504), n + 0.1)
    assert condition(machine, 3.1) == "down"


def test_a_hang_in_the_middle_of_answers_is_noticed(machine: PoolMachine) -> None:
    machine.handle(scrape("a", progress=100.0), -0.2)
    run(machine, [(0.0, arrives(1, "x", subset=ONLY_A), ["route a"]), (0.1, token(1), [])])
    machine.handle(scrape("a", running=1, progress=101.0), 0.2)
    for n in range(2, 26):
        machine.handle(scrape("a", running=1, progress=101.0), 0.2 * n)
    assert condition(machine, 5.0) == "up"
    for n in range(26, 29):
        machine.handle(scrape("a", running=1, progress=101.0), 0.2 * n)
    assert condition(machine, 5.7) == "suspect"
    assert spread(machine, 5.7)["a"] == 0
    machine.handle(scrape("a", running=1, progress=102.0), 6.0)
    assert condition(machine, 6.0) == "up"
    machine.handle(ends(1), 6.1)


@pytest.mark.parametrize(("running", "works"), [(0, False), (1, True)])
def test_an_idle_or_working_engine_is_not_stalled(machine: PoolMachine, running: int, works: bool) -> None:
    machine.handle(scrape("a", progress=100.0), -0.2)
    run(machine, [(0.0, arrives(1, "x", subset=ONLY_A), ["route a"]), (0.1, token(1), [])])
    for n in range(1, 60):
        machine.handle(scrape("a", running=running, progress=101.0 + n * works), 0.2 * n)
    assert condition(machine, 12.0) == "up"
    machine.handle(ends(1), 12.1)


def test_a_counter_that_tokens_do_not_move_is_no_sign_of_hanging(machine: PoolMachine) -> None:
    machine.handle(scrape("a", progress=100.0), -0.2)
    run(machine, [(0.0, arrives(1, "x", subset=ONLY_A), ["route a"]), (0.1, token(1), [])])
    for n in range(1, 60):
        machine.handle(scrape("a", running=1, progress=100.0), 0.2 * n)
    machine.handle(arrives(2, "x", subset=ONLY_A), 12.0)
    for n in range(60, 67):
        machine.handle(scrape("a", running=2, progress=100.0), 0.2 * n)
    assert condition(machine, 13.3) == "up"
    for n in (1, 2):
        machine.handle(ends(n), 13.4)


def test_an_endpoint_slower_than_predicted_is_suspected_ever_less(machine: PoolMachine) -> None:
    """A 200,000-token prompt in 20 s instead of the predicted 6.6 s; the counter moves at its end only."""
    suspected = []
    progress = 100.0
    for n in range(8):
        began = 30.0 * n
        machine.handle(arrives(n, "x", subset=ONLY_A, prompt_bytes=800_000), began)
        seen = 0
        for tick in range(1, 100):
            machine.handle(scrape("a", running=1, progress=progress), began + 0.2 * tick)
            seen += condition(machine, began + 0.2 * tick) == "suspect"
        progress += 200_000
        machine.handle(starts(n), began + 19.99)
        machine.handle(token(n), began + 20.0)
        machine.handle(scrape("a", running=1, progress=progress), began + 20.1)
        assert condition(machine, began + 20.1) == "up"
        machine.handle(ends(n), began + 21.0)
        suspected.append(seen)
    assert suspected[0] > 0
    assert suspected == sorted(suspected, reverse=True)
    assert suspected[-3:] == [0, 0, 0]


def test_waiting_in_a_working_engines_queue_makes_nobody_more_patient(machine: PoolMachine) -> None:
    for n in range(40):
        machine.handle(arrives(n, "x", subset=ONLY_A, prompt_bytes=80_000), 0.0)
    for tick in range(1, 200):
        machine.handle(scrape("a", waiting=20, running=20, progress=100.0 + tick), 0.2 * tick)
    for n in range(40):
        machine.handle(token(n), 40.0)
        machine.handle(ends(n), 40.0)
    machine.handle(scrape("a", progress=400.0), 40.1)
    machine.handle(arrives(99, "x", subset=ONLY_A), 41.0)
    for tick in range(1, 6):
        machine.handle(scrape("a", running=1, progress=400.0), 41.0 + 0.2 * tick)
    assert condition(machine, 42.0) == "suspect"
    machine.handle(ends(99), 42.1)


def test_plain_answers_of_two_minutes_without_any_counter(machine: PoolMachine) -> None:
    seen = []
    for n in range(10):
        began = 130.0 * n
        machine.handle(arrives(n, "x", subset=ONLY_A, streaming=False), began)
        suspect = 0
        for second in range(1, 120):
            machine.handle(no_scrape("a", "http-404"), began + second)
            suspect += condition(machine, began + second) == "suspect"
        machine.handle(starts(n, 200), began + 120)
        machine.handle(ends(n), began + 120)
        assert condition(machine, began + 120) == "up"
        seen.append(suspect)
    assert seen[0] > 100
    assert seen[-1] == 0


def test_a_trial_with_a_long_answer_ends_with_the_first_sign_of_life(machine: PoolMachine) -> None:
    machine.handle(no_scrape("a", "refused"), 0.0)
    machine.handle(scrape("a", progress=1.0), 1.0)
    machine.handle(arrives(1, "x", subset=ONLY_A, streaming=False), 1.2)
    assert condition(machine, 1.2) == "probing"
    machine.handle(scrape("a", running=1, progress=2.0), 1.4)
    assert condition(machine, 1.4) == "up"
    assert machine.view(1.4).endpoints[0].ramp < 0.2
    machine.handle(ends(1), 120.0)


def test_work_is_no_excuse_for_bad_answers(machine: PoolMachine) -> None:
    machine.handle(scrape("a", progress=1.0), 0.0)
    for n in range(3):
        machine.handle(arrives(n, "x", subset=ONLY_A), 0.1)
        machine.handle(starts(n, 500), 0.1)
        machine.handle(ends(n, "complete", 500), 0.1)
    machine.handle(arrives(4, "x", subset=ONLY_A), 1.2)
    machine.handle(scrape("a", running=1, progress=2.0), 1.3)
    assert condition(machine, 1.3) == "probing"
    machine.handle(ends(4), 1.4)


def test_requests_whose_answers_are_unseen_are_neither_overdue_nor_stuck_as_trials(
    machine: PoolMachine,
) -> None:
    machine.handle(arrives(1, "x", subset=ONLY_A, unseen=True), 0.0)
    assert machine.view(0.0).endpoints[0].pending_tokens == 32
    for second in range(1, 60):
        machine.handle(Woken(), float(second))
    assert condition(machine, 60.0) == "up"
    assert machine.view(60.0).endpoints[0].pending_tokens == 0
    machine.handle(ends(1, "lost", None), 60.0)
    machine.handle(no_scrape("a", "refused"), 61.0)
    machine.handle(scrape("a"), 62.0)
    machine.handle(arrives(2, "x", subset=ONLY_A, unseen=True), 63.0)
    assert condition(machine, 63.0) == "probing"
    machine.handle(ends(2, "lost", None), 64.0)
    assert condition(machine, 64.0) == "up"


def test_a_streamed_request_with_a_plain_answer_waits_for_no_token(machine: PoolMachine) -> None:
    machine.handle(arrives(1, "x", subset=ONLY_A), 0.0)
    machine.handle(ResponseStarted(StreamId(1), 200, plain=True), 0.1)
    for second in range(1, 60):
        machine.handle(Woken(), float(second))
    assert condition(machine, 60.0) == "up"
    machine.handle(ends(1), 60.0)


def remembered(machine: PoolMachine, now: float) -> int:
    return machine.view(now).endpoints[0].prefix_blocks


def test_only_a_process_that_is_gone_has_lost_its_cache(machine: PoolMachine) -> None:
    run(
        machine,
        [
            (0.0, arrives(1, "abcd", subset=ONLY_A), ["route a"]),
            (0.1, token(1), []),
            (0.2, ends(1), ["complete 200"]),
        ],
    )
    for step, error in enumerate(
        ["timeout", "reset", "unreachable", "timeout", "tls", "not-http", "http-500"]
    ):
        machine.handle(no_scrape("a", error), 1.0 + step)
        machine.handle(no_scrape("a", error), 1.5 + step)
        assert remembered(machine, 1.5 + step) == 4, error
    machine.handle(no_scrape("a", "unreachable"), 20.0)
    machine.handle(no_scrape("a", "refused"), 20.1)
    assert remembered(machine, 20.1) == 0


def test_a_counter_that_went_backwards_shows_a_new_process_even_after_a_page_without_it(
    machine: PoolMachine,
) -> None:
    machine.handle(scrape("a", progress=500.0), 0.0)
    run(
        machine,
        [
            (0.0, arrives(1, "abcd", subset=ONLY_A), ["route a"]),
            (0.1, token(1), []),
            (0.2, ends(1), ["complete 200"]),
            (0.3, scrape("a", progress=None), []),
        ],
    )
    assert remembered(machine, 0.3) == 4
    machine.handle(scrape("a", progress=3.0), 0.4)
    assert remembered(machine, 0.4) == 0


def test_an_engine_that_sleeps_is_down_until_it_is_woken(machine: PoolMachine) -> None:
    run(
        machine,
        [
            (0.0, arrives(1, "abcd", subset=ONLY_A), ["route a"]),
            (0.1, token(1), []),
            (0.2, scrape("a", asleep=True), []),
        ],
    )
    assert condition(machine, 0.2) == "down"
    assert remembered(machine, 0.2) == 0, "sleep discards the KV cache"
    machine.handle(arrives(2, "x", subset=ONLY_A), 0.3)
    run(machine, [(0.4, starts(2), []), (0.5, token(2), []), (0.6, ends(2), ["complete 200"])])
    machine.handle(ends(1), 0.6)
    for step in range(200):
        machine.handle(scrape("a", asleep=True), 1.0 + step)
    assert condition(machine, 200.0) == "down", "its server may answer, and time is no cure"
    assert machine.view(200.0).endpoints[0].reason == "down: its engine sleeps"
    assert spread(machine, 200.1)["a"] == 0
    machine.handle(scrape("a"), 200.2)
    assert condition(machine, 200.2) == "up"
    assert spread(machine, 215.0)["a"] == 4
