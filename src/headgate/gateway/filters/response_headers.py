"""ResponseHeaderModifier: set, add and remove response headers."""

from typing import ClassVar, Self

from headgate.gateway.api import Effect, FilterPlugin, Position, Refusal, Scope
from headgate.gateway.envoy.header_options import refused, written
from headgate.model.objects import HeaderModifier, RouteFilter


class ResponseHeaderModifier(FilterPlugin, frozen=True):
    """Applies to upstream answers, not to errors that the gateway makes itself."""

    TYPE: ClassVar[str] = "ResponseHeaderModifier"
    ORDER: ClassVar[int] = 20
    ON_BACKENDS: ClassVar[bool] = True

    modifier: HeaderModifier

    @classmethod
    def read(cls, settings: RouteFilter, scope: Scope) -> Self | Refusal:
        """Refused for headers that no route may touch."""
        modifier = settings.response_header_modifier
        assert modifier is not None, "rules.py asks for it"
        instead = {"host": "answers have no such header"}
        return refused(modifier, "responseHeaderModifier", instead) or cls(modifier)

    def effect(self, at: Position) -> Effect:
        """Headers to add and to remove."""
        return Effect(response_add=written(self.modifier), response_remove=self.modifier.remove)
