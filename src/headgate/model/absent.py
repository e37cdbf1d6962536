"""What to say of a reference to an object that is not there."""

import difflib
from collections.abc import Iterable

from headgate.model.snapshot import Snapshot

UNREADABLE = frozenset({"InvalidYAML", "Unreadable", "TooLarge", "Refused"})
"""Reasons of problems that hide whole documents."""

MOST_NAMED = 5
"""Objects that a sentence lists."""

MOST_COMPARED = 200
"""Names that are looked through for one that is nearly the same; who has more is told without a guess."""


class Absent:
    """Looks up in one snapshot why a name leads nowhere, and what its author may have meant."""

    def __init__(self, snapshot: Snapshot) -> None:
        self._names: dict[str, dict[str, list[str]]] = {}
        for each in snapshot.objects:
            identity = each.identity
            self._names.setdefault(identity.kind, {}).setdefault(identity.namespace, []).append(identity.name)
        errors = [problem for problem in snapshot.problems if problem.severity == "error"]
        self._broken = {problem.place.object for problem in errors}
        self._unreadable = any(problem.reason in UNREADABLE for problem in errors)

    def broken(self, kind: str, namespace: str, name: str) -> bool:
        """Whether the object is there and too wrong to be used, which is said in its own place."""
        return f"{kind} {namespace}/{name}" in self._broken

    def any_broken(self, kind: str) -> bool:
        """Whether an object of this kind is not used, or a document is not read, that may hold one."""
        return self._unreadable or any(
            each.casefold().startswith(f"{kind.casefold()} ") for each in self._broken
        )

    def elsewhere(self, kind: str, namespace: str, name: str) -> list[str]:
        """Other namespaces with an object of this kind and name."""
        found = self._names.get(kind, {})
        return sorted(other for other, names in found.items() if name in names and other != namespace)

    def names(self, kind: str, namespace: str) -> list[str]:
        """All objects of this kind there."""
        return sorted(self._names.get(kind, {}).get(namespace, ()))

    def sentence(self, kind: str, namespace: str, name: str, crossing: str = "") -> str:
        """That the object is not there, and what may have been meant; *crossing* is said of what it takes to
        refer to another namespace."""
        if self.broken(kind, namespace, name):
            return f"{kind} {namespace}/{name} is there, but wrong and not used (see there)"
        said = f"there is no {kind} {namespace}/{name}"
        elsewhere = self.elsewhere(kind, namespace, name)
        if elsewhere:
            remedy = crossing.replace("NAMESPACE", elsewhere[0])
            return f"{said}; there is one in namespace {elsewhere[0]}{remedy}"
        if any(each.startswith(f"{kind} without a name") for each in self._broken):
            return f"{said} (one {kind} in the files has no name that can be read, see there)"
        if self._unreadable:
            return f"{said}; a document that cannot be read may hold it"
        return said + meant(name, self.names(kind, namespace))


def meant(name: str, known: Iterable[str]) -> str:
    """` (did you mean …?)` or ` (there is …)`, or nothing where there is nothing else."""
    names = sorted(known)
    near = difflib.get_close_matches(name[:253], names, 1) if len(names) <= MOST_COMPARED else []
    if near:
        return f" (did you mean {near[0]}?)"
    if not names:
        return ""
    shown = ", ".join(names[:MOST_NAMED])
    more = len(names) - MOST_NAMED
    rest = f" and {more} more" if more > 0 else ""
    return f" (there {'is' if len(names) == 1 else 'are'} {shown}{rest})"
