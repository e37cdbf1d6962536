"""Standard output that nobody waits for."""

import json
import os
import subprocess
import sys
import threading

import pytest

from headgate.io.terminal.outlet import MAY_BE_LOST, MUST_BE_KEPT, Outlet, OutletText


def told(count: int) -> bytes:
    """The line for *count* lost lines."""
    return json.dumps({"lost": count}).encode() + b"\n"


def read_all(fd: int, into: list[bytes]) -> threading.Thread:
    """A thread that reads *fd* to its end."""

    def read() -> None:
        while chunk := os.read(fd, 1 << 16):
            into.append(chunk)
        os.close(fd)

    thread = threading.Thread(target=read)
    thread.start()
    return thread


def test_what_nobody_reads_is_lost_counted_and_told_in_whole_lines() -> None:
    reader, writer = os.pipe()
    outlet = Outlet(writer, told)
    piece = b'{"n":1}\n' * 4096
    offered = 0
    for _ in range(2 * MAY_BE_LOST // len(piece)):
        outlet.offer(piece)  # would never end if it waited
        offered += 4096
    outlet.put(b'{"event":"kept"}\n')
    got: list[bytes] = []
    thread = read_all(reader, got)
    outlet.close(60)
    os.close(writer)
    thread.join()
    lines = [json.loads(line) for line in b"".join(got).splitlines()]
    requests = sum(1 for line in lines if "n" in line)
    lost = sum(line.get("lost", 0) for line in lines)
    assert lost > 0
    assert requests + lost == offered
    assert {"event": "kept"} in lines


def test_events_are_refused_once_too_much_waits() -> None:
    reader, writer = os.pipe()
    outlet = Outlet(writer, told)
    piece = b"x" * (1 << 20)
    with pytest.raises(BlockingIOError):
        for _ in range(2 * MUST_BE_KEPT // len(piece)):
            outlet.put(piece)
    os.close(reader)
    outlet.close(60)
    os.close(writer)


def test_a_reader_that_went_away_is_an_error_for_events_only() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    outlet = Outlet(writer, told)
    outlet.put(b"first\n")
    outlet.close(60)
    outlet.offer(b"request\n")
    with pytest.raises(BrokenPipeError):
        outlet.put(b"second\n")
    os.close(writer)


def test_a_text_stream_hands_on_one_piece_for_each_flush() -> None:
    reader, writer = os.pipe()
    outlet = Outlet(writer, told)
    stream = OutletText(outlet, writer)
    stream.write("half a ")
    outlet.offer(b"request\n")
    stream.write("line\n")
    stream.flush()
    outlet.close(60)
    os.close(writer)
    got: list[bytes] = []
    read_all(reader, got).join()
    assert b"".join(got) == b"request\nhalf a line\n"


def test_print_goes_through_the_queue_and_all_of_it_comes_out() -> None:
    program = (
        "from headgate.io.terminal.outlet import queued_stdout\n"
        "from headgate.io.terminal.say import say\n"
        "with queued_stdout(lambda count: b'') as outlet:\n"
        "    say('event')\n"
        "    outlet.offer(b'request\\n' * 1000)\n"
        "say('after')\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, timeout=60, check=True)
    assert done.stdout.split() == [b"event", *[b"request"] * 1000, b"after"]
