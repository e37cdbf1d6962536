"""Ending with the process that started this one. Linux only; elsewhere these do nothing."""

import ctypes
import os
import signal
import sys
from collections.abc import Callable

_PR_SET_PDEATHSIG = 1


def die_with_parent() -> None:
    """Asks the kernel to send this process SIGTERM when its parent ends."""
    if sys.platform.startswith("linux"):
        parent = os.getppid()
        _ask(signal.SIGTERM)
        if os.getppid() != parent:  # it ended in between
            raise SystemExit(1)


def end_with_parent(parent: int) -> Callable[[], None] | None:
    """What a child runs before its program so that it is killed when *parent* ends; None where impossible."""
    if not sys.platform.startswith("linux"):
        return None

    def before_exec() -> None:
        _ask(signal.SIGKILL)
        if os.getppid() != parent:
            os._exit(1)

    return before_exec


def _ask(number: signal.Signals) -> None:
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, number, 0, 0, 0)
