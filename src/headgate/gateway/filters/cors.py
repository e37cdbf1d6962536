"""CORS: pages of other origins may call the route and read its answers."""

import re
from collections.abc import Sequence
from typing import Any, ClassVar, Self

from headgate.gateway.api import Effect, FilterPlugin, Position, Refusal, Scope
from headgate.gateway.envoy.header_options import header
from headgate.gateway.envoy.names import CORS, typed
from headgate.model.objects import Cors, RouteFilter

ANSWER_HEADERS = (
    "access-control-allow-origin",
    "access-control-allow-credentials",
    "access-control-allow-methods",
    "access-control-allow-headers",
    "access-control-expose-headers",
    "access-control-max-age",
)
"""What servers say of it is dropped: the route decides."""

_WILDCARD = "*"


class CorsFilter(FilterPlugin, frozen=True):
    """Browsers' OPTIONS requests (preflights) are answered by the gateway and never reach a backend."""

    TYPE: ClassVar[str] = "CORS"
    ORDER: ClassVar[int] = 5

    wanted: Cors

    @classmethod
    def read(cls, settings: RouteFilter, scope: Scope) -> Self | Refusal:
        """Refused for names with characters that Envoy's expressions and formats take for theirs."""
        wanted = settings.cors
        assert wanted is not None, "rules.py asks for it"
        for field, names in (
            ("allowHeaders", wanted.allow_headers),
            ("exposeHeaders", wanted.expose_headers),
        ):
            for index, name in enumerate(names):
                if any(each in name for each in "%'"):
                    return Refusal(
                        f"{name!r} cannot be told to browsers: remove it", f"cors.{field}[{index}]"
                    )
        return cls(wanted)

    def effect(self, at: Position) -> Effect:
        """Envoy decides by the origin; all else is told only where it allowed one, and not to other pages.

        Methods and headers that `*` allows are those that the browser asks for: with credentials `*` itself
        would be taken for a name.
        """
        wanted = self.wanted
        told = {
            "methods": _listed(wanted.allow_methods, "access-control-request-method"),
            "headers": _listed(wanted.allow_headers, "access-control-request-headers"),
        }
        answers = [header("vary", "Origin", "APPEND_IF_EXISTS_OR_ADD")]
        answers += (_told(f"allow-{name}", value, _PREFLIGHT) for name, value in told.items() if value)
        answers.append(_told("max-age", f"'{wanted.max_age}'", _PREFLIGHT))
        if wanted.allow_credentials:
            answers.append(_told("allow-credentials", "'true'", _ALLOWED))
        exposed = wanted.expose_headers
        if exposed and not (_WILDCARD in exposed and wanted.allow_credentials):
            answers.append(_told("expose-headers", f"'{', '.join(exposed)}'", _ALLOWED))
        policy = typed(
            "envoy.extensions.filters.http.cors.v3.CorsPolicy",
            allow_origin_string_match=[_origin(each) for each in wanted.allow_origins],
            forward_not_matching_preflights=False,
        )
        return Effect(
            response_remove=ANSWER_HEADERS,
            own_answers_set=tuple(answers),
            per_filter={CORS: policy},
            preflights=True,
        )


_ALLOWED = "'access-control-allow-origin' in response.headers"
_PREFLIGHT = f"request.method == 'OPTIONS' && {_ALLOWED}"


def _told(name: str, value: str, when: str) -> Any:
    """A header of answers with the value of a CEL expression; an empty one is not sent."""
    return header(f"access-control-{name}", f"%CEL({when} ? {value} : '')%", "ADD_IF_ABSENT")


def _listed(names: Sequence[str], asked: str) -> str:
    """A CEL expression: the names, or for `*` what the preflight asks for by the header *asked*."""
    if _WILDCARD in names:
        return f"('{asked}' in request.headers ? request.headers['{asked}'] : '')"
    return f"'{', '.join(names)}'" if names else ""


def _origin(written: str) -> dict[str, Any]:
    """A StringMatcher. `*` in a host is any number of its labels, alone any origin."""
    if written == _WILDCARD:
        return {"safe_regex": {"regex": ".*"}}
    if _WILDCARD not in written:
        return {"exact": written}
    parts = (re.escape(part) for part in written.split(_WILDCARD))
    return {"safe_regex": {"regex": "[A-Za-z0-9.-]+".join(parts)}}
