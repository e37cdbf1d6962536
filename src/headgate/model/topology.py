"""Objects → pools: selectors, ports, host names, pickers, models and objectives resolved.

Both halves start here, so that gateway and picker agree on what an endpoint is.
"""

from collections.abc import Hashable, Mapping, Sequence
from typing import TypeVar

from msgspec.structs import replace

from headgate.model import absent
from headgate.model.endpoints import Endpoint, ForeignPicker, ModelRule, Pool, TargetModel
from headgate.model.flow_policies import of_routes, rules_of
from headgate.model.forbidden import refused
from headgate.model.ids import PoolKey, endpoint_id, pool_key
from headgate.model.labels import label_text
from headgate.model.meta import Identity, KubeObject, Labels
from headgate.model.objects import (
    InferenceModel,
    InferenceModelRewrite,
    InferenceModelRewriteX,
    InferenceObjective,
    InferenceObjectiveX,
    InferencePool,
    InferencePoolX,
    ModelServer,
    Pod,
    ServerTls,
    Service,
)
from headgate.model.pickers import named_by, picker_problems
from headgate.model.problems import Place, Problem
from headgate.model.rewrites import problems_of as problems_of_rewrite
from headgate.model.rewrites import rewrites
from headgate.model.server_urls import is_ip, parse_url
from headgate.model.services import service_problems
from headgate.model.store import BUCKETS, Store

ACTIVE_PORTS = ("llm-d.ai/active-ports", "inference.networking.k8s.io/active-ports")
"""Pod annotations: which of the pool's target ports are live on this pod. The first that is there counts."""

FALLBACK = "headgate.dev/fallback"
"""Annotation of pools: `InferencePool/NAME`, `Service/NAME:PORT` or `ModelServer/NAME` of their namespace."""
TOOLS_FIRST = "headgate.dev/tools-before-system"
"""Pool annotation: names of the models, after InferenceModels' rewriting, whose chat templates render the
tools before the system text, separated by commas; `*`: all. By default tools stand behind it, as in the
templates of Qwen 2.5 and 3, Llama 3 and gpt-oss."""

T = TypeVar("T", bound=KubeObject)

PRIORITIES: Mapping[str | None, int] = {"Critical": 1, "Standard": 0, None: 0, "Sheddable": -1}
"""Criticality → priority."""


def pool_keys(world: Store) -> frozenset[PoolKey]:
    """Of all InferencePools, of either API group."""
    return frozenset().union(*(world.get(pool_keys_in, number) for number in range(BUCKETS)))


def pool_keys_in(world: Store, number: int) -> frozenset[PoolKey]:
    """Those in one part of all objects."""
    found = (*world.bucket(InferencePool, number), *world.bucket(InferencePoolX, number))
    return frozenset(pool_key(each.namespace, each.name) for each in found)


def resolved(world: Store) -> tuple[tuple[Pool, ...], tuple[Problem, ...]]:
    """All pools with their endpoints, ordered by key; and what is wrong with them and what they use, ordered,
    with the places where it is written."""
    found = (world.get(pool, key) for key in sorted(world.get(pool_keys)))
    told = {each for one in world.get(judged) for each in world.get(problems_of, one)}
    problems = tuple(sorted(world.located(each) for each in told))
    return tuple(each for each in found if each is not None), problems


JUDGED: tuple[type[KubeObject], ...] = (
    InferencePool,
    InferencePoolX,
    ModelServer,
    InferenceModel,
    InferenceModelRewrite,
    InferenceModelRewriteX,
    InferenceObjective,
    InferenceObjectiveX,
    Service,
)
"""Kinds of objects that `problems_of` has something to say of."""


def judged(world: Store) -> frozenset[Identity]:
    """Every object that pools are made of and that something may be said of."""
    return frozenset().union(*(world.get(judged_in, number) for number in range(BUCKETS)))


def judged_in(world: Store, number: int) -> frozenset[Identity]:
    """Those in one part of all objects."""
    return frozenset(each for cls in JUDGED for each in world.bucket(cls, number))


def problems_of(world: Store, identity: Identity) -> tuple[Problem, ...]:
    """What is wrong with one of these objects; places are without file and line (`Store.place`)."""
    match identity.kind:
        case "InferencePool":
            return world.get(pool_problems, identity)
        case "ModelServer":
            return server_problems(world, identity.namespace, identity.name)
        case "Service":
            return world.get(service_problems, identity.namespace, identity.name)
        case _:
            return world.get(member_problems, identity)


def written(world: Store, key: PoolKey) -> InferencePool | None:
    """The object that counts: where a pool exists in both API groups, v1 wins."""
    namespace, _, name = key.partition("/")
    return world.object(InferencePool, namespace, name) or world.object(InferencePoolX, namespace, name)


