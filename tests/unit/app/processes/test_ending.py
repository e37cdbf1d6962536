"""Signals that come while a process starts; each in a process of its own."""

import signal
import subprocess
import sys

import pytest

PROGRAM = """
import asyncio, os, signal, sys
from headgate.app.processes import ending

ending.exit_when_told()
number = signal.Signals(int(sys.argv[1]))
if sys.argv[2] == "exits":
    os.kill(os.getpid(), number)
if sys.argv[2] == "swallowed":
    try:
        os.kill(os.getpid(), number)
    except SystemExit:
        pass

async def main():
    told = asyncio.Queue()
    ending.on_ending(told.put_nowait, signal.SIGUSR2)
    if sys.argv[2] == "later":
        os.kill(os.getpid(), number)
    print(repr(await asyncio.wait_for(told.get(), 5)), told.qsize())

asyncio.run(main())
"""


@pytest.mark.parametrize(
    ("number", "when", "said"),
    [
        (signal.SIGINT, "exits", ""),
        (signal.SIGTERM, "exits", ""),
        (signal.SIGINT, "swallowed", "<Signals.SIGINT: 2> 0"),
        (signal.SIGTERM, "swallowed", "<Signals.SIGTERM: 15> 0"),
        (signal.SIGTERM, "later", "<Signals.SIGTERM: 15> 0"),
        (signal.SIGUSR2, "later", "<Signals.SIGUSR2: 12> 0"),
    ],
)
def test_a_signal_ends_a_process_whenever_it_comes(number: int, when: str, said: str) -> None:
    command = [sys.executable, "-c", PROGRAM, str(int(number)), when]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert (done.returncode, done.stdout.strip(), done.stderr) == (0, said, "")
