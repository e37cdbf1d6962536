"""Rules across fields of routes that the CRDs state in CEL.

`rules.py` asks for them. Each function yields (field path, sentence) pairs.
"""

import re
from collections.abc import Iterator, Sequence

from headgate.model.durations import seconds
from headgate.model.meta import INFERENCE_GROUP
from headgate.model.objects import (
    BackendRef,
    Cors,
    GRPCRoute,
    GrpcRule,
    Header,
    HTTPRoute,
    ParentRef,
    PathMatch,
    RequestMirror,
    RouteFilter,
    RouteRule,
    ValueMatch,
)

Broken = Iterator[tuple[str, str]]

FILTER_MEMBERS = {
    "RequestHeaderModifier": "request_header_modifier",
    "ResponseHeaderModifier": "response_header_modifier",
    "RequestRedirect": "request_redirect",
    "URLRewrite": "url_rewrite",
    "RequestMirror": "request_mirror",
    "CORS": "cors",
    "ExtensionRef": "extension_ref",
    "ExternalAuth": "external_auth",
}
"""Filter type → the member that holds its settings."""

WIRE_NAMES = {
    "request_header_modifier": "requestHeaderModifier",
    "response_header_modifier": "responseHeaderModifier",
    "request_redirect": "requestRedirect",
    "url_rewrite": "urlRewrite",
    "request_mirror": "requestMirror",
    "cors": "cors",
    "extension_ref": "extensionRef",
    "external_auth": "externalAuth",
}

REPEATABLE = frozenset({"RequestMirror"})
"""Filters that a rule may have several of."""


MAX_MATCHES = 128
"""Of all rules of a route together."""

MAX_PARAMETER = 1024
"""Characters of a query parameter's value."""


def http_route(route: HTTPRoute) -> Broken:
    yield from _parents(route.spec.parent_refs)
    yield from _rules(route.spec.rules)
    for index, rule in enumerate(route.spec.rules):
        yield from _rule(rule, f"spec.rules[{index}]")


def _parents(refs: tuple[ParentRef, ...]) -> Broken:
    """Two references to one parent name different listeners or ports of it, and both say which."""
    for index, ref in enumerate(refs):
        for other in refs[:index]:
            if (ref.group, ref.kind, ref.name, ref.namespace) != (
                other.group,
                other.kind,
                other.name,
                other.namespace,
            ):
                continue
            where = f"spec.parentRefs[{index}]"
            if ref == other:
                yield where, f"{ref.kind} {ref.name} is named twice; remove one"
            elif (ref.section_name is None, ref.port is None) != (
                other.section_name is None,
                other.port is None,
            ):
                yield where, f"{ref.kind} {ref.name} is named twice: give both a sectionName, or both a port"


def _rules(rules: Sequence[RouteRule | GrpcRule]) -> Broken:
    count = sum(len(each.matches) for each in rules)
    if count > MAX_MATCHES:
        yield (
            "spec.rules",
            f"all rules may have {MAX_MATCHES} matches, not {count}; write a second route",
        )
    names = [each.name for each in rules]
    for index, name in enumerate(names):
        if name is not None and names.index(name) != index:
            yield f"spec.rules[{index}].name", f"two rules are called {name!r}; rule names must be unique"
    for index, each in enumerate(rules):
        session, where = each.session_persistence, f"spec.rules[{index}].sessionPersistence"
        if session is None:
            continue
        if session.cookie_config is not None and session.type != "Cookie":
            yield f"{where}.cookieConfig", f"cookieConfig is for type Cookie, not {session.type}; remove it"
        elif (
            session.cookie_config is not None
            and session.cookie_config.lifetime_type == "Permanent"
            and session.absolute_timeout is None
        ):
            yield f"{where}.absoluteTimeout", "a permanent cookie needs absoluteTimeout"


def _rule(rule: RouteRule, where: str) -> Broken:
    for index, match in enumerate(rule.matches):
        yield from _path(match.path, f"{where}.matches[{index}].path.value")
        yield from _repeated(match.headers, f"{where}.matches[{index}].headers")
        yield from _repeated(match.query_params, f"{where}.matches[{index}].queryParams")
        for number, each in enumerate(match.query_params):
            if len(each.value) > MAX_PARAMETER:
                here = f"{where}.matches[{index}].queryParams[{number}].value"
                yield here, f"must have at most {MAX_PARAMETER} characters, not {len(each.value)}"
    yield from _filters(rule.filters, where)
    yield from _prefixes(rule, where)
    if rule.backend_refs and any(each.type == "RequestRedirect" for each in rule.filters):
        yield f"{where}.backendRefs", "a rule with a RequestRedirect filter must not have backendRefs"
    for index, ref in enumerate(rule.backend_refs):
        yield from _backend(ref, f"{where}.backendRefs[{index}]")
    if rule.retry is not None:
        yield from _once(rule.retry.codes, f"{where}.retry.codes")
    request, backend = rule.timeouts.request, rule.timeouts.backend_request
    if request and backend and seconds(request) and seconds(backend) > seconds(request):
        yield f"{where}.timeouts.backendRequest", "backendRequest must not be longer than request"


