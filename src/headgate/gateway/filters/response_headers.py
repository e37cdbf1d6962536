"""ResponseHeaderModifier: set, add and remove response headers."""

from typing import ClassVar

from headgate.gateway.api import Effect, FilterKind
from headgate.gateway.envoy.replies import header
from headgate.model.objects import PathMatch, RouteFilter


class ResponseHeaderModifier(FilterKind):
    """Applies to upstream answers, not to errors that the gateway makes itself."""

    type: ClassVar[str] = "ResponseHeaderModifier"

    def effect(self, settings: RouteFilter, path: PathMatch) -> Effect | str:
        """Headers to add and to remove."""
        modifier = settings.response_header_modifier
        assert modifier is not None, "rules.py asks for it"
        return Effect(
            response_add=(
                *(header(each.name, each.value.replace("%", "%%")) for each in modifier.set),
                *(
                    header(each.name, each.value.replace("%", "%%"), "APPEND_IF_EXISTS_OR_ADD")
                    for each in modifier.add
                ),
            ),
            response_remove=modifier.remove,
        )
