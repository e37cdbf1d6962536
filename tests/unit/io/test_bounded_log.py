"""Lines that peers cause."""

import logging

import pytest

from headgate.io.bounded_log import EVERY_S, LONGEST, MOST, BoundedLog


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def log(request: pytest.FixtureRequest, clock: Clock) -> logging.Logger:
    made = logging.getLogger(f"test.{request.node.name}")
    made.setLevel(logging.DEBUG)
    made.addFilter(BoundedLog(clock))
    return made


def test_a_flood_is_cut_and_counted(
    log: logging.Logger, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    for number in range(1000):
        log.warning("stream %d failed", number)
    assert [record.getMessage() for record in caplog.records] == [
        f"stream {number} failed" for number in range(MOST)
    ]
    clock.now += EVERY_S
    log.warning("again")
    log.warning("and again")
    assert [record.getMessage() for record in caplog.records[MOST:]] == [
        f"again ({1000 - MOST} more lines were left out before)",
        "and again",
    ]


def test_a_line_is_cut(log: logging.Logger, caplog: pytest.LogCaptureFixture) -> None:
    log.error("%s", "x" * 1_000_000)
    assert caplog.records[0].getMessage() == "x" * LONGEST + "…"


def test_other_lines_pass(log: logging.Logger, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, log.name)
    for _ in range(100):
        log.info("fine")
    assert len(caplog.records) == 100
