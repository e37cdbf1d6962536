"""What a log line looks like."""

import logging

import pytest

from headgate.cli.logs import Plain
from headgate.model.problems import Place, Problem

PROBLEM = Problem(Place("a.yaml", 3), "InvalidValue", "it is wrong", "warning")


@pytest.mark.parametrize(
    ("level", "message", "args", "line"),
    [
        (logging.INFO, "pool %s is gone", ("x",), "me | pool x is gone"),
        (logging.WARNING, "envoy ended", (), "me | warning: envoy ended"),
        (logging.ERROR, "cannot", (), "me | error: cannot"),
        (logging.WARNING, "%s", (PROBLEM,), "me | a.yaml:3: warning: it is wrong [InvalidValue]"),
        (
            logging.INFO,
            "no longer: %s",
            (PROBLEM,),
            "me | no longer: a.yaml:3: warning: it is wrong [InvalidValue]",
        ),
    ],
)
def test_the_level_is_said_once(level: int, message: str, args: tuple[object, ...], line: str) -> None:
    record = logging.LogRecord("x", level, "file", 1, message, args, None)
    formatter = Plain("me | %(message)s")
    assert formatter.format(record) == line
    assert formatter.format(record) == line, "formatting leaves the record as it was"
