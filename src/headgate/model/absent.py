"""What to say of a reference to an object that is not there."""

import difflib
from collections.abc import Iterable

from headgate.model.problems import Problem
from headgate.model.store import Store

UNREADABLE = frozenset({"InvalidYAML", "Unreadable", "TooLarge", "Refused"})
"""Reasons of problems that hide whole documents."""

MOST_NAMED = 5
"""Objects that a sentence lists."""

MOST_COMPARED = 200
"""Names that are looked through for one that is nearly the same; who has more is told without a guess."""


def broken(world: Store, kind: str, namespace: str, name: str) -> bool:
    """Whether the object is there and too wrong to be used, which is said in its own place."""
    return world.entry("broken", f"{kind} {namespace}/{name}") is not None


def any_broken(world: Store, kind: str) -> bool:
    """Whether an object of this kind is not used, or a document is not read, that may hold one."""
    return bool(world.entry("broken kinds", "") or world.entry("broken kinds", kind.casefold()))


def sentence(world: Store, kind: str, namespace: str, name: str, crossing: str = "") -> str:
    """That the object is not there, and what may have been meant; *crossing* says what it takes to refer to
    another namespace."""
    if broken(world, kind, namespace, name):
        return f"{kind} {namespace}/{name} is there, but wrong and not used (see there)"
    said = f"there is no {kind} {namespace}/{name}"
    elsewhere = sorted({each.namespace for each in world.named(kind, name)} - {namespace})
    if elsewhere:
        remedy = crossing.replace("NAMESPACE", elsewhere[0])
        return f"{said}; there is one in namespace {elsewhere[0]}{remedy}"
    if world.entry("broken kinds", f"{kind.casefold()} without a name"):
        return f"{said} (one {kind} in the files has no name that can be read, see there)"
    if world.entry("broken kinds", ""):
        return f"{said}; a document that cannot be read may hold it"
    return said + meant(name, names(world, kind, namespace))


def names(world: Store, kind: str, namespace: str) -> list[str]:
    """All objects of this kind there."""
    return sorted({each.name for each in world.indexed("namespace", (kind, namespace))})


def broken_tables(problems: Iterable[Problem]) -> tuple[dict[str, bool], dict[str, bool]]:
    """The tables `broken` and `broken kinds` from what is wrong with the text that objects came from: objects
    that are not used; and kinds of such objects, the empty text where a whole document is not read."""
    objects: dict[str, bool] = {}
    kinds: dict[str, bool] = {}
    for problem in problems:
        if problem.severity == "error":
            what = problem.place.object
            objects[what] = True
            kind, space, rest = what.partition(" ")
            if space:
                kinds[kind.casefold()] = True
            if rest == "without a name":
                kinds[what.casefold()] = True
            if problem.reason in UNREADABLE:
                kinds[""] = True
    return objects, kinds


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