def superseded(world: Store, pool: Identity) -> bool:
    """Whether another object of this name counts instead."""
    if pool.group == InferencePool.GROUP:
        return False
    return world.object(InferencePool, pool.namespace, pool.name) is not None


def pool_settings(world: Store, key: PoolKey) -> Pool | None:
    """The pool without endpoints, of which nothing here depends; None: there is no such pool."""
    found = world.get(written, key)
    if found is None:
        return None
    ref = found.spec.endpoint_picker_ref
    tools_first = found.metadata.annotations.get(TOOLS_FIRST, "").split(",")
    return Pool(
        tools_first=frozenset(name.strip() for name in tools_first if name.strip()),
        key=key,
        failure_mode=ref.failure_mode if ref else "FailClose",
        app_protocol="h2c" if found.spec.app_protocol == "kubernetes.io/h2c" else "http",
        picker=world.get(foreign_picker, key),
        models=world.get(model_rules, key),
        objectives=world.get(objectives, key),
        rewrites=world.get(rewrites, key),
        has_fallback=FALLBACK in found.metadata.annotations,
        flow=world.get(rules_of, key),
    )


def pool(world: Store, key: PoolKey) -> Pool | None:
    """The pool with its endpoints, as a picker serves it."""
    found = world.get(pool_settings, key)
    if found is None:
        return None
    return replace(found, endpoints=pool_endpoints(world, key), flows_of_routes=world.get(of_routes))


def pool_servers(world: Store, key: PoolKey) -> tuple[ModelServer, ...]:
    """ModelServers that the pool selects, those that drain among them."""
    found = world.get(written, key)
    if found is None:
        return ()
    return selected(world, ModelServer, found.namespace, found.spec.selector.match_labels)


def pool_endpoints(world: Store, key: PoolKey) -> tuple[Endpoint, ...]:
    """Ready endpoints of the pool, ordered by id."""
    return world.get(_selection, key)[0]


def has_endpoints(world: Store, key: PoolKey) -> bool:
    """Whether the pool has any."""
    return bool(world.get(_selection, key)[0])


def selection_problems(world: Store, key: PoolKey) -> tuple[Problem, ...]:
    """What is wrong with the pods that the pool selects."""
    return world.get(_selection, key)[1]


Selection = tuple[tuple[Endpoint, ...], tuple[Problem, ...]]
"""Endpoints, and what is wrong with the objects that they come from."""


def _selection(world: Store, key: PoolKey) -> Selection:
    found = world.get(written, key)
    if found is None:
        return (), ()
    ports = tuple(port.number for port in found.spec.target_ports)
    endpoints: dict[str, Endpoint] = {}
    problems: list[Problem] = []
    for pod in selected_names(world, Pod, found.namespace, found.spec.selector.match_labels):
        good, wrong = world.get(_pod, pod, ports)
        for each in good:
            endpoints[each.id] = each
        problems += wrong
    for server in world.get(pool_servers, key):
        if not server.spec.drain:
            for each in server_endpoints(world, server.namespace, server.name):
                endpoints[each.id] = each
    return tuple(endpoints[each] for each in sorted(endpoints)), tuple(problems)


def _pod(world: Store, pod: Identity, ports: tuple[int, ...]) -> Selection:
    """One endpoint for each of *ports* that is live on the pod; none while it is not ready."""
    found = world.any_object(pod)
    if not isinstance(found, Pod):
        return (), ()
    problems: list[Problem] = []
    name, text = _active_ports(found)
    if text is not None and _unreadable_ports(text):
        where = Place(object=str(pod), field=f"metadata.annotations.{name}")
        message = f"{text!r} is no list of port numbers; all target ports are used"
        problems.append(Problem(where, "InvalidValue", message, "warning"))
    if found.ip is None or not found.ready:
        return (), tuple(problems)
    ip = found.ip
    endpoints: list[Endpoint] = []
    for port in active_ports(found, ports):
        if (why := refused(world, ip, port)) is not None:
            where = Place(object=str(pod), field="status.podIP")
            message = f"{endpoint_id(ip, port)} is not used: {why}"
            problems.append(Problem(where, "ForbiddenAddress", message))
            continue
        endpoints.append(
            Endpoint(
                id=endpoint_id(ip, port),
                ip=ip,
                port=port,
                name=found.name,
                namespace=found.namespace,
                labels=found.metadata.labels,
            )
        )
    return tuple(endpoints), tuple(problems)


def active_ports(pod: Pod, ports: tuple[int, ...]) -> tuple[int, ...]:
    """Those of *ports* that the pod's annotation says are live; all where it says nothing readable."""
    _, text = _active_ports(pod)
    if text is None or _unreadable_ports(text):
        return ports
    active = {part.strip() for part in text.split(",")}
    return tuple(port for port in ports if str(port) in active)


