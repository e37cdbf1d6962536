"""URLRewrite: change host or path before forwarding."""

import re
from typing import Any, ClassVar

from headgate.gateway.api import Effect, FilterKind, Refusal
from headgate.gateway.paths import prefix_rewrite
from headgate.model.objects import PathMatch, RouteFilter


class UrlRewriteFilter(FilterKind):
    """A query string is kept in every case."""

    type: ClassVar[str] = "URLRewrite"

    def effect(self, settings: RouteFilter, path: PathMatch) -> Effect | Refusal:
        """Rewrite fields of an Envoy RouteAction."""
        wanted = settings.url_rewrite
        assert wanted is not None, "rules.py asks for it"
        action: dict[str, Any] = {}
        if wanted.hostname is not None:
            action["host_rewrite_literal"] = wanted.hostname
        if wanted.path is not None and wanted.path.replace_full_path is not None:
            substitution = re.sub(r"\\", r"\\\\", wanted.path.replace_full_path)
            action["regex_rewrite"] = {"pattern": {"regex": "^/.*$"}, "substitution": substitution}
        elif wanted.path is not None and wanted.path.replace_prefix_match is not None:
            rewrite = prefix_rewrite(path, wanted.path.replace_prefix_match)
            if isinstance(rewrite, str):
                return Refusal(rewrite)
            action |= rewrite
        return Effect(action=action)
