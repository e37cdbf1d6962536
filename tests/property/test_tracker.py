"""The tracker's law over the objects that pools are made of: whatever happened, incremental equals from scratch."""

import random
from collections.abc import Callable, Hashable, Iterator, Mapping
from itertools import product
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from headgate.model import absent
from headgate.model.change import Change
from headgate.model.endpoints import Pool
from headgate.model.family import Family
from headgate.model.forbidden import Own
from headgate.model.ids import PoolKey, pool_key
from headgate.model.indexes import INDEXES, SERVICE_LABEL
from headgate.model.meta import Identity, KubeObject, Meta
from headgate.model.objects import (
    EndpointPickerRef,
    EndpointSlice,
    FlowPolicy,
    InferenceModel,
    InferenceModelSpec,
    InferenceObjective,
    InferenceObjectiveSpec,
    InferencePool,
    InferencePoolSpec,
    InferencePoolX,
    ModelServer,
    ModelServerSpec,
    Pod,
    PodSelector,
    PoolRef,
    PoolRefX,
    PortRef,
    ServerTls,
    Service,
    ServicePort,
    ServiceSpec,
)
from headgate.model.objects.flow import FlowPolicySpec, FlowTarget, RequestsSpec
from headgate.model.objects.kubernetes import (
    EndpointConditions,
    PodCondition,
    PodStatus,
    SliceEndpoint,
    SlicePort,
)
from headgate.model.pickers import PICKER_TLS, picker_addresses
from headgate.model.problems import Problem
from headgate.model.services import service_addresses, service_problems
from headgate.model.store import Store
from headgate.model.topology import (
    ACTIVE_PORTS,
    judged,
    member_problems,
    pool,
    pool_endpoints,
    pool_keys,
    pool_problems,
    pool_settings,
    problems_of,
    resolved,
    selected_names,
    server_problems,
)
from headgate.model.tracker import Node

STEPS = 100
EXAMPLES = 100

NAMESPACES = ("a", "b")
NAMES = ("n0", "n1", "n2")
VARIANTS = 12
"""Of each object: few enough that equal ones come again."""

Dice = random.Random


def meta(namespace: str, name: str, dice: Dice, **more: Any) -> Meta:
    app, tier = dice.choice("xy"), dice.choice("12")
    labels = dice.choice([{"app": app}, {"app": app, "tier": tier}, {}])
    created = dice.choice([None, "2026-01-01T00:00:00Z", "2026-02-01T00:00:00Z"])
    return Meta(name=name, namespace=namespace, labels=labels, creation_timestamp=created, **more)


def a_pod(namespace: str, name: str, dice: Dice) -> KubeObject:
    ip = dice.choice([None, f"10.0.{NAMES.index(name)}.{dice.randrange(2)}", "169.254.0.1", "127.0.0.1"])
    ready = (PodCondition("Ready", dice.choice(["True", "False"])),)
    annotations = dice.choice([{}, {ACTIVE_PORTS: "81"}, {ACTIVE_PORTS: "garbled"}])
    status = PodStatus(ip, (), dice.choice([(), ready]))
    return Pod(metadata=meta(namespace, name, dice, annotations=annotations), status=status)


def a_server(namespace: str, name: str, dice: Dice) -> KubeObject:
    url = dice.choice(["http://10.1.0.1:80", "http://h0", "https://h1", "http://h/x", "http://127.0.0.1:80"])
    tls = dice.choice([None, ServerTls(ca_file="/ca")])
    spec = ModelServerSpec(url, tls, drain=dice.random() < 0.3)
    return ModelServer(metadata=meta(namespace, name, dice), spec=spec)


def a_pool(namespace: str, name: str, dice: Dice) -> KubeObject:
    kind, named = dice.choice(["Service", "Service", "Chooser"]), dice.choice([*NAMES, "headgate-picker"])
    ref = EndpointPickerRef(named, "", kind, PortRef(dice.choice([80, 81])))
    spec = InferencePoolSpec(
        PodSelector(dice.choice([{"app": "x"}, {"app": "y", "tier": "1"}, {"tier": "2", "app": "x"}])),
        dice.choice([(PortRef(80),), (PortRef(80), PortRef(81))]),
        endpoint_picker_ref=dice.choice([None, ref, ref]),
    )
    return dice.choice([InferencePool, InferencePoolX])(metadata=meta(namespace, name, dice), spec=spec)


def a_model(namespace: str, name: str, dice: Dice) -> KubeObject:
    spec = InferenceModelSpec(dice.choice(["chat", "code"]), PoolRefX(dice.choice(NAMES)))
    return InferenceModel(metadata=meta(namespace, name, dice), spec=spec)


def an_objective(namespace: str, name: str, dice: Dice) -> KubeObject:
    spec = InferenceObjectiveSpec(PoolRef(dice.choice(NAMES)), dice.randrange(3))
    return InferenceObjective(metadata=meta(namespace, name, dice), spec=spec)


