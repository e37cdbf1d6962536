"""URLRewrite: change host or path before forwarding."""

import re
from typing import Any, ClassVar, Self

from headgate.gateway.api import Effect, FilterPlugin, Position, Refusal, Scope
from headgate.gateway.paths import prefix_rewrite
from headgate.model.objects import PathMatch, RouteFilter, UrlRewrite


class UrlRewriteFilter(FilterPlugin, frozen=True):
    """A query string is kept in every case."""

    TYPE: ClassVar[str] = "URLRewrite"
    ORDER: ClassVar[int] = 40
    ON_BACKENDS: ClassVar[bool] = True

    wanted: UrlRewrite
    path: PathMatch

    @classmethod
    def read(cls, settings: RouteFilter, scope: Scope) -> Self | Refusal:
        """Refused where a prefix is replaced that no match has."""
        wanted = settings.url_rewrite
        assert wanted is not None, "rules.py asks for it"
        if wanted.path is not None and wanted.path.replace_prefix_match is not None:
            rewrite = prefix_rewrite(scope.path, wanted.path.replace_prefix_match)
            if isinstance(rewrite, str):
                return Refusal(rewrite)
        return cls(wanted, scope.path)

    def effect(self, at: Position) -> Effect:
        """Rewrite fields of an Envoy RouteAction."""
        wanted = self.wanted
        action: dict[str, Any] = {}
        if wanted.hostname is not None:
            action["host_rewrite_literal"] = wanted.hostname
        if wanted.path is not None and wanted.path.replace_full_path is not None:
            substitution = re.sub(r"\\", r"\\\\", wanted.path.replace_full_path)
            action["regex_rewrite"] = {"pattern": {"regex": "^/.*$"}, "substitution": substitution}
        elif wanted.path is not None and wanted.path.replace_prefix_match is not None:
            rewrite = prefix_rewrite(self.path, wanted.path.replace_prefix_match)
            assert not isinstance(rewrite, str), "read() has refused it"
            action |= rewrite
        return Effect(action=action)
