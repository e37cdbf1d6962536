"""Rules across fields that the CRDs state in CEL: one function per kind.

Each takes an object and yields (field path, sentence) pairs.
"""

from collections.abc import Callable, Iterator

from headgate.model.durations import seconds
from headgate.model.meta import INFERENCE_GROUP, KubeObject
from headgate.model.objects import (
    BackendRef,
    Gateway,
    HTTPRoute,
    InferenceModel,
    InferencePool,
    ModelServer,
    PathMatch,
    RouteFilter,
    RouteRule,
)

Broken = Iterator[tuple[str, str]]

FILTER_MEMBERS = {
    "RequestHeaderModifier": "request_header_modifier",
    "ResponseHeaderModifier": "response_header_modifier",
    "RequestRedirect": "request_redirect",
    "URLRewrite": "url_rewrite",
}
"""Filter type → the member that holds its settings."""

WIRE_NAMES = {
    "request_header_modifier": "requestHeaderModifier",
    "response_header_modifier": "responseHeaderModifier",
    "request_redirect": "requestRedirect",
    "url_rewrite": "urlRewrite",
}


def broken_rules(each: KubeObject) -> list[tuple[str, str]]:
    """Every broken cross-field rule of one object, as (field path, what is wrong and what to do)."""
    check = _CHECKS.get(each.KIND)
    return list(check(each)) if check else []


def _gateway(gateway: Gateway) -> Broken:
    names: set[str] = set()
    binds: set[tuple[int, str, str | None]] = set()
    for index, listener in enumerate(gateway.spec.listeners):
        where = f"spec.listeners[{index}]"
        if listener.name in names:
            yield (
                f"{where}.name",
                f"two listeners are called {listener.name!r}; listener names must be unique",
            )
        names.add(listener.name)
        bind = (listener.port, listener.protocol, listener.hostname)
        if bind in binds:
            yield where, "another listener has the same port, protocol and hostname; change one of them"
        binds.add(bind)
        if listener.tls is not None and listener.protocol in ("HTTP", "TCP", "UDP"):
            yield f"{where}.tls", f"tls must not be set on a listener of protocol {listener.protocol}"


def _route(route: HTTPRoute) -> Broken:
    for index, rule in enumerate(route.spec.rules):
        yield from _rule(rule, f"spec.rules[{index}]")


def _rule(rule: RouteRule, where: str) -> Broken:
    for index, match in enumerate(rule.matches):
        yield from _path(match.path, f"{where}.matches[{index}].path.value")
    yield from _filters(rule.filters, where)
    if rule.backend_refs and any(each.type == "RequestRedirect" for each in rule.filters):
        yield f"{where}.backendRefs", "a rule with a RequestRedirect filter must not have backendRefs"
    for index, ref in enumerate(rule.backend_refs):
        yield from _backend(ref, f"{where}.backendRefs[{index}]")
    request, backend = rule.timeouts.request, rule.timeouts.backend_request
    if request and backend and seconds(request) and seconds(backend) > seconds(request):
        yield f"{where}.timeouts.backendRequest", "backendRequest must not be longer than request"


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


def _filters(filters: tuple[RouteFilter, ...], where: str) -> Broken:
    types = [each.type for each in filters]
    for index, each in enumerate(filters):
        here = f"{where}.filters[{index}]"
        if each.type in FILTER_MEMBERS and types.index(each.type) != index:
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
    if "RequestRedirect" in types and "URLRewrite" in types:
        yield f"{where}.filters", "RequestRedirect and URLRewrite exclude each other"


def _wrong_type(type_: str, given: str) -> str:
    """What to say of a filter of *type_* with the settings of type *given*."""
    member = WIRE_NAMES[FILTER_MEMBERS[given]]
    if type_ in FILTER_MEMBERS:
        needed = WIRE_NAMES[FILTER_MEMBERS[type_]]
        return f"a filter of type {type_} needs {needed}, not {member}: write type: {given}, or {needed}"
    return f"type {type_} does not fit {member}: write type: {given}"


def _pool(pool: InferencePool) -> Broken:
    numbers = [port.number for port in pool.spec.target_ports]
    for index, number in enumerate(numbers):
        if numbers.index(number) != index:
            yield f"spec.targetPorts[{index}].number", f"port number must be unique; {number} is repeated"
    ref = pool.spec.endpoint_picker_ref
    if ref is not None and ref.kind == "Service" and ref.port is None:
        yield (
            "spec.endpointPickerRef.port",
            "port is required when kind is 'Service' or unspecified (defaults to 'Service')",
        )


def _model(model: InferenceModel) -> Broken:
    given = [each.weight is not None for each in model.spec.target_models]
    if any(given) and not all(given):
        yield "spec.targetModels", "Weights should be set for all models, or none of the models."


def _server(server: ModelServer) -> Broken:
    key = server.spec.api_key
    if key is not None:
        if bool(key.file) == (key.secret_ref is not None):
            yield "spec.apiKey", "write one of file and secretRef; the key itself does not stand here"
        if key.file and not key.file.startswith("/"):
            yield "spec.apiKey.file", "it must be the absolute path of a file that holds the key"
    tls = server.spec.tls
    if tls is None:
        return
    if not server.spec.url.lower().startswith("https://"):
        yield "spec.tls", "tls is for https URLs: write https:// in spec.url, or remove tls"
    if tls.ca_file and tls.insecure_skip_verify:
        yield "spec.tls", "caFile and insecureSkipVerify exclude each other; remove one"
    if tls.ca_file and not tls.ca_file.startswith("/"):
        yield "spec.tls.caFile", f"{tls.ca_file!r} must be an absolute path"


_CHECKS: dict[str, Callable[..., Broken]] = {
    "Gateway": _gateway,
    "HTTPRoute": _route,
    "InferencePool": _pool,
    "InferenceModel": _model,
    "ModelServer": _server,
}
