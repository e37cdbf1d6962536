"""The parts that all results are made of."""

from collections.abc import Iterable
from typing import Literal

import msgspec

from headgate.model.problems import Problem


class Condition(msgspec.Struct, frozen=True, rename="camel"):
    """One statement about an object, without the time when it became true: the writer knows that."""

    type: str
    status: Literal["True", "False", "Unknown"]
    reason: str
    message: str = ""
    observed_generation: int = 0


Conditions = tuple[Condition, ...]


def condition(type_: str, holds: bool, reason: str, message: str, generation: int) -> Condition:
    """A statement that holds or does not."""
    return Condition(type_, "True" if holds else "False", reason, message[:32768], generation)


def resolved(wrong: Iterable[tuple[str, str]], generation: int) -> Condition:
    """ResolvedRefs: *wrong* are reason and message of references that lead nowhere."""
    for reason, message in wrong:
        return condition("ResolvedRefs", False, reason, message, generation)
    return condition("ResolvedRefs", True, "ResolvedRefs", "", generation)


def accepted(wrong: Iterable[Problem], generation: int) -> Condition:
    """Accepted: by what is wrong with an object, for the first error's reason. Warnings are its message."""
    said: list[str] = []
    for each in wrong:
        if each.severity == "error":
            return condition("Accepted", False, each.reason, each.message, generation)
        said.append(each.message)
    return condition("Accepted", True, "Accepted", "; ".join(said), generation)


class ParentRef(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """What an object is attached to."""

    name: str
    namespace: str
    group: str
    kind: str
    section_name: str | None = None
    port: int | None = None


class Parent(msgspec.Struct, frozen=True, rename="camel"):
    """What became of an object at one of its parents."""

    parent_ref: ParentRef
    controller_name: str
    conditions: Conditions