def _active_ports(pod: Pod) -> tuple[str, str | None]:
    """Name and value of the annotation that counts; no value where there is none."""
    notes = pod.metadata.annotations
    return next(((name, notes[name]) for name in ACTIVE_PORTS if name in notes), ("", None))


def _unreadable_ports(text: str) -> bool:
    return any(part and not part.isdigit() for part in (each.strip() for each in text.split(",")))


def selected_names(
    world: Store, cls: type[KubeObject], namespace: str, wanted: Labels
) -> tuple[Identity, ...]:
    """Objects there that have every pair of *wanted*, ordered; takes as long as the rarest pair is long, and
    depends on the other pairs only as far as these objects are concerned."""
    if not wanted:
        return world.kind(cls, namespace)
    return having(world, "label", [(cls.KIND, namespace, *pair) for pair in sorted(wanted.items())])


def having(world: Store, index: str, keys: Sequence[Hashable]) -> tuple[Identity, ...]:
    """What is under all of *keys*, ordered."""
    rarest = min(keys, key=lambda key: world.count(index, key))
    others = [key for key in keys if key != rarest]
    found = world.indexed(index, rarest)
    if not others:
        return found
    return tuple(each for each in found if all(world.is_indexed(index, key, each) for key in others))


def selected(world: Store, cls: type[T], namespace: str, wanted: Labels) -> tuple[T, ...]:
    """The same objects themselves."""
    found = (world.any_object(each) for each in selected_names(world, cls, namespace, wanted))
    return tuple(each for each in found if isinstance(each, cls))


def server_endpoints(world: Store, namespace: str, name: str) -> tuple[Endpoint, ...]:
    """One endpoint per address of a ModelServer's URL."""
    return world.get(_server, namespace, name)[0]


def server_problems(world: Store, namespace: str, name: str) -> tuple[Problem, ...]:
    """Why a ModelServer has none, or fewer."""
    return world.get(_server, namespace, name)[1]


def _server(world: Store, namespace: str, name: str) -> tuple[tuple[Endpoint, ...], tuple[Problem, ...]]:
    server = world.object(ModelServer, namespace, name)
    if server is None:
        return (), ()
    where = Place(object=str(server.identity), field="spec.url")
    parsed = parse_url(server.spec.url)
    if isinstance(parsed, str):
        return (), (Problem(where, "InvalidURL", parsed),)
    found = (parsed.host,) if is_ip(parsed.host) else world.entry("addresses", parsed.host) or ()
    if not found:
        message = f"host name {parsed.host} does not resolve; it is tried again"
        return (), (Problem(where, "HostNotResolved", message, "warning"),)
    tls = server.spec.tls or ServerTls()
    if tls.ca_file and world.entry("authorities", tls.ca_file) is None:
        return (), ()  # whoever tried to read it told why
    wrong = {ip: why for ip in found if (why := refused(world, ip, parsed.port))}
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
        if ip not in wrong
    )
    if not wrong:
        return endpoints, ()
    ip, why = min(wrong.items())
    meant = "" if ip == parsed.host else f" ({parsed.host})"
    message = f"{endpoint_id(ip, parsed.port)}{meant} is not used: {why}; name the model server's own"
    return endpoints, (Problem(where, "ForbiddenAddress", message),)


def foreign_picker(world: Store, key: PoolKey) -> ForeignPicker | None:
    """The picker that the pool's object names; None: ours."""
    found = world.get(written, key)
    return None if found is None else named_by(world, found)


def pool_problems(world: Store, pool: Identity) -> tuple[Problem, ...]:
    """What is wrong with a pool and what it refers to."""
    found = world.any_object(pool)
    if not isinstance(found, InferencePool):
        return ()
    where = Place(object=str(pool))
    if world.get(superseded, pool):
        message = (
            "an InferencePool of this name also exists in inference.networking.k8s.io; that one is served"
        )
        return (Problem(where, "Superseded", message, "warning"),)
    key = pool_key(found.namespace, found.name)
    problems = [*picker_problems(world, found), *world.get(selection_problems, key)]
    if not world.get(has_endpoints, key):
        message = f"the pool has no ready endpoint: {_why_empty(world, found)}"
        problems.append(Problem(replace(where, field="spec.selector"), "NoEndpoints", message, "warning"))
    return tuple(problems)


