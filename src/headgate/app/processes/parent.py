"""Ending with the process that started this one. Linux only; elsewhere these do nothing."""

import ctypes
import os
import signal
import sys
from collections.abc import Callable

_PR_SET_PDEATHSIG = 1

LEFT_TO_SUPERVISOR = frozenset({signal.SIGTERM, signal.SIGINT})
"""Signals a supervised child does not hear: a service manager sends them to every process of a service."""

SUPERVISORS_END = signal.SIGUSR2
"""How a supervisor asks its child to end; a program that does not catch it, such as Envoy, ends at once."""


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


def supervised_by(parent: int) -> Callable[[], None] | None:
    """The same for a child whose end is *parent*'s business while that lives: see `LEFT_TO_SUPERVISOR`.

    The signals are blocked, not ignored: Envoy would replace an ignored signal's action by its own.
    """
    end = end_with_parent(parent)
    if end is None:
        return None

    def before_exec() -> None:
        signal.pthread_sigmask(signal.SIG_BLOCK, LEFT_TO_SUPERVISOR)
        end()

    return before_exec


def _ask(number: signal.Signals) -> None:
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, number, 0, 0, 0)
