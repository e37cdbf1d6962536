"""RequestHeaderModifier: set, add and remove request headers."""

from typing import ClassVar, Self

from headgate.gateway.api import Effect, FilterPlugin, Position, Refusal, Scope
from headgate.gateway.envoy.header_options import refused, written
from headgate.model.objects import HeaderModifier, RouteFilter


class RequestHeaderModifier(FilterPlugin, frozen=True):
    """`host` cannot be removed, and is not set here either: URLRewrite does that."""

    TYPE: ClassVar[str] = "RequestHeaderModifier"
    ORDER: ClassVar[int] = 10
    ON_BACKENDS: ClassVar[bool] = True

    modifier: HeaderModifier

    @classmethod
    def read(cls, settings: RouteFilter, scope: Scope) -> Self | Refusal:
        """Refused for headers that no route may touch."""
        modifier = settings.request_header_modifier
        assert modifier is not None, "rules.py asks for it"
        instead = {"host": "use a URLRewrite filter with hostname"}
        return refused(modifier, "requestHeaderModifier", instead) or cls(modifier)

    def effect(self, at: Position) -> Effect:
        """Headers to add and to remove."""
        return Effect(request_add=written(self.modifier), request_remove=self.modifier.remove)