def _prefixes(rule: RouteRule, where: str) -> Broken:
    """A prefix can be replaced where it is known which one was met."""
    if len(rule.matches) == 1 and rule.matches[0].path.type == "PathPrefix":
        return
    places = [(rule.filters, where)]
    places += [(ref.filters, f"{where}.backendRefs[{index}]") for index, ref in enumerate(rule.backend_refs)]
    for filters, here in places:
        for index, each in enumerate(filters):
            for name, wanted in (
                ("requestRedirect", each.request_redirect),
                ("urlRewrite", each.url_rewrite),
            ):
                path = wanted.path if wanted is not None else None
                if path is not None and path.replace_prefix_match is not None:
                    yield (
                        f"{here}.filters[{index}].{name}.path",
                        "ReplacePrefixMatch needs one match in its rule, a PathPrefix: split the rule",
                    )


def _repeated(named: tuple[ValueMatch, ...] | tuple[Header, ...], where: str) -> Broken:
    names = [each.name for each in named]
    for index, name in enumerate(names):
        if names.index(name) != index:
            yield f"{where}[{index}].name", f"{name} is repeated; write it once"


def _backend(ref: BackendRef, where: str) -> Broken:
    if not ref.group and ref.kind == "Service" and ref.port is None:
        yield (
            f"{where}.port",
            f"port is required for a Service; for a pool write group: {INFERENCE_GROUP}, kind: InferencePool",
        )
    yield from _filters(ref.filters, where)


def _path(path: PathMatch, where: str) -> Broken:
    if path.type == "RegularExpression":
        return
    if not path.value.startswith("/"):
        yield where, f"{path.value!r} must be an absolute path: start it with '/'"
    for part in ("//", "/./", "/../", "%2f", "%2F", "#"):
        if part in path.value:
            yield where, f"{path.value!r} must not contain {part!r}"
    if path.value.endswith(("/..", "/.")):
        yield where, f"{path.value!r} must not end with '/..' or '/.'"
    strange = _NOT_IN_PATHS.search(path.value)
    if strange is not None and "#" not in path.value:
        hint = ": a query is matched by queryParams" if strange[0] == "?" else ", write %XX"
        yield where, f"{path.value!r} has {strange[0]!r}, which no path has{hint}"


_NOT_IN_PATHS = re.compile(r"[^-A-Za-z0-9/._~!$&'()*+,;=:@%]|%(?![0-9a-fA-F]{2})")


def _filters(filters: tuple[RouteFilter, ...], where: str) -> Broken:
    types = [each.type for each in filters]
    for index, each in enumerate(filters):
        here = f"{where}.filters[{index}]"
        repeated = each.type in FILTER_MEMBERS and types.index(each.type) != index
        if repeated and each.type not in REPEATABLE:
            yield here, f"the {each.type} filter is repeated; merge the two"
        given = [type_ for type_, member in FILTER_MEMBERS.items() if getattr(each, member) is not None]
        if given and each.type not in given:
            yield f"{here}.type", _wrong_type(each.type, given[0])
        elif not given and each.type in FILTER_MEMBERS:
            yield here, f"a filter of type {each.type} needs {WIRE_NAMES[FILTER_MEMBERS[each.type]]}"
        elif len(given) > 1:
            extra = next(type_ for type_ in given if type_ != each.type)
            name = WIRE_NAMES[FILTER_MEMBERS[extra]]
            yield (
                f"{here}.{name}",
                f"{name} belongs to type {extra}, not {each.type}: write a filter of its own for it",
            )
        yield from _path_modifier(each, here)
        yield from _headers(each, here)
        mirror = each.request_mirror
        if mirror is not None:
            yield from _mirror(mirror, f"{here}.requestMirror")
        if each.cors is not None:
            yield from _cors(each.cors, f"{here}.cors")
    if "RequestRedirect" in types and "URLRewrite" in types:
        yield f"{where}.filters", "RequestRedirect and URLRewrite exclude each other"


def _headers(filter_: RouteFilter, where: str) -> Broken:
    for name, wanted in (
        ("requestHeaderModifier", filter_.request_header_modifier),
        ("responseHeaderModifier", filter_.response_header_modifier),
    ):
        if wanted is not None:
            yield from _repeated(wanted.set, f"{where}.{name}.set")
            yield from _repeated(wanted.add, f"{where}.{name}.add")
            yield from _once(wanted.remove, f"{where}.{name}.remove")


