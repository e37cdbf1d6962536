"""Objects → pools: selectors, ports, host names, pickers, models and objectives resolved.

Both halves start here, so that gateway and picker agree on what an endpoint is.
"""

import ipaddress
import re
from collections.abc import Iterator, Mapping
from typing import Literal, TypeVar
from urllib.parse import urlsplit

import msgspec

from headgate.model.absent import Absent
from headgate.model.endpoints import Endpoint, ForeignPicker, ModelRule, Pool, TargetModel
from headgate.model.forbidden import refusal
from headgate.model.ids import endpoint_id, pool_key
from headgate.model.labels import ByLabels, label_text
from headgate.model.meta import KubeObject, of_type
from headgate.model.objects import (
    InferenceModel,
    InferenceObjective,
    InferencePool,
    InferencePoolX,
    ModelServer,
    ServerTls,
)
from headgate.model.objects.kubernetes import Pod
from headgate.model.problems import Problem
from headgate.model.services import Services
from headgate.model.snapshot import Snapshot

ACTIVE_PORTS = "inference.networking.k8s.io/active-ports"
"""Pod annotation: which of the pool's target ports are live on this pod."""

TOOLS_FIRST = "headgate.dev/tools-before-system"
"""Pool annotation: names of the models, after InferenceModels' rewriting, whose chat templates render the
tools before the system text, separated by commas; `*`: all. By default tools stand behind it, as in the
templates of Qwen 2.5 and 3, Llama 3 and gpt-oss."""

PICKER_TLS = "headgate.dev/picker-tls"
"""Service annotation: `"false"` turns TLS towards a foreign picker off."""

OWN_PICKER_SERVICE = "headgate-picker"
"""Name of a picker's Service that says that Headgate's own picker is meant."""

T = TypeVar("T", bound=KubeObject)

PRIORITIES: Mapping[str | None, int] = {"Critical": 1, "Standard": 0, None: 0, "Sheddable": -1}
"""Criticality → priority."""


def resolve_pools(snapshot: Snapshot) -> tuple[tuple[Pool, ...], tuple[Problem, ...]]:
    """Every InferencePool with its endpoints and rules, ordered by key, and what is wrong with them.

    Where a pool exists in both API groups, v1 wins.
    """
    resolver = _Resolver(snapshot)
    pools = [resolver.pool(each) for each in _winners(snapshot, resolver.problems)]
    resolver.look_for_pools(
        (*of_type(snapshot.objects, InferenceModel), *of_type(snapshot.objects, InferenceObjective))
    )
    return tuple(sorted(pools, key=lambda pool: pool.key)), tuple(sorted(resolver.problems))


def _winners(snapshot: Snapshot, problems: list[Problem]) -> Iterator[InferencePool]:
    pools = of_type(snapshot.objects, InferencePool)
    current = {(each.namespace, each.name) for each in pools if not isinstance(each, InferencePoolX)}
    for each in pools:
        if isinstance(each, InferencePoolX) and (each.namespace, each.name) in current:
            message = (
                "an InferencePool of this name also exists in inference.networking.k8s.io; that one is served"
            )
            problems.append(Problem(each.place(), "Superseded", message, "warning"))
        else:
            yield each


