"""Header changes in Envoy's words."""

from typing import Literal

from headgate.gateway.envoy.names import Json
from headgate.model.objects import HeaderModifier

Action = Literal["OVERWRITE_IF_EXISTS_OR_ADD", "APPEND_IF_EXISTS_OR_ADD", "ADD_IF_ABSENT"]


def header(name: str, value: str, action: Action = "OVERWRITE_IF_EXISTS_OR_ADD") -> Json:
    """A HeaderValueOption. The value is a format string: a literal `%` is written twice."""
    return {"header": {"key": name, "value": value}, "append_action": action}


def written(modifier: HeaderModifier) -> tuple[Json, ...]:
    """The headers that *modifier* sets, then those that it adds, with values taken literally."""
    return (
        *(header(each.name, each.value.replace("%", "%%")) for each in modifier.set),
        *(
            header(each.name, each.value.replace("%", "%%"), "APPEND_IF_EXISTS_OR_ADD")
            for each in modifier.add
        ),
    )
