"""RequestHeaderModifier: set, add and remove request headers."""

from typing import ClassVar

from headgate.gateway.api import Effect, FilterKind
from headgate.gateway.envoy.header_options import written
from headgate.model.objects import PathMatch, RouteFilter


class RequestHeaderModifier(FilterKind):
    """`host` cannot be removed, and is not set here either: URLRewrite does that."""

    type: ClassVar[str] = "RequestHeaderModifier"

    def effect(self, settings: RouteFilter, path: PathMatch) -> Effect | str:
        """Headers to add and to remove."""
        modifier = settings.request_header_modifier
        assert modifier is not None, "rules.py asks for it"
        names = [each.name for each in (*modifier.set, *modifier.add)] + list(modifier.remove)
        if any(name.lower() == "host" for name in names):
            return "host cannot be changed by a header modifier; use a URLRewrite filter with hostname"
        return Effect(request_add=written(modifier), request_remove=modifier.remove)
