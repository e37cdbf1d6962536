"""Unix sockets on which processes of one user talk to each other."""

import contextlib
import errno
import os
import socket
from collections.abc import Iterator
from pathlib import Path

LONGEST = 107
"""Bytes of a socket's path (`sun_path` of Linux, without the zero at its end)."""


@contextlib.contextmanager
def private_socket(path: Path) -> Iterator[None]:
    """Within, a socket can be bound at *path* and only this user can connect to it (mode 600).

    A socket that a dead process left there is removed. Raises OSError when the path is too long, when
    somebody listens there, or when something else than a socket is there.
    """
    if len(os.fsencode(path)) > LONGEST:
        hint = f"a Unix socket's path has at most {LONGEST} bytes; use a shorter one"
        raise OSError(errno.ENAMETOOLONG, hint, str(path))
    if path.is_socket():
        if _listens(path):
            raise OSError(errno.EADDRINUSE, "another process listens there", str(path))
        path.unlink()
    elif os.path.lexists(path):
        raise OSError(errno.EEXIST, "there is something else than a socket", str(path))
    # A mode set after binding would leave a moment in which anybody could connect.
    before = os.umask(0o177)
    try:
        yield
    finally:
        os.umask(before)


def remove_socket(path: Path) -> None:
    """Removes a socket that nobody serves any more."""
    with contextlib.suppress(OSError):
        if path.is_socket() and not _listens(path):
            path.unlink()


def _listens(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        try:
            probe.connect(str(path))
        except BlockingIOError:
            return True  # its queue is full
        except OSError:
            return False
        return True
