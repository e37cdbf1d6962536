"""The signals that ask a process to end, from its first moment on."""

import signal
from collections.abc import Callable
from types import FrameType

ENDING = (signal.SIGINT, signal.SIGTERM)

_early: list[signal.Signals] = []
"""Those that came before `on_ending`."""


def exit_when_told() -> None:
    """Until `on_ending` each of them exits the process with code 0: who starts has nothing to finish."""
    for number in ENDING:
        signal.signal(number, _exit)


def on_ending(act: Callable[[signal.Signals], object], *more: signal.Signals) -> None:
    """From now on the running event loop calls *act* for each of them, and for *more*.

    Also for one that came before: its exit is an exception, and code that ran may have swallowed it, as
    C code does that asks whether an object has an attribute, and callbacks of Python's import.
    """
    import asyncio

    loop = asyncio.get_running_loop()
    for number in (*ENDING, *more):
        loop.add_signal_handler(number, act, number)
    if _early:
        loop.call_soon(act, _early[0])


def _exit(number: int, frame: FrameType | None) -> None:
    _early.append(signal.Signals(number))
    raise SystemExit(0)
