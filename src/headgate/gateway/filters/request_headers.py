"""RequestHeaderModifier: set, add and remove request headers."""

from typing import ClassVar

from headgate.gateway.api import Effect, FilterKind, Refusal
from headgate.gateway.envoy.header_options import refused, written
from headgate.model.objects import PathMatch, RouteFilter


class RequestHeaderModifier(FilterKind):
    """`host` cannot be removed, and is not set here either: URLRewrite does that."""

    type: ClassVar[str] = "RequestHeaderModifier"

    def effect(self, settings: RouteFilter, path: PathMatch) -> Effect | Refusal:
        """Headers to add and to remove."""
        modifier = settings.request_header_modifier
        assert modifier is not None, "rules.py asks for it"
        refusal = refused(
            modifier, "requestHeaderModifier", {"host": "use a URLRewrite filter with hostname"}
        )
        if refusal is not None:
            return refusal
        return Effect(request_add=written(modifier), request_remove=modifier.remove)
