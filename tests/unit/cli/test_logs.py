"""What a log line looks like."""

import logging
import sys
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headgate.cli.logs import Plain
from headgate.model.problems import Place, Problem

PROBLEM = Problem(Place("a.yaml", 3), "InvalidValue", "it is wrong", "warning")


@pytest.mark.parametrize(
    ("level", "message", "args", "line"),
    [
        (logging.INFO, "pool %s is gone", ("x",), "pool x is gone"),
        (logging.WARNING, "envoy ended", (), "warning: envoy ended"),
        (logging.ERROR, "cannot", (), "error: cannot"),
        (logging.WARNING, "%s", (PROBLEM,), "a.yaml:3: warning: it is wrong [InvalidValue]"),
        (
            logging.INFO,
            "no longer: %s",
            (PROBLEM,),
            "no longer: a.yaml:3: warning: it is wrong [InvalidValue]",
        ),
    ],
)
def test_the_level_is_said_once(level: int, message: str, args: tuple[object, ...], line: str) -> None:
    record = logging.LogRecord("x", level, "file", 1, message, args, None)
    record.created = 1_800_000_000.25
    formatter = Plain("%(message)s")
    timed = f"2027-01-15T08:00:00.250Z {line}"
    assert formatter.format(record) == timed
    assert formatter.format(record) == timed, "formatting leaves the record as it was"


@given(st.text(), st.text())
def test_an_event_is_one_line_whatever_is_in_it(message: str, why: str) -> None:
    try:
        raise ValueError(why)
    except ValueError:
        record = logging.LogRecord("x", logging.ERROR, "file", 1, "%s", (message,), sys.exc_info())
    line = Plain("%(message)s").format(record)
    assert all(each.isprintable() or unicodedata.category(each) == "Zs" for each in line)
    assert line[25:].startswith("error: ")


def test_a_traceback_follows_its_message() -> None:
    try:
        raise ValueError("a\x1b[2J\nwarning: forged")
    except ValueError:
        record = logging.LogRecord("x", logging.ERROR, "file", 1, "it failed", (), sys.exc_info())
    line = Plain("%(message)s").format(record)
    assert line[25:].startswith("error: it failed: Traceback (most recent call last): | File ")
    assert line.endswith(r"| ValueError: a\x1b[2J | warning: forged")
