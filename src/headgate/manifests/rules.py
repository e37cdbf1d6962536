"""Rules across fields that the CRDs state in CEL: one function per kind.

Each takes an object and yields (field path, sentence) pairs.
"""

import ipaddress
import re
from collections.abc import Callable, Sequence

import msgspec

from headgate.manifests import route_rules
from headgate.manifests.route_rules import Broken
from headgate.model.headers import reserved
from headgate.model.meta import GATEWAY_GROUP, KubeObject
from headgate.model.objects import (
    AccessPolicy,
    BackendTLSPolicy,
    FlowPolicy,
    Gateway,
    GatewayAddress,
    InferenceModel,
    InferencePool,
    Listener,
    ListenerSet,
    ModelServer,
    PortTls,
)
from headgate.model.objects.flow import SessionSource


def broken_rules(each: KubeObject) -> list[tuple[str, str]]:
    """Every broken cross-field rule of one object, as (field path, what is wrong and what to do)."""
    check = _CHECKS.get(each.KIND)
    return list(check(each)) if check else []


def _gateway(gateway: Gateway) -> Broken:
    yield from _addresses(gateway.spec.addresses)
    yield from _listeners(gateway.spec.listeners)
    ports = [each.port for each in _per_port(gateway)]
    for index, port in enumerate(ports):
        if ports.index(port) != index:
            yield f"spec.tls.frontend.perPort[{index}].port", f"port {port} is repeated; merge the two"


def _addresses(addresses: tuple[GatewayAddress, ...]) -> Broken:
    for index, each in enumerate(addresses):
        where = f"spec.addresses[{index}].value"
        if each.value is None:
            continue
        if each.type == "IPAddress" and not _is_ip(each.value):
            yield where, f"{each.value!r} is no IP address"
        if each.type == "Hostname" and not _HOSTNAME.fullmatch(each.value):
            yield where, f"{each.value!r} is no host name"
        if each.type in ("IPAddress", "Hostname") and each in addresses[:index]:
            yield where, f"{each.value} is repeated; remove one"


def _is_ip(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return "%" not in text


_HOSTNAME = re.compile(r"(\*\.)?[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")


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
        if listener.hostname is not None and listener.protocol in ("TCP", "UDP"):
            yield f"{where}.hostname", f"a listener of protocol {listener.protocol} has no hostname"
        yield from _tls(listener, f"{where}.tls")


def _tls(listener: Listener, where: str) -> Broken:
    tls = listener.tls
    if tls is None:
        if listener.protocol == "TLS":
            yield where, "a listener of protocol TLS needs tls with its mode"
        return
    if listener.protocol in ("HTTP", "TCP", "UDP"):
        yield where, f"tls must not be set on a listener of protocol {listener.protocol}"
    elif listener.protocol == "HTTPS" and tls.mode != "Terminate":
        yield f"{where}.mode", "an HTTPS listener terminates TLS: write mode: Terminate"
    elif tls.mode == "Terminate" and not tls.certificate_refs and not tls.options:
        yield (
            f"{where}.certificateRefs",
            "mode Terminate needs certificateRefs: name a Secret of type kubernetes.io/tls",
        )


def _backend_tls(policy: BackendTLSPolicy) -> Broken:
    refs = policy.spec.target_refs
    for index, ref in enumerate(refs):
        for other in refs[:index]:
            if (ref.group, ref.kind, ref.name) != (other.group, other.kind, other.name):
                continue
            where = f"spec.targetRefs[{index}]"
            if ref == other:
                yield where, f"{ref.kind} {ref.name} is named twice; remove one"
            elif None in (ref.section_name, other.section_name):
                yield where, f"{ref.kind} {ref.name} is named twice: both need a sectionName"
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


_OF_POOLS = ("detector", "hold_empty", "flows", "default_flow", "bands", "default_band")


def _flow(policy: FlowPolicy) -> Broken:
    spec = policy.spec
    for index, ref in enumerate(spec.target_refs):
        if ref.group is not None and (ref.group == GATEWAY_GROUP) == ref.is_pool:
            yield f"spec.targetRefs[{index}].group", f"{ref.kind} is no kind of {ref.group}"
        if ref.section_name is not None and ref.is_pool:
            yield f"spec.targetRefs[{index}].sectionName", "an InferencePool has no sections"
    if not any(ref.is_pool for ref in spec.target_refs):
        for part in msgspec.structs.fields(spec):
            if part.name in _OF_POOLS and getattr(spec, part.name) != part.default:
                yield f"spec.{part.encode_name}", "it counts for pools: add one to targetRefs, or remove it"
    yield from _sessions(spec.sessions or ())
    lists = (
        ("clients", "name", [each.name for each in spec.clients]),
        ("flows", "id", [each.id for each in spec.flows]),
        ("bands", "priority", [str(each.priority) for each in spec.bands]),
    )
    for field, key, found in lists:
        seen: set[str] = set()
        for index, each in enumerate(found):
            if each in seen:
                yield f"spec.{field}[{index}].{key}", f"{each} is named twice; remove one"
            seen.add(each)


def _sessions(sources: Sequence[SessionSource]) -> Broken:
    seen: set[str] = set()
    for index, each in enumerate(sources):
        here = f"spec.sessions[{index}]"
        if [each.header, each.cookie, each.body].count(None) != 2:
            yield here, "write one of header, cookie and body"
        elif each.header is not None and (why := reserved(each.header)) is not None:
            yield f"{here}.header", f"{each.header} names no session of a client: {why}; name another header"
        elif each.named() in seen:
            yield here, f"{each.named().replace(':', ' ')} is named twice; remove one"
        seen.add(each.named())


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
    "GRPCRoute": route_rules.grpc_route,
    "BackendTLSPolicy": _backend_tls,
    "AccessPolicy": _access,
    "FlowPolicy": _flow,
    "HTTPRoute": route_rules.http_route,
    "InferencePool": _pool,
    "InferenceModel": _model,
    "ModelServer": _server,
}
