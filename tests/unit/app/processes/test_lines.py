"""What processes say of themselves, written and read."""

import json
import logging

import pytest

from headgate.app.processes.lines import Line, event, for_people, line_of, read_line, written_time
from headgate.cli.logs import Json
from headgate.model.problems import Place, Problem


def record(text: str, *args: object, level: int = logging.INFO, **extra: object) -> logging.LogRecord:
    made = logging.LogRecord("headgate.x", level, "x.py", 1, text, args, None)
    made.created = 1_800_000_000.25
    made.__dict__.update(extra)
    return made


def test_times_are_those_of_the_wall_clock_in_utc() -> None:
    assert written_time(0.0) == "1970-01-01T00:00:00.000Z"
    assert written_time(1_800_000_000.25) == "2027-01-15T08:00:00.250Z"


def test_a_record_is_written_and_read() -> None:
    said = record("pool %s", "p", level=logging.WARNING, **event("pool", pool="p", joined=["a"]))
    line = line_of(said)
    assert line == Line(
        time="2027-01-15T08:00:00.250Z",
        event="pool",
        level="warning",
        text="pool p",
        fields={"pool": "p", "joined": ["a"]},
    )
    assert read_line(Json().format(said)) == line
    assert for_people(line) == "warning: pool p"


def test_a_problem_says_its_severity_itself() -> None:
    problem = Problem(Place("x.yaml", 3), "Odd", "it is odd")
    line = line_of(record("%s", problem, level=logging.ERROR))
    assert line.event == "problem"
    assert line.fields["message"] == "it is odd"
    assert for_people(line) == line.text == str(problem)


def test_a_traceback_is_part_of_its_event() -> None:
    try:
        raise ValueError("why\nand how")
    except ValueError as error:
        said = record("it broke", level=logging.ERROR)
        said.exc_info = (type(error), error, error.__traceback__)
    written = Json().format(said)
    assert "\n" not in written
    assert json.loads(written)["trace"].endswith("ValueError: why\nand how")


@pytest.mark.parametrize(
    ("text", "level", "shown"),
    [
        ("warning upstream: cluster gone", "warning", "upstream: cluster gone"),
        ("critical main: no memory", "error", "main: no memory"),
        ("hello", "info", "hello"),
        ('{"not": "ours"}', "info", '{"not": "ours"}'),
        ('{"time": 5}', "info", '{"time": 5}'),
        ("{" * 9, "info", "{" * 9),
        ("", "info", ""),
    ],
)
def test_lines_of_others(text: str, level: str, shown: str) -> None:
    line = read_line(text)
    assert (line.level, line.text, line.event) == (level, shown, "log")