def _once(values: tuple[str | int, ...], where: str) -> Broken:
    for index, each in enumerate(values):
        if each in values[:index]:
            yield f"{where}[{index}]", f"{each} is repeated; write it once"


def _cors(wanted: Cors, where: str) -> Broken:
    for name, values in (
        ("allowOrigins", wanted.allow_origins),
        ("allowMethods", wanted.allow_methods),
        ("allowHeaders", wanted.allow_headers),
        ("exposeHeaders", wanted.expose_headers),
    ):
        yield from _once(values, f"{where}.{name}")
        if name != "exposeHeaders" and "*" in values and len(values) > 1:
            yield f"{where}.{name}", "'*' allows all, so it stands alone: remove it or the others"


def _path_modifier(filter_: RouteFilter, where: str) -> Broken:
    for name, wanted in (("requestRedirect", filter_.request_redirect), ("urlRewrite", filter_.url_rewrite)):
        path = wanted.path if wanted is not None else None
        if path is None:
            continue
        here = f"{where}.{name}.path"
        full, prefix = path.replace_full_path, path.replace_prefix_match
        if path.type == "ReplaceFullPath" and (full is None or prefix is not None):
            yield here, "type ReplaceFullPath needs replaceFullPath, and no replacePrefixMatch"
        if path.type == "ReplacePrefixMatch" and (prefix is None or full is not None):
            yield here, "type ReplacePrefixMatch needs replacePrefixMatch, and no replaceFullPath"


def _mirror(mirror: RequestMirror, where: str) -> Broken:
    if mirror.percent is not None and mirror.fraction is not None:
        yield where, "percent and fraction exclude each other; remove one"
    fraction = mirror.fraction
    if fraction is not None and fraction.numerator > fraction.denominator:
        yield f"{where}.fraction", "numerator must not be greater than denominator"
    ref = mirror.backend_ref
    if not ref.group and ref.kind == "Service" and ref.port is None:
        yield f"{where}.backendRef.port", "port is required for a Service"


def grpc_route(route: GRPCRoute) -> Broken:
    yield from _parents(route.spec.parent_refs)
    yield from _rules(route.spec.rules)
    for index, rule in enumerate(route.spec.rules):
        where = f"spec.rules[{index}]"
        for number, match in enumerate(rule.matches):
            method = match.method
            here = f"{where}.matches[{number}].method"
            if method is not None and method.service is None and method.method is None:
                yield here, "name a service or a method, or both"
            if method is not None and method.type == "Exact":
                if method.service is not None and not _GRPC_SERVICE.fullmatch(method.service):
                    yield f"{here}.service", f"{method.service!r} is no service: letters, digits, '_' and '.'"
                if method.method is not None and not _GRPC_METHOD.fullmatch(method.method):
                    yield f"{here}.method", f"{method.method!r} is no method: letters, digits and '_'"
            yield from _repeated(match.headers, f"{where}.matches[{number}].headers")
        yield from _filters(rule.filters, where)
        yield from _of_grpc(rule.filters, where)
        for number, ref in enumerate(rule.backend_refs):
            yield from _backend(ref, f"{where}.backendRefs[{number}]")
            yield from _of_grpc(ref.filters, f"{where}.backendRefs[{number}]")


_GRPC_SERVICE = re.compile(r"(?i)\.?[a-z_][a-z0-9_]*(\.[a-z_][a-z0-9_]*)*")
_GRPC_METHOD = re.compile(r"(?i)[a-z_][a-z0-9_]*")
_GRPC_FILTERS = ("RequestHeaderModifier", "ResponseHeaderModifier", "RequestMirror", "ExtensionRef")


def _of_grpc(filters: tuple[RouteFilter, ...], where: str) -> Broken:
    for index, each in enumerate(filters):
        if each.type not in _GRPC_FILTERS:
            yield (
                f"{where}.filters[{index}].type",
                f"a GRPCRoute has no filter {each.type}; it can be {', '.join(_GRPC_FILTERS)}",
            )


def _wrong_type(type_: str, given: str) -> str:
    """What to say of a filter of *type_* with the settings of type *given*."""
    member = WIRE_NAMES[FILTER_MEMBERS[given]]
    if type_ in FILTER_MEMBERS:
        needed = WIRE_NAMES[FILTER_MEMBERS[type_]]
        return f"a filter of type {type_} needs {needed}, not {member}: write type: {given}, or {needed}"
    return f"type {type_} does not fit {member}: write type: {given}"
