"""Prints which wire and which core the picker would use, for `make`."""

import sys

from headgate import compiled

try:
    why = compiled.plain_because()
except compiled.CoreError as error:
    sys.exit(f"no core: {error}")

from headgate.io.extproc.native import MissingError, load

try:
    wire = "native" if load() is not None else "portable"
except (MissingError, ValueError) as error:
    wire = f"no ({error})"
print(f"{wire} wire, compiled core" if why is None else f"{wire} wire, plain core ({why})")
