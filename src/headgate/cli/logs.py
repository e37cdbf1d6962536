"""One format for what Headgate's processes log: the bare text at info, else the level before it."""

import logging

from headgate.model.printable import printable
from headgate.model.problems import Problem

LEVELS = ("error", "warning", "info", "debug")


class Plain(logging.Formatter):
    """The message, after its level unless that is info or the message is a problem, which says its own.

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
        return printable(line)

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802
        """See logging."""
        own = isinstance(record.args, tuple) and any(isinstance(each, Problem) for each in record.args)
        if not own and record.levelno != logging.INFO:
            record.message = f"{record.levelname.lower()}: {record.message}"
        return super().formatMessage(record)


def log_to_stderr(level: str, prefix: str = "") -> None:
    """Log from *level* (one of `LEVELS`) on, each line after *prefix*; libraries only when they warn."""
    handler = logging.StreamHandler()  # noqa: TID251  # this is the one place
    handler.setFormatter(Plain(f"{prefix}%(message)s"))
    logging.basicConfig(level=level.upper(), handlers=[handler])  # noqa: TID251
    for library in ("asyncio", "watchfiles", "aiohttp.access"):
        logging.getLogger(library).setLevel(logging.WARNING)
