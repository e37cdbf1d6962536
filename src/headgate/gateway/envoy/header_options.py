"""Header changes in Envoy's words."""

from collections.abc import Iterator, Mapping
from typing import Literal

from headgate.gateway.api import Refusal
from headgate.gateway.envoy.names import Json
from headgate.model import headers
from headgate.model.objects import HeaderModifier

Action = Literal["OVERWRITE_IF_EXISTS_OR_ADD", "APPEND_IF_EXISTS_OR_ADD", "ADD_IF_ABSENT"]


def header(name: str, value: str, action: Action = "OVERWRITE_IF_EXISTS_OR_ADD") -> Json:
    """A HeaderValueOption. The value is a format string: a literal `%` is written twice."""
    return {"header": {"key": name, "value": value}, "append_action": action}


def refused(modifier: HeaderModifier, member: str, more: Mapping[str, str] | None = None) -> Refusal | None:
    """The first header that no route may touch, or whose value no message may carry; None: all is well.

    *member* is the filter's member that *modifier* was written in; *more* maps further names to what to do
    instead.
    """
    for field, name, value in _named(modifier):
        instead = (more or {}).get(name.lower())
        why = headers.reserved(name) if instead is None else None
        if instead is not None:
            message = f"{name.lower()} cannot be changed by a header modifier; {instead}"
        elif why is not None:
            message = f"header {name} cannot be changed by a route, because {why}: remove this entry"
        elif value is not None and _unprintable(value):
            message = f"the value of header {name} has a line break or another control character"
            return Refusal(message, f"{member}.{field}.value")
        else:
            continue
        return Refusal(message, f"{member}.{field}" + (".name" if value is not None else ""))
    return None


def _unprintable(value: str) -> bool:
    return any(each != "\t" and (each < " " or each == "\x7f") for each in value)


def _named(modifier: HeaderModifier) -> Iterator[tuple[str, str, str | None]]:
    """Field, name and value of every header in *modifier*; no value where it is removed."""
    for index, each in enumerate(modifier.set):
        yield f"set[{index}]", each.name, each.value
    for index, each in enumerate(modifier.add):
        yield f"add[{index}]", each.name, each.value
    for index, name in enumerate(modifier.remove):
        yield f"remove[{index}]", name, None


def written(modifier: HeaderModifier) -> tuple[Json, ...]:
    """The headers that *modifier* sets, then those that it adds, with values taken literally."""
    return (
        *(header(each.name, each.value.replace("%", "%%")) for each in modifier.set),
        *(
            header(each.name, each.value.replace("%", "%%"), "APPEND_IF_EXISTS_OR_ADD")
            for each in modifier.add
        ),
    )