def a_flow_policy(namespace: str, name: str, dice: Dice) -> KubeObject:
    to_pools = tuple(FlowTarget(dice.choice(NAMES)) for _ in range(dice.randrange(1, 3)))
    targets = dice.choice([to_pools, to_pools, (FlowTarget(dice.choice(NAMES), "HTTPRoute"),)])
    spec = FlowPolicySpec(targets, requests=RequestsSpec(dice.choice(["one", "two"])))
    return FlowPolicy(metadata=meta(namespace, name, dice), spec=spec)


def a_service(namespace: str, name: str, dice: Dice) -> KubeObject:
    ports = (ServicePort(80, "http"), ServicePort(81, "grpc"))[: dice.randrange(1, 3)]
    annotations = dice.choice([{}, {PICKER_TLS: "false"}])
    spec = ServiceSpec(ports, dice.choice(["ClusterIP", "ClusterIP", "ExternalName"]))
    return Service(metadata=meta(namespace, name, dice, annotations=annotations), spec=spec)


def a_slice(namespace: str, name: str, dice: Dice) -> KubeObject:
    labels = dice.choice([{SERVICE_LABEL: each} for each in NAMES] + [{}])
    endpoints = tuple(
        SliceEndpoint((ip,), EndpointConditions(ready=dice.choice([None, True, False])))
        for ip in dice.sample(["10.2.0.1", "10.2.0.2", "169.254.169.254"], dice.randrange(3))
    )
    ports = (SlicePort(80, "http"), SlicePort(8081, "grpc"))
    return EndpointSlice(
        metadata=Meta(name=name, namespace=namespace, labels=labels), endpoints=endpoints, ports=ports
    )


MAKERS: tuple[Callable[[str, str, Dice], KubeObject], ...] = (
    a_pod,
    a_pod,
    a_server,
    a_pool,
    a_pool,
    a_model,
    an_objective,
    a_flow_policy,
    a_service,
    a_slice,
)

ENTRIES: tuple[tuple[str, Hashable, tuple[Any, ...]], ...] = (
    ("addresses", "h0", (None, ("10.3.0.1",), ("10.3.0.1", "10.3.0.2"))),
    ("addresses", "h1", (None, ("10.3.0.1",), ("169.254.169.254",))),
    ("authorities", "/ca", (None, "PEM")),
    ("settings", "own", (None, Own(frozenset({80})))),
    ("settings", "cluster", (None, True)),
    ("settings", "bound_ports", (None, frozenset({81}))),
    ("settings", "own_picker_names", (None, ("n0",))),
    ("broken", "InferencePool a/n0", (None, True)),
    ("broken kinds", "", (None, True)),
)
"""Table, key, and what may stand there."""


class Facts:
    """What counts now, in the plainest form."""

    def __init__(self) -> None:
        self.objects: dict[Identity, KubeObject] = {}
        self.entries: dict[tuple[str, Hashable], Any] = {}

    def anew(self) -> Store:
        """A store that knows it from the beginning."""
        world = Store(INDEXES)
        for (table, key), value in self.entries.items():
            world.set(table, key, value)
        world.apply(Change(identity, each) for identity, each in self.objects.items())
        return world


Step = tuple[int, int, int, int]
"""What happens, to which one, which variant of it, and what is asked then; any numbers."""


