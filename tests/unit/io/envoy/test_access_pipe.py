"""The pipe between Envoy's access log and standard output."""

import os
import threading
from pathlib import Path

from headgate.io.envoy.access_pipe import CHUNK, LONGEST_LINE, AccessPipe, relay, shown


def relayed(written: bytes) -> list[bytes]:
    """What is taken of a pipe that *written* is written to before it is closed."""
    taken: list[bytes] = []
    reader, writer = os.pipe()

    def write() -> None:
        with os.fdopen(writer, "wb") as stream:
            stream.write(written)

    thread = threading.Thread(target=write)
    thread.start()
    relay(reader, taken.append)
    thread.join()
    os.close(reader)
    return taken


def test_every_piece_is_whole_lines() -> None:
    lines = b"".join(b'{"n":%d}\n' % number for number in range(CHUNK // 2))
    taken = relayed(lines)
    assert len(taken) > 1
    assert all(piece.endswith(b"\n") for piece in taken)
    assert b"".join(taken) == lines


def test_a_line_that_a_killed_envoy_did_not_finish_is_thrown_away() -> None:
    assert relayed(b'{"a":1}\n{"b":') == [b'{"a":1}\n']


def test_a_line_without_end_is_not_kept() -> None:
    assert relayed(b"x" * (2 * LONGEST_LINE)) == []


def test_the_next_envoy_is_read_too(tmp_path: Path) -> None:
    taken: list[bytes] = []
    pipe = AccessPipe(tmp_path / "p", taken.append)
    for life in (b"1\n", b"2\n"):
        with (tmp_path / "p").open("wb") as writer:
            writer.write(life)
    pipe.close(60)
    assert b"".join(taken) == b"1\n2\n"


def test_the_pipe_is_for_its_user_alone_and_closes_when_nobody_ever_wrote(tmp_path: Path) -> None:
    pipe = AccessPipe(tmp_path / "p", lambda lines: None)
    assert (tmp_path / "p").stat().st_mode & 0o777 == 0o600
    pipe.close(60)
    assert not pipe.runs


def test_what_may_steer_a_terminal_is_written_out() -> None:
    assert shown('{"a":"\u009b31m\x7fé\u202e"}\n'.encode()) == '{"a":"\\u009b31m\\u007fé\\u202e"}\n'.encode()
    assert shown(b'{"a":"\x9b"}\n').isascii()
