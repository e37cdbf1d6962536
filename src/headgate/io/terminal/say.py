"""Plain lines and JSON for stdout and stderr."""

import sys
from typing import Any

import msgspec

from headgate.model.printable import printable, printable_json


def say(*lines: str, err: bool = False) -> None:
    """Print each of *lines* as one line, whatever is in it; without arguments an empty one. Flushes.

    Raises OSError when nobody can hear it.
    """
    _write("\n".join(map(printable, lines)), err)


def say_json(content: Any, *, indent: bool = True) -> None:
    """Print *content* as JSON, over several lines or in one. Flushes; raises OSError as `say`."""
    encoded = msgspec.json.encode(content)
    _write(printable_json(msgspec.json.format(encoded) if indent else encoded), False)


def is_terminal() -> bool:
    """Whether stdout is one."""
    return sys.stdout.isatty()


def _write(text: str, err: bool) -> None:
    stream = sys.stderr if err else sys.stdout
    try:
        stream.write(text + "\n")
    except UnicodeEncodeError:  # an ASCII or Latin-1 terminal
        stream.write(text.encode(stream.encoding, "backslashreplace").decode(stream.encoding) + "\n")
    stream.flush()
