"""Sockets of this user alone, at paths that may hold something already."""

import os
import socket
import stat
from pathlib import Path

import pytest

from headgate.io.unix import LONGEST, private_socket, remove_socket


def bind(path: Path) -> socket.socket:
    made = socket.socket(socket.AF_UNIX)
    made.bind(str(path))
    made.listen()
    return made


def test_only_this_user_can_connect(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        with private_socket(tmp_path / "s"), bind(tmp_path / "s"):
            assert stat.S_IMODE((tmp_path / "s").stat().st_mode) == 0o600
        assert os.umask(0) == 0
    finally:
        os.umask(before)


def test_what_a_dead_process_left_is_replaced(tmp_path: Path) -> None:
    bind(tmp_path / "s").close()
    with private_socket(tmp_path / "s"), bind(tmp_path / "s"):
        pass


def test_a_socket_in_use_is_kept(tmp_path: Path) -> None:
    with bind(tmp_path / "s"):
        with pytest.raises(OSError, match="another process listens there"), private_socket(tmp_path / "s"):
            pytest.fail("it is taken")
        remove_socket(tmp_path / "s")
        assert (tmp_path / "s").is_socket()
    remove_socket(tmp_path / "s")
    assert not (tmp_path / "s").exists()


def test_a_file_is_kept(tmp_path: Path) -> None:
    (tmp_path / "s").write_text("mine")
    with pytest.raises(OSError, match="something else than a socket"), private_socket(tmp_path / "s"):
        pytest.fail("it is no socket")
    remove_socket(tmp_path / "s")
    assert (tmp_path / "s").read_text() == "mine"


def test_a_path_that_is_too_long_is_named(tmp_path: Path) -> None:
    path = tmp_path / ("s" * LONGEST)
    with pytest.raises(OSError, match=f"at most {LONGEST} bytes") as caught, private_socket(path):
        pytest.fail("it is too long")
    assert caught.value.filename == str(path)
