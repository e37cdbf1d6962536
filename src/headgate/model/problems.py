"""A user's mistake is a value: it ends as a CLI line, a status condition or a dashboard row."""

from typing import Literal

import msgspec

Severity = Literal["error", "warning", "note"]
"""Something does not work as written; works, but hardly as meant; works, and may surprise."""


class Place(msgspec.Struct, frozen=True, order=True):
    """Where a value was written: what a user needs to find it."""

    file: str = ""
    """Path as the user gave it; empty when the object did not come from a file."""
    line: int = 0
    """1-based; 0 when unknown."""
    object: str = ""
    """`Kind namespace/name`, or empty when the text is no object at all."""
    field: str = ""
    """Dotted path within the object, e.g. `spec.rules[0].backendRefs[1].name`."""

    def __str__(self) -> str:
        where = f"{self.file}:{self.line}" if self.file and self.line else self.file
        return " ".join(part for part in (where, self.object, self.field) if part)


class Problem(msgspec.Struct, frozen=True, order=True):
    """Something a user should mend. The objects around it keep working."""

    place: Place
    reason: str
    """CamelCase and stable, a condition reason of the Gateway API where one fits."""
    message: str
    """One sentence: what is wrong and what to do."""
    severity: Severity = "error"

    def __str__(self) -> str:
        where = str(self.place)
        return (
            f"{where}: {self.severity}: {self.message} [{self.reason}]"
            if where
            else f"{self.severity}: {self.message} [{self.reason}]"
        )