def happen(world: Store, facts: Facts, step: Step) -> None:
    """One step of a story."""
    what, which, variant, _ = step
    if what % (len(MAKERS) + 1) == len(MAKERS):
        table, key, values = ENTRIES[which % len(ENTRIES)]
        value = facts.entries[table, key] = values[variant % len(values)]
        world.set(table, key, value)
        return
    number = what % (len(MAKERS) + 1)
    at = which % (len(NAMESPACES) * len(NAMES))
    namespace, name = NAMESPACES[at // len(NAMES)], NAMES[at % len(NAMES)]
    each = MAKERS[number](namespace, name, random.Random(variant % VARIANTS * 101 + number))
    identity = each.identity
    if variant % 4 == 3 and identity in facts.objects:
        del facts.objects[identity]
        world.apply([Change(identity, None)])
    else:
        facts.objects[identity] = each
        world.apply([Change(identity, each)])


def questions() -> Iterator[Node]:
    """Everything that may be asked."""
    yield Node(pool_keys, ())
    yield Node(resolved, ())
    yield Node(judged, ())
    for namespace, name in product(NAMESPACES, NAMES):
        key = pool_key(namespace, name)
        for fn in (pool_settings, pool_endpoints, pool):
            yield Node(fn, (key,))
        for cls in (InferencePool, InferencePoolX):
            yield Node(pool_problems, (Identity(cls.KIND, namespace, name, cls.GROUP),))
        yield Node(server_problems, (namespace, name))
        yield Node(service_problems, (namespace, name))
        yield Node(member_problems, (Identity("InferenceModel", namespace, name, InferenceModel.GROUP),))
        for port in (80, 81):
            yield Node(service_addresses, (namespace, name, port))
            yield Node(picker_addresses, (f"{namespace}/{name}:{port}",))
        yield Node(absent.sentence, ("InferencePool", namespace, name))
    for kind, wanted in product((Pod, ModelServer), ("app=x", "app=x,tier=1")):
        yield Node(chosen, (kind, wanted))


def chosen(world: Store, cls: type[KubeObject], wanted: str) -> tuple[Identity, ...]:
    """A selector, with arguments that can be hashed."""
    return selected_names(world, cls, "a", dict(each.split("=") for each in wanted.split(",")))


ALL = tuple(questions())

number = st.integers(0, 10_000)
stories = st.lists(st.tuples(number, number, number, number), min_size=STEPS, max_size=STEPS)


@settings(max_examples=EXAMPLES)
@given(stories)
def test_incremental_equals_from_scratch(story: list[Step]) -> None:
    world, facts = Store(INDEXES), Facts()
    pools = Family[PoolKey, Pool | None](world, [Node(pool_keys, ())], pool)
    told = Family[Identity, tuple[Problem, ...]](world, [Node(judged, ())], problems_of)
    for step in story:
        happen(world, facts, step)
        asked = step[3]
        question = ALL[asked % len(ALL)]
        assert world.get(question.fn, *question.args) == facts.anew().get(question.fn, *question.args)
        if asked % 7 == 0:
            stale = world.take_stale()
            pools.refresh(stale)
            told.refresh(stale)
        if asked % 5 == 0:
            world.collect()
    scratch = facts.anew()
    stale = world.take_stale()
    pools.refresh(stale)
    told.refresh(stale)
    assert pools.values == {key: scratch.get(pool, key) for key in scratch.get(pool_keys)}
    assert told.values == {each: scratch.get(problems_of, each) for each in scratch.get(judged)}
    for question in ALL:
        assert world.get(question.fn, *question.args) == scratch.get(question.fn, *question.args)
    for node in (Node(pool_keys, ()), Node(judged, ())):
        world.unwatch(node)
    for key in pools.values:
        world.unwatch(Node(pool, (key,)))
    for each in told.values:
        world.unwatch(Node(problems_of, (each,)))
    world.collect()
    assert world.nodes == 0, "what nobody wants is forgotten"


PODS, POOLS = 10_000, 1_000


def a_fleet() -> Iterator[KubeObject]:
    for at in range(POOLS):
        selector = PodSelector({"app": "llm", "pool": f"p{at}"})
        yield InferencePool(metadata=Meta(name=f"p{at}"), spec=InferencePoolSpec(selector, (PortRef(8000),)))
    for at in range(PODS):
        yield one_pod(at)


def one_pod(at: int, ready: str = "True", **labels: str) -> Pod:
    return Pod(
        metadata=Meta(name=f"pod-{at}", labels={"app": "llm", "pool": f"p{at % POOLS}", **labels}),
        status=PodStatus(f"10.{at >> 16}.{at >> 8 & 255}.{at & 255}", (), (PodCondition("Ready", ready),)),
    )


def test_a_change_in_a_large_fleet_runs_little() -> None:
    world = Store(INDEXES)
    world.apply(Change(each.identity, each) for each in a_fleet())
    pools = Family[PoolKey, Pool | None](world, [Node(pool_keys, ())], pool)
    told = Family[Identity, tuple[Problem, ...]](world, [Node(judged, ())], problems_of)

    def runs(*objects: KubeObject, **gone: KubeObject) -> tuple[int, int]:
        """Computations that a change runs, and pools that are new."""
        before = world.runs
        world.apply([Change(each.identity, each) for each in objects])
        world.apply([Change(each.identity, None) for each in gone.values()])
        stale = world.take_stale()
        changed = pools.refresh(stale).changed
        told.refresh(stale)
        world.collect()
        return world.runs - before, len(changed)

    assert runs()[1] == POOLS
    story: Mapping[str, tuple[tuple[int, int], int]] = {
        "it falls ill": (runs(one_pod(7, "False")), 1),
        "it says nothing new": (runs(one_pod(7, "False")), 0),
        "it has one label more": (runs(one_pod(7, "False", x="y")), 0),
        "it is well": (runs(one_pod(7)), 1),
        "it joins another pool": (runs(one_pod(7, pool="p8")), 2),
        "it is in none": (runs(one_pod(7, pool="none")), 1),
        "it comes back": (runs(one_pod(7)), 1),
        "a new one": (runs(one_pod(PODS + 5)), 1),
        "it goes": (runs(gone=one_pod(PODS + 5)), 1),
        "a pod of another app": (runs(one_pod(PODS + 6, app="web")), 0),
    }
    for what, ((ran, new), expected) in story.items():
        assert (new, ran < 12) == (expected, True), f"{what}: {ran} runs, {new} pools"
