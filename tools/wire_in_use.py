"""Prints which wire the picker would use, for `make setup`."""

from headgate.io.extproc.native import MissingError, load

try:
    print("native" if load() is not None else "portable")
except (MissingError, ValueError) as error:
    print(f"no ({error})")