def _why_empty(world: Store, pool: InferencePool) -> str:
    wanted = pool.spec.selector.match_labels
    namespace = pool.namespace
    for pod in selected_names(world, Pod, namespace, wanted)[:1]:
        return f"Pod {pod.name} has its labels, but is not ready"
    servers = selected(world, ModelServer, namespace, wanted)
    for server in servers:
        if not server.spec.drain:
            return f"ModelServer {server.name} has its labels, but has no address (see there)"
    for server in servers:
        return f"ModelServer {server.name} has its labels, but spec.drain is true"
    if absent.any_broken(world, "ModelServer"):
        return "a ModelServer is wrong and not used (see there)"
    said = f"no Pod or ModelServer of namespace {namespace} has its labels {label_text(wanted)}"
    elsewhere = _having_elsewhere(world, wanted)
    if elsewhere is not None:
        return f"{said} ({elsewhere.name} of namespace {elsewhere.namespace} has them)"
    hints = world.get(_labels_there, namespace)
    return f"{said} ({'; '.join(hints)})" if hints else said


def _having_elsewhere(world: Store, wanted: Labels) -> Identity | None:
    """Some model server or pod that has all of *wanted*, in whatever namespace."""
    for cls in (ModelServer, Pod):
        for each in having(world, "pair", [(cls.KIND, *pair) for pair in sorted(wanted.items())]):
            return each
    return None


def _labels_there(world: Store, namespace: str) -> tuple[str, ...]:
    """What labels a few of the model servers and pods there have, for whoever finds none."""
    near = [*world.kind(ModelServer, namespace)[:3], *world.kind(Pod, namespace)[:3]][:3]
    shown = [found for each in near if (found := world.any_object(each)) is not None]
    return tuple(f"{each.name} has {label_text(each.metadata.labels)}" for each in shown)


def model_rules(world: Store, key: PoolKey) -> tuple[ModelRule, ...]:
    """One rule per model name, ordered by name; the oldest object wins a name."""
    winners: dict[str, InferenceModel] = {}
    for model in sorted(_members(world, InferenceModel, key), key=lambda each: each.age_key):
        winners.setdefault(model.spec.model_name, model)
    return tuple(_model_rule(winners[name]) for name in sorted(winners))


def objectives(world: Store, key: PoolKey) -> Mapping[str, int]:
    """InferenceObjective name → priority."""
    return {each.name: each.spec.priority for each in _members(world, InferenceObjective, key)}


def _members(world: Store, cls: type[T], key: PoolKey) -> tuple[T, ...]:
    namespace, _, name = key.partition("/")
    found = (world.any_object(each) for each in world.indexed("pool", (namespace, name)))
    return tuple(each for each in found if isinstance(each, cls))


def member_problems(world: Store, member: Identity) -> tuple[Problem, ...]:
    """What is wrong with an InferenceModel, a rewrite or an InferenceObjective: no pool, or a taken name."""
    found = world.any_object(member)
    if not isinstance(found, InferenceModel | InferenceModelRewrite | InferenceObjective):
        return ()
    name = found.spec.pool_ref.name
    key = pool_key(found.namespace, name)
    if world.get(written, key) is None and not absent.broken(world, "InferencePool", found.namespace, name):
        crossing = ", but a poolRef cannot leave its namespace: move this object there"
        message = absent.sentence(world, "InferencePool", found.namespace, name, crossing)
        what = f"{message}; until then this object has no effect"
        return (Problem(Place(object=str(member), field="spec.poolRef"), "PoolNotFound", what, "warning"),)
    if isinstance(found, InferenceModelRewrite):
        return tuple(problems_of_rewrite(world, found))
    if isinstance(found, InferenceObjective):
        return _superseded_objective(world, found)
    rule = next(
        (each for each in world.get(model_rules, key) if each.model_name == found.spec.model_name), None
    )
    if rule is None or rule.object == f"{found.namespace}/{found.name}":
        return ()
    winner = rule.object.partition("/")[2]
    message = f"InferenceModel {winner} already has model name {found.spec.model_name!r} in this pool"
    return (Problem(Place(object=str(member), field="spec.modelName"), "ModelNameInUse", message),)


def _superseded_objective(world: Store, found: InferenceObjective) -> tuple[Problem, ...]:
    """That the object of the present group counts in place of one of the former."""
    present = world.object(InferenceObjective, found.namespace, found.name)
    if (
        present is None
        or present.identity == found.identity
        or present.spec.pool_ref.name != found.spec.pool_ref.name
    ):
        return ()
    message = f"the {InferenceObjective.GROUP} InferenceObjective of this name counts in its place"
    return (Problem(Place(object=str(found.identity)), "Superseded", message, "warning"),)


def _model_rule(model: InferenceModel) -> ModelRule:
    targets = model.spec.target_models
    return ModelRule(
        model_name=model.spec.model_name,
        object=f"{model.namespace}/{model.name}",
        priority=PRIORITIES[model.spec.criticality],
        targets=tuple(TargetModel(each.name, 1 if each.weight is None else each.weight) for each in targets)
        or (TargetModel(model.spec.model_name),),
    )
