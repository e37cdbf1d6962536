"""Prints which wire and which core the picker would use, for `make`."""

from headgate import core
from headgate.io.extproc.native import MissingError, load


def wire() -> str:
    """One word, or why there is none."""
    try:
        return "native" if load() is not None else "portable"
    except (MissingError, ValueError) as error:
        return f"no ({error})"


def form() -> str:
    """The same of the core; plain says why."""
    try:
        why = core.plain_because()
    except core.CoreError as error:
        return f"no core ({error})"
    return "compiled core" if why is None else f"plain core ({why})"


print(f"{wire()} wire, {form()}")
