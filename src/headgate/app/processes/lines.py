"""What a process says of itself, one event a line: how it is written, and how a supervisor reads it."""

import datetime
import logging
from collections.abc import Mapping
from typing import Any

import msgspec

from headgate.model.problems import Problem


class Line(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One event."""

    time: str
    """Of the wall clock, as `written_time` has it."""
    event: str = "log"
    """What happened: `log`, or `endpoint`, `pool`, `applied`, `process`, … with `fields` of its own."""
    level: str = "info"
    """error, warning, info or debug."""
    text: str = ""
    """The same for a person."""
    trace: str = ""
    """A traceback, over several lines."""
    fields: Mapping[str, Any] = {}


ENVOY_LEVELS: Mapping[str, str] = {
    "critical": "error",
    "error": "error",
    "warning": "warning",
    "info": "info",
    "debug": "debug",
    "trace": "debug",
}


def written_time(seconds: float) -> str:
    """Unix *seconds* as UTC in ISO 8601 with milliseconds: `2026-01-31T12:00:00.000Z`."""
    moment = datetime.datetime.fromtimestamp(seconds, datetime.UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def now() -> str:
    """The wall clock, as `written_time` has it."""
    return written_time(datetime.datetime.now(datetime.UTC).timestamp())


def event(name: str, **fields: Any) -> Mapping[str, Any]:
    """For the `extra` of a log call: the record is an event of that *name* with these *fields*."""
    return {"event": name, "fields": fields}


def line_of(record: logging.LogRecord, trace: str = "") -> Line:
    """A log record as an event; *trace*: what went wrong, on several lines."""
    name, fields = getattr(record, "event", "log"), getattr(record, "fields", {})
    if (problem := problem_of(record)) is not None:
        name, fields = "problem", msgspec.to_builtins(problem)
    return Line(
        time=written_time(record.created),
        event=name,
        level=record.levelname.lower(),
        text=record.getMessage(),
        trace=trace,
        fields=fields,
    )


def problem_of(record: logging.LogRecord) -> Problem | None:
    """The problem that the record tells of, whose words say their severity themselves."""
    arguments = record.args if isinstance(record.args, tuple) else ()
    return next((each for each in arguments if isinstance(each, Problem)), None)


def for_people(line: Line) -> str:
    """Its text, after its level unless that is info or the text says it itself."""
    plain = line.level == "info" or line.event == "problem"
    return line.text if plain else f"{line.level}: {line.text}"


def read_line(text: str) -> Line:
    """What a child printed: an event as `Line`, Envoy's `level component: text`, or whatever it is."""
    if text.startswith("{"):
        try:
            return msgspec.json.decode(text, type=Line)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return Line(time=now(), text=text)
    level, _, rest = text.partition(" ")
    if level in ENVOY_LEVELS and rest:
        return Line(time=now(), level=ENVOY_LEVELS[level], text=rest)
    return Line(time=now(), text=text)
