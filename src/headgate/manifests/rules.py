"""Rules across fields that the CRDs state in CEL: one function per kind.

Each takes an object and yields (field path, sentence) pairs.
"""

import re
from collections.abc import Callable, Iterator

from headgate.model.durations import seconds
from headgate.model.meta import GATEWAY_GROUP, INFERENCE_GROUP, KubeObject
from headgate.model.objects import (
    AccessPolicy,
    BackendRef,
    BackendTLSPolicy,
    Cors,
    Gateway,
    GRPCRoute,
    HTTPRoute,
    InferenceModel,
    InferencePool,
    Listener,
    ListenerSet,
    ModelServer,
    PathMatch,
    PortTls,
    RequestMirror,
    RouteFilter,
    RouteRule,
)

Broken = Iterator[tuple[str, str]]

FILTER_MEMBERS = {
    "RequestHeaderModifier": "request_header_modifier",
    "ResponseHeaderModifier": "response_header_modifier",
    "RequestRedirect": "request_redirect",
    "URLRewrite": "url_rewrite",
    "RequestMirror": "request_mirror",
    "CORS": "cors",
}
"""Filter type → the member that holds its settings."""

WIRE_NAMES = {
    "request_header_modifier": "requestHeaderModifier",
    "response_header_modifier": "responseHeaderModifier",
    "request_redirect": "requestRedirect",
    "url_rewrite": "urlRewrite",
    "request_mirror": "requestMirror",
    "cors": "cors",
}

REPEATABLE = frozenset({"RequestMirror"})
"""Filters that a rule may have several of."""


def broken_rules(each: KubeObject) -> list[tuple[str, str]]:
    """Every broken cross-field rule of one object, as (field path, what is wrong and what to do)."""
    check = _CHECKS.get(each.KIND)
    return list(check(each)) if check else []


def _gateway(gateway: Gateway) -> Broken:
    if not gateway.spec.listeners and gateway.spec.allowed_listeners.namespaces.from_ == "None":
        yield "spec.listeners", "at least one listener is needed, unless allowedListeners takes ListenerSets"
    yield from _listeners(gateway.spec.listeners)
    ports = [each.port for each in _per_port(gateway)]
    for index, port in enumerate(ports):
        if ports.index(port) != index:
            yield f"spec.tls.frontend.perPort[{index}].port", f"port {port} is repeated; merge the two"


def _per_port(gateway: Gateway) -> tuple[PortTls, ...]:
    tls = gateway.spec.tls
    return tls.frontend.per_port if tls is not None and tls.frontend is not None else ()


def _listener_set(found: ListenerSet) -> Broken:
    yield from _listeners(found.spec.listeners)
    ref = found.spec.parent_ref
    if (ref.group, ref.kind) != (GATEWAY_GROUP, "Gateway"):
        yield "spec.parentRef", f"the parent must be a Gateway, not {ref.group}/{ref.kind}"


def _listeners(listeners: tuple[Listener, ...]) -> Broken:
    names: set[str] = set()
    binds: set[tuple[int, str, str | None]] = set()
    for index, listener in enumerate(listeners):
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
        if listener.protocol == "HTTPS":
            yield from _terminates(listener, where)


def _terminates(listener: Listener, where: str) -> Broken:
    tls = listener.tls
    if tls is not None and tls.mode != "Terminate":
        yield f"{where}.tls.mode", "an HTTPS listener terminates TLS: write mode: Terminate"


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
        mirror = each.request_mirror
        if mirror is not None:
            yield from _mirror(mirror, f"{here}.requestMirror")
        if each.cors is not None:
            yield from _cors(each.cors, f"{here}.cors")
    if "RequestRedirect" in types and "URLRewrite" in types:
        yield f"{where}.filters", "RequestRedirect and URLRewrite exclude each other"


def _cors(wanted: Cors, where: str) -> Broken:
    for name, values in (
        ("allowOrigins", wanted.allow_origins),
        ("allowMethods", wanted.allow_methods),
        ("allowHeaders", wanted.allow_headers),
    ):
        if "*" in values and len(values) > 1:
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


def _grpc_route(route: GRPCRoute) -> Broken:
    for index, rule in enumerate(route.spec.rules):
        where = f"spec.rules[{index}]"
        for number, match in enumerate(rule.matches):
            method = match.method
            here = f"{where}.matches[{number}].method"
            if method is not None and method.service is None and method.method is None:
                yield here, "name a service or a method, or both"
            if method is not None and method.type == "Exact":
                for name, value in (("service", method.service), ("method", method.method)):
                    if value is not None and not _GRPC_NAME.fullmatch(value):
                        yield f"{here}.{name}", f"{value!r} is no {name} name: letters, digits, '_' and '.'"
        yield from _filters(rule.filters, where)
        for number, ref in enumerate(rule.backend_refs):
            yield from _backend(ref, f"{where}.backendRefs[{number}]")


_GRPC_NAME = re.compile(r"(?i)[a-z_][a-z0-9_]*(\.[a-z_][a-z0-9_]*)*")


def _backend_tls(policy: BackendTLSPolicy) -> Broken:
    validation = policy.spec.validation
    if bool(validation.ca_certificate_refs) == (validation.well_known_ca_certificates is not None):
        yield (
            "spec.validation",
            "write one of caCertificateRefs and wellKnownCACertificates: System",
        )
    for index, name in enumerate(validation.subject_alt_names):
        here = f"spec.validation.subjectAltNames[{index}]"
        if name.type == "Hostname" and (not name.hostname or name.uri):
            yield here, "type Hostname needs hostname, and no uri"
        if name.type == "URI" and (not name.uri or name.hostname):
            yield here, "type URI needs uri, and no hostname"


def _access(policy: AccessPolicy) -> Broken:
    spec = policy.spec
    if (spec.api_keys is None) == (spec.jwt is None):
        yield "spec", "write one of apiKeys and jwt"
    if spec.jwt is not None:
        jwks = spec.jwt.jwks
        if [jwks.inline, jwks.ref, jwks.uri].count(None) != 2:
            yield "spec.jwt.jwks", "write one of inline, ref and uri"
    for index, ref in enumerate(spec.target_refs):
        if ref.section_name is not None and ref.kind not in ("Gateway", "ListenerSet"):
            yield f"spec.targetRefs[{index}].sectionName", "only Gateways and ListenerSets have listeners"


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
    "ListenerSet": _listener_set,
    "GRPCRoute": _grpc_route,
    "BackendTLSPolicy": _backend_tls,
    "AccessPolicy": _access,
    "HTTPRoute": _route,
    "InferencePool": _pool,
    "InferenceModel": _model,
    "ModelServer": _server,
}
