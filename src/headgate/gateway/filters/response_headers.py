"""ResponseHeaderModifier: set, add and remove response headers."""

from typing import ClassVar

from headgate.gateway.api import Effect, FilterKind, Refusal
from headgate.gateway.envoy.header_options import refused, written
from headgate.model.objects import PathMatch, RouteFilter


class ResponseHeaderModifier(FilterKind):
    """Applies to upstream answers, not to errors that the gateway makes itself."""

    type: ClassVar[str] = "ResponseHeaderModifier"

    def effect(self, settings: RouteFilter, path: PathMatch) -> Effect | Refusal:
        """Headers to add and to remove."""
        modifier = settings.response_header_modifier
        assert modifier is not None, "rules.py asks for it"
        refusal = refused(modifier, "responseHeaderModifier")
        if refusal is not None:
            return refusal
        return Effect(response_add=written(modifier), response_remove=modifier.remove)
