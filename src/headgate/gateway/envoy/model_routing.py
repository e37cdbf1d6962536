"""Routing by model name: the body's `model` becomes a header, and the route is chosen again.

Every listener has the filters, switched off. A route configuration switches them on when one of its routes
matches the header: from then on bodies of JSON and forms are held until they are whole. Which of the filters
that are off a request gets is settled by Envoy's first choice of a route, so every request must have one.
Routes that can take no request away from their models' routes may switch the filters off again.
"""

from collections.abc import Iterator, Mapping, Sequence

from headgate.gateway.envoy import names
from headgate.gateway.envoy.body_script import FORM_TYPE, JSON_TYPE, READ_MARK, SCRIPT, context
from headgate.gateway.envoy.header_options import header
from headgate.gateway.envoy.names import Json, extension, typed
from headgate.gateway.settings import GatewaySettings
from headgate.model import headers

_FILTERS = "envoy.extensions.filters.http"
_MATCHING = "envoy.extensions.common.matching.v3"
_TRANSFORM = f"{_FILTERS}.transform.v3.TransformConfig"

BODY_LIMIT = "envoy.filters.http.match_delegate"
"""Name of the filter that holds bodies of JSON and forms, and knows how long they may be."""

TRANSFORM = "envoy.filters.http.transform"

BODY_SCRIPT = "headgate.body"
"""Name of the Lua filter; see `body_script`."""


_FILTER_NAMES = (BODY_LIMIT, TRANSFORM, BODY_SCRIPT)


def filters(settings: GatewaySettings) -> list[Json]:
    """HTTP filters, first in the chain, off: a limit for bodies, then the header from JSON, then from forms.

    `transform` by itself would go by the limit of the route, and before the header is set it may be that of
    an answer without a backend, 1 MiB. The script stands here although routes might bring it: a request keeps
    a reference into its Lua state to its end, and with scoped routes a second choice can let go of the first
    one's configuration.
    """
    limit = extension(
        "envoy.filters.http.buffer",
        f"{_FILTERS}.buffer.v3.Buffer",
        max_request_bytes=settings.body_limit_bytes,
    )
    read_only = extension(
        BODY_LIMIT, f"{_MATCHING}.ExtensionWithMatcher", extension_config=limit, xds_matcher=_SKIP_OTHERS
    )
    script = extension(BODY_SCRIPT, f"{_FILTERS}.lua.v3.Lua", default_source_code={"inline_string": SCRIPT})
    return [each | {"disabled": True} for each in (read_only, extension(TRANSFORM, _TRANSFORM), script)]


def switched_on(base_models: Mapping[str, str] | None = None) -> Json:
    """`typed_per_filter_config` of routes, hosts or configurations where the model's name may be matched.

    *base_models* maps names of adapters and base models to the base model's name, for the second header; it
    changes with the routes and never a listener. Without a `model` in the body both headers stay absent.
    ext_proc is made for every request, because its pool is known later; with all parts skipped it asks
    nobody.
    """
    told = (header(headers.MODEL_NAME, "%REQUEST_BODY(model)%"), header(READ_MARK, "1"))
    silent = {"request_header_mode": "SKIP", "response_header_mode": "SKIP"}
    return {
        BODY_LIMIT: typed(f"{_MATCHING}.ExtensionWithMatcherPerRoute", xds_matcher=_SKIP_OTHERS),
        TRANSFORM: typed(
            _TRANSFORM,
            request_transformation={"headers_mutations": [{"append": each} for each in told]},
            clear_route_cache=True,
        ),
        BODY_SCRIPT: typed(f"{_FILTERS}.lua.v3.LuaPerRoute", filter_context=context(base_models or {})),
        names.EXT_PROC: typed(
            f"{_FILTERS}.ext_proc.v3.ExtProcPerRoute", overrides={"processing_mode": silent}
        ),
    }


def switched_off() -> Json:
    """`typed_per_filter_config` of routes and hosts for which nothing is to be read, below `switched_on`."""
    return {name: typed("envoy.config.route.v3.FilterConfig", disabled=True) for name in _FILTER_NAMES}


def by_model(match: Json) -> bool:
    """Whether an Envoy RouteMatch asks for the model or the base model."""
    return any(each["name"].lower() in headers.FROM_BODY for each in match.get("headers", ()))


def must_be_read(matches: Sequence[Json]) -> list[bool]:
    """For each route of a host, by their Envoy matches in order: whether bodies of its requests must be read.

    Envoy's first choice of a route is made without the model; it may be wrong where an earlier route asks for
    the model and a path can fit both. Elsewhere the filters may be off: uploads to a path of their own are
    neither held nor limited.
    """
    asking = _Paths()
    found: list[bool] = []
    for match in matches:
        asks = by_model(match)
        found.append(asks or asking.meet(match))
        if asks:
            asking.add(match)
    return found


class _Paths:
    """Paths of Envoy matches, to ask which others meet them."""

    def __init__(self) -> None:
        self._any = False
        """Every path may be among them: there is `/`, or an expression."""
        self._prefixes: set[str] = set()
        self._exact: set[str] = set()
        self._above: set[str] = set()
        """All of both, and what they lie below."""

    def add(self, match: Json) -> None:
        """One more."""
        kind, path = _path(match)
        if kind == "any":
            self._any = True
            return
        (self._prefixes if kind == "prefix" else self._exact).add(path)
        self._above.update(_upwards(path))

    def meet(self, match: Json) -> bool:
        """Whether a request may fit this match and one of them, for all that their paths say."""
        kind, path = _path(match)
        if self._any or kind == "any":
            return self._any or bool(self._above)
        below = any(each in self._prefixes for each in _upwards(path))
        return below or path in (self._above if kind == "prefix" else self._exact)


def _path(match: Json) -> tuple[str, str]:
    """How a match compares the path, `any` where it cannot be told, and with what."""
    if "path" in match:
        return "exact", match["path"]
    return ("prefix", match["path_separated_prefix"]) if "path_separated_prefix" in match else ("any", "")


def _upwards(path: str) -> Iterator[str]:
    """The path, and those that lie above it."""
    while path:
        yield path
        path = path.rpartition("/")[0]


def _skip_others() -> Json:
    """Other bodies pass by: raw uploads and gRPC streams are neither held nor limited."""
    content_type = extension(
        "content-type", "envoy.type.matcher.v3.HttpRequestHeaderMatchInput", header_name="content-type"
    )
    read = [
        {"single_predicate": {"input": content_type, "value_match": value}}
        for value in ({"contains": JSON_TYPE}, {"prefix": FORM_TYPE, "ignore_case": True})
    ]
    return names.skipped_where({"not_matcher": {"or_matcher": {"predicate": read}}})


_SKIP_OTHERS = _skip_others()
