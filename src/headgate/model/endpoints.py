"""Endpoints and pools as both halves see them, after selectors, ports and names are resolved."""

from collections.abc import Mapping
from typing import Literal

import msgspec

from headgate.model.flow_rules import FlowRules
from headgate.model.ids import EndpointId, PoolKey


class Endpoint(msgspec.Struct, frozen=True):
    """One address that answers requests: a pod × target port, or one address of a ModelServer's URL."""

    id: EndpointId
    ip: str
    port: int
    name: str
    """Name of the Pod or ModelServer."""
    namespace: str = "default"
    labels: Mapping[str, str] = msgspec.field(default_factory=dict)
    scheme: Literal["http", "https"] = "http"
    hostname: str = ""
    """Host of the ModelServer's URL: SNI and certificate name for `https`."""
    ca_file: str = ""
    """File of the CA certificates that sign it; empty: the gateway's own."""
    insecure: bool = False
    """Its certificate is not looked at."""


class TargetModel(msgspec.Struct, frozen=True):
    """A model or LoRA adapter on the server and its share."""

    name: str
    weight: int = 1


class ModelRule(msgspec.Struct, frozen=True):
    """What an InferenceModel says of one model name (the winner, when several objects claim it)."""

    model_name: str
    object: str
    """`namespace/name` of the InferenceModel."""
    priority: int
    """From `criticality`: Critical 1, Standard 0, Sheddable -1."""
    targets: tuple[TargetModel, ...]
    """Never empty; `modelName` itself when the object names none."""


class Rewrite(msgspec.Struct, frozen=True):
    """What an InferenceModelRewrite says of one model name, or of every one."""

    model_name: str | None
    """None: whatever the client asks for."""
    object: str
    """`namespace/name` of the InferenceModelRewrite."""
    targets: tuple[TargetModel, ...]
    """Never empty, never all of weight 0."""


BodyMode = Literal["full-duplex", "streamed"]
"""How a picker takes a request's body. `full-duplex`: it answers every part of it and sends back what is to
be forwarded, as the protocol has it; `streamed`: it answers the headers only after the whole body, and leaves
the body as it is."""


class ForeignPicker(msgspec.Struct, frozen=True):
    """Another vendor's endpoint picker: a Service."""

    service: str
    """`namespace/name:port`."""
    tls: bool = True
    body_mode: BodyMode = "full-duplex"


class Pool(msgspec.Struct, frozen=True):
    """An InferencePool, either API version, with everything that belongs to it resolved."""

    key: PoolKey
    endpoints: tuple[Endpoint, ...] = ()
    """Ready endpoints only, ordered by id."""
    failure_mode: Literal["FailOpen", "FailClose"] = "FailClose"
    app_protocol: Literal["http", "h2c"] = "http"
    picker: ForeignPicker | None = None
    """None: our own picker serves this pool."""
    models: tuple[ModelRule, ...] = ()
    """Empty: every model name passes as it is."""
    rewrites: tuple[Rewrite, ...] = ()
    """One for a model name, ordered by name; that for every name is the last."""
    tools_first: frozenset[str] = frozenset()
    """Models whose chat templates have the tools before the system text; `*`: all."""
    objectives: Mapping[str, int] = msgspec.field(default_factory=dict)
    """InferenceObjective name → priority."""
    has_fallback: bool = False
    """The gateway has somewhere else to lead requests that are refused."""
    flow: FlowRules | None = None
    """Fair use; None: no policy says anything."""
    flows_of_routes: Mapping[str, FlowRules] = msgspec.field(default_factory=dict)
    """FlowPolicies of routes, listeners and Gateways, by `namespace/name`: a request may name one."""
