"""Log lines that peers cause: so many and no more, however many peers do whatever they like."""

import logging
import time
from collections.abc import Callable

MOST = 20
EVERY_S = 10.0
LONGEST = 500
"""Characters of a line."""


class BoundedLog(logging.Filter):
    """Lets `MOST` warnings and errors of a logger through in `EVERY_S` seconds, cut to `LONGEST` characters.

    The first one after that says how many were left out.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._clock = clock
        self._since = clock()
        self._count = 0

    def filter(self, record: logging.LogRecord) -> bool:
        """See `logging.Filter`."""
        if record.levelno < logging.WARNING:
            return True
        text = self.bounded(record.getMessage())
        if text is None:
            return False
        record.msg, record.args = text, ()
        return True

    def bounded(self, text: str) -> str | None:
        """What to say of a line that was not said yet; None: nothing, there were too many."""
        now = self._clock()
        left_out = 0
        if now - self._since >= EVERY_S:
            left_out = max(0, self._count - MOST)
            self._since, self._count = now, 0
        self._count += 1
        if self._count > MOST:
            return None
        if len(text) > LONGEST:
            text = f"{text[:LONGEST]}…"
        return text + (f" ({left_out} more lines were left out before)" if left_out else "")
