"""The process that lists, reads and parses files for another one, which kills it when it takes too long.

Run as `python -m headgate.io.sources.worker` with a socket as standard input; `reader.py` is the other end.
Messages are pickles. A request is a word and paths. The answer to `list` is a `Listing`, or None when it is
as it was; the answer to `read` is one `Parsed` for every path.
"""

import contextlib
import pickle
import resource
import socket
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from headgate.io.sources.frames import receive, send
from headgate.io.sources.listing import Listing, list_files
from headgate.io.sources.reading import MAX_FILE_BYTES, Parsed, parse_file

Request = tuple[Literal["list", "read"], Sequence[Path]]

MAX_MEMORY_BYTES = 2 << 30
"""Of address space: what a file may cost before it is refused."""

HELLO = "ready"


def cpu_s(size: int) -> float:
    """Seconds of CPU that a file of *size* bytes may take: about twenty times what manifests take."""
    return 10.0 + 20.0 * min(size, MAX_FILE_BYTES) / (1 << 20)


def main() -> None:
    """Answer requests until the other end is closed."""
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_AS, (MAX_MEMORY_BYTES, resource.getrlimit(resource.RLIMIT_AS)[1]))
    last: Listing | None = None
    with socket.socket(fileno=0) as other, contextlib.suppress(EOFError, OSError):
        send(other, pickle.dumps(HELLO))
        while True:
            what, paths = pickle.loads(receive(other))  # noqa: S301 - from the process that started this one
            if what == "list":
                found = list_files(paths)
                send(other, pickle.dumps(None if found == last else found))
                last = found
            else:
                for path in paths:
                    send(other, pickle.dumps(_read(path), pickle.HIGHEST_PROTOCOL))


def _read(path: Path) -> Parsed:
    """What a file says. One that takes too long ends the process, also when nobody is left to do it."""
    with contextlib.suppress(ValueError, OSError):
        seconds = int(time.process_time() + cpu_s(path.stat().st_size)) + 1
        resource.setrlimit(resource.RLIMIT_CPU, (seconds, resource.getrlimit(resource.RLIMIT_CPU)[1]))
    return parse_file(path)


if __name__ == "__main__":
    main()