class _Resolver:
    """One resolution: indexes over the snapshot and the problems found on the way."""

    def __init__(self, snapshot: Snapshot) -> None:
        self.problems: list[Problem] = []
        self._own = snapshot.own
        self._services = Services(snapshot.objects, snapshot.own)
        self.problems += self._services.problems
        self._absent = Absent(snapshot)
        self._pool_names = {(each.namespace, each.name) for each in of_type(snapshot.objects, InferencePool)}
        self._pods = ByLabels(of_type(snapshot.objects, Pod))
        self._models = _by_namespace(of_type(snapshot.objects, InferenceModel))
        self._objectives = _by_namespace(of_type(snapshot.objects, InferenceObjective))
        servers = of_type(snapshot.objects, ModelServer)
        self._servers = ByLabels(servers)
        self._server_endpoints: dict[str, tuple[Endpoint, ...]] = {}
        for server in servers:
            endpoints, problem = server_endpoints(server, snapshot)
            self._server_endpoints[f"{server.namespace}/{server.name}"] = endpoints
            if problem is not None:
                self.problems.append(problem)

    def pool(self, pool: InferencePool) -> Pool:
        """One pool, resolved."""
        endpoints = {each.id: each for each in self._endpoints(pool)}
        if not endpoints:
            message = f"the pool has no ready endpoint: {self._why_empty(pool)}"
            self.problems.append(Problem(pool.place("spec.selector"), "NoEndpoints", message, "warning"))
        ref = pool.spec.endpoint_picker_ref
        tools_first = pool.metadata.annotations.get(TOOLS_FIRST, "").split(",")
        return Pool(
            tools_first=frozenset(name.strip() for name in tools_first if name.strip()),
            key=pool_key(pool.namespace, pool.name),
            endpoints=tuple(endpoints[key] for key in sorted(endpoints)),
            failure_mode=ref.failure_mode if ref else "FailClose",
            app_protocol="h2c" if pool.spec.app_protocol == "kubernetes.io/h2c" else "http",
            picker=self._foreign_picker(pool),
            models=self._model_rules(pool),
            objectives={
                each.name: each.spec.priority
                for each in self._objectives.get(pool.namespace, ())
                if each.spec.pool_ref.name == pool.name
            },
        )

    def _endpoints(self, pool: InferencePool) -> Iterator[Endpoint]:
        wanted = pool.spec.selector.match_labels
        ports = [port.number for port in pool.spec.target_ports]
        for pod in self._pods.selected(pool.namespace, wanted):
            if pod.ip is not None and pod.ready:
                for port in self._active(pod, ports):
                    if why := refusal(pod.ip, port, self._own):
                        message = f"{endpoint_id(pod.ip, port)} is not used: {why}"
                        self.problems.append(Problem(pod.place("status.podIP"), "ForbiddenAddress", message))
                        continue
                    yield Endpoint(
                        id=endpoint_id(pod.ip, port),
                        ip=pod.ip,
                        port=port,
                        name=pod.name,
                        namespace=pod.namespace,
                        labels=pod.metadata.labels,
                    )
        for server in self._servers.selected(pool.namespace, wanted):
            if not server.spec.drain:
                yield from self._server_endpoints[f"{server.namespace}/{server.name}"]

    def look_for_pools(self, members: tuple[InferenceModel | InferenceObjective, ...]) -> None:
        """Note those whose pool is not there."""
        for each in members:
            name = each.spec.pool_ref.name
            known = (each.namespace, name) in self._pool_names
            if not known and not self._absent.broken("InferencePool", each.namespace, name):
                crossing = ", but a poolRef cannot leave its namespace: move this object there"
                message = self._absent.sentence("InferencePool", each.namespace, name, crossing)
                what = f"{message}; until then this object has no effect"
                self.problems.append(Problem(each.place("spec.poolRef"), "PoolNotFound", what, "warning"))

    def _why_empty(self, pool: InferencePool) -> str:
        wanted = pool.spec.selector.match_labels
        for pod in self._pods.selected(pool.namespace, wanted)[:1]:
            return f"Pod {pod.name} has its labels, but is not ready"
        servers = self._servers.selected(pool.namespace, wanted)
        for server in servers:
            if not server.spec.drain:
                return f"ModelServer {server.name} has its labels, but has no address (see there)"
        for server in servers:
            return f"ModelServer {server.name} has its labels, but spec.drain is true"
        if self._absent.any_broken("ModelServer"):
            return "a ModelServer is wrong and not used (see there)"
        said = f"no Pod or ModelServer of namespace {pool.namespace} has its labels {label_text(wanted)}"
        near: list[KubeObject] = [*self._servers.of(pool.namespace)[:3], *self._pods.of(pool.namespace)[:3]]
        hints = [f"{each.name} has {label_text(each.metadata.labels)}" for each in near[:3]]
        for namespace in (*self._servers.namespaces, *self._pods.namespaces):
            far = [
                *self._servers.selected(namespace, wanted)[:1],
                *self._pods.selected(namespace, wanted)[:1],
            ]
            if far:
                hints = [f"{far[0].name} of namespace {namespace} has them"]
                break
        return f"{said} ({'; '.join(hints)})" if hints else said

    def _active(self, pod: Pod, ports: list[int]) -> list[int]:
        text = pod.metadata.annotations.get(ACTIVE_PORTS)
        if text is None:
            return ports
        active = {part.strip() for part in text.split(",")}
        if any(part and not part.isdigit() for part in active):
            message = f"{text!r} is no list of port numbers; all target ports are used"
            place = pod.place(f"metadata.annotations.{ACTIVE_PORTS}")
            self.problems.append(Problem(place, "InvalidValue", message, "warning"))
            return ports
        return [port for port in ports if str(port) in active]

    def _foreign_picker(self, pool: InferencePool) -> ForeignPicker | None:
        """The picker the pool names, when its Service has ready addresses here; None: we pick."""
        ref = pool.spec.endpoint_picker_ref
        if ref is None:
            return None
        place = pool.place(pool.PICKER_FIELD)
        if (ref.group, ref.kind) != ("", "Service"):
            message = (
                f"an endpoint picker must be a Service, not {ref.group}/{ref.kind}; our own picker is used"
            )
            self.problems.append(Problem(place, "InvalidExtensionRef", message))
            return None
        service = self._services.get(pool.namespace, ref.name)
        if service is None and ref.name != OWN_PICKER_SERVICE and self._services.names(pool.namespace):
            missing = self._absent.sentence("Service", pool.namespace, ref.name)
            own = f"Headgate's own picker is used; where it is meant write name: {OWN_PICKER_SERVICE}"
            message = f"{missing}, so {own}"
            self.problems.append(Problem(place, "ServiceNotFound", message, "warning"))
        if service is None or ref.port is None:
            return None
        port = self._services.port(service, ref.port.number)
        if service.spec.type == "ExternalName" or port is None:
            message = f"Service {ref.name} has no TCP port {ref.port.number}; our own picker is used"
            self.problems.append(Problem(place, "InvalidExtensionRef", message))
            return None
        addresses = self._services.addresses(service, port)
        if not addresses:
            return None
        return ForeignPicker(
            service=f"{service.namespace}/{service.name}:{port.port}",
            addresses=tuple(address.id for address in addresses),
            tls=service.metadata.annotations.get(PICKER_TLS) != "false",
        )

    def _model_rules(self, pool: InferencePool) -> tuple[ModelRule, ...]:
        """One rule per model name, ordered by name; the oldest object wins a name."""
        models = [m for m in self._models.get(pool.namespace, ()) if m.spec.pool_ref.name == pool.name]
        winners: dict[str, InferenceModel] = {}
        for model in sorted(models, key=lambda each: each.age_key):
            name = model.spec.model_name
            if name not in winners:
                winners[name] = model
                continue
            message = (
                f"the older InferenceModel {winners[name].name} already has model name {name!r} in this pool"
            )
            self.problems.append(Problem(model.place("spec.modelName"), "ModelNameInUse", message))
        return tuple(_model_rule(winners[name]) for name in sorted(winners))


