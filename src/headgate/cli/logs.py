"""One format for what Headgate's processes log: a time, the level unless it is info, the text; or JSON."""

import logging
from collections.abc import Callable
from typing import Literal

import msgspec

from headgate.app.processes.lines import Line, line_of, problem_of, written_time
from headgate.model.printable import printable, printable_json

LEVELS = ("error", "warning", "info", "debug")

LogFormat = Literal["text", "json"]


class Plain(logging.Formatter):
    """The time, and the message after its level unless that is info or the message is a problem, which says
    its own.

    One event is one line, whatever is in it: line breaks and other control characters are written out, and a
    traceback's lines stand one after the other.
    """

    def format(self, record: logging.LogRecord) -> str:
        """See logging."""
        record.message = record.getMessage()
        line = self.formatMessage(record)
        if record.exc_info:
            trace = self.formatException(record.exc_info)
            line += ": " + " | ".join(part.strip() for part in trace.split("\n"))
        return printable(f"{written_time(record.created)} {line}")

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802
        """See logging."""
        if problem_of(record) is None and record.levelno != logging.INFO:
            record.message = f"{record.levelname.lower()}: {record.message}"
        return super().formatMessage(record)


class Json(logging.Formatter):
    """A `Line` as JSON; a traceback is part of its text."""

    def format(self, record: logging.LogRecord) -> str:
        """See logging."""
        return printable_json(msgspec.json.encode(self.line(record)))

    def line(self, record: logging.LogRecord) -> Line:
        """The event."""
        return line_of(record, self.formatException(record.exc_info) if record.exc_info else "")


class _To(logging.Handler):
    def __init__(self, take: Callable[[Line], None]) -> None:
        super().__init__()
        self._take = take
        self._format = Json()

    def emit(self, record: logging.LogRecord) -> None:
        """See logging."""
        self._take(self._format.line(record))


def log_to_stderr(level: str, form: LogFormat = "text") -> None:
    """Log from *level* (one of `LEVELS`) on to stderr; libraries only when they warn."""
    handler = logging.StreamHandler()  # noqa: TID251  # this is the one place
    handler.setFormatter(Plain("%(message)s") if form == "text" else Json())
    _log(level, handler)


def log_to(level: str, take: Callable[[Line], None]) -> None:
    """The same, to *take*."""
    _log(level, _To(take))


def _log(level: str, handler: logging.Handler) -> None:
    logging.basicConfig(level=level.upper(), handlers=[handler])  # noqa: TID251
    for library in ("asyncio", "watchfiles", "aiohttp.access"):
        logging.getLogger(library).setLevel(logging.WARNING)
