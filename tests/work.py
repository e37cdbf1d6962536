"""How much work something is, without a clock."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any


@contextmanager
def counted_steps() -> Iterator[Callable[[], int]]:
    """Counts the instructions of Headgate that this thread begins to run."""
    found = 0

    def line(frame: FrameType, event: str, _: Any) -> Any:
        nonlocal found
        found += 1
        return line

    def call(frame: FrameType, event: str, _: Any) -> Any:
        if "headgate" not in frame.f_code.co_filename:
            return None
        frame.f_trace_opcodes = True
        return line

    before = sys.gettrace()
    sys.settrace(call)
    try:
        yield lambda: found
    finally:
        sys.settrace(before)