def _model_rule(model: InferenceModel) -> ModelRule:
    targets = model.spec.target_models
    return ModelRule(
        model_name=model.spec.model_name,
        object=f"{model.namespace}/{model.name}",
        priority=PRIORITIES[model.spec.criticality],
        targets=tuple(TargetModel(each.name, 1 if each.weight is None else each.weight) for each in targets)
        or (TargetModel(model.spec.model_name),),
    )


def server_endpoints(server: ModelServer, snapshot: Snapshot) -> tuple[tuple[Endpoint, ...], Problem | None]:
    """One endpoint per address of the server's URL, and why there is none.

    None, and no word of it, where its CA file could not be read: whoever tried told why.
    """
    place = server.place("spec.url")
    parsed = parse_url(server.spec.url)
    if isinstance(parsed, str):
        return (), Problem(place, "InvalidURL", parsed)
    found = (parsed.host,) if is_ip(parsed.host) else snapshot.addresses.get(parsed.host, ())
    if not found:
        message = f"host name {parsed.host} does not resolve; it is tried again"
        return (), Problem(place, "HostNotResolved", message, "warning")
    tls = server.spec.tls or ServerTls()
    if tls.ca_file and tls.ca_file not in snapshot.authorities:
        return (), None
    refused = {ip: why for ip in found if (why := refusal(ip, parsed.port, snapshot.own))}
    endpoints = tuple(
        Endpoint(
            id=endpoint_id(ip, parsed.port),
            ip=ip,
            port=parsed.port,
            name=server.name,
            namespace=server.namespace,
            labels=server.metadata.labels,
            scheme=parsed.scheme,
            hostname=parsed.host,
            ca_file=tls.ca_file,
            insecure=tls.insecure_skip_verify,
        )
        for ip in sorted(found)
        if ip not in refused
    )
    if refused:
        ip, why = min(refused.items())
        meant = "" if ip == parsed.host else f" ({parsed.host})"
        message = f"{endpoint_id(ip, parsed.port)}{meant} is not used: {why}; name the model server's own"
        return endpoints, Problem(place, "ForbiddenAddress", message)
    return endpoints, None


class ServerUrl(msgspec.Struct, frozen=True):
    """A model server's URL, taken apart."""

    scheme: Literal["http", "https"]
    host: str
    """Host name or IP address, without brackets."""
    port: int


def parse_url(url: str) -> ServerUrl | str:
    """Take a model server's URL apart; a sentence that says what is wrong when it is none."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        return f"{url!r} is no URL: {error}"
    if parts.scheme not in ("http", "https") and re.fullmatch(r"[\w.-]+(:\d+)?", url):
        return f"{url!r} must begin with http:// or https://: write http://{url}"
    if parts.scheme not in ("http", "https") or not parts.hostname:
        return f"{url!r} must be http://host:port or https://host:port"
    if parts.username is not None or parts.query or parts.fragment or parts.path.strip("/"):
        bare = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"
        return f"{url!r} must have no path, user or query, which come with the requests: write {bare}"
    if port == 0:
        return f"{url!r} must not have port 0"
    if parts.scheme == "https":
        return ServerUrl("https", parts.hostname, port or 443)
    return ServerUrl("http", parts.hostname, port or 80)


def is_ip(host: str) -> bool:
    """Whether *host* is an IP address, without brackets."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _by_namespace(objects: tuple[T, ...]) -> dict[str, list[T]]:
    found: dict[str, list[T]] = {}
    for each in objects:
        found.setdefault(each.namespace, []).append(each)
    return found
