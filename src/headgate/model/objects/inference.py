"""Objects of the Inference Extension and of llm-d, and our own ModelServer."""

from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal

import msgspec

from headgate.model.meta import (
    HEADGATE_GROUP,
    INFERENCE_GROUP,
    INFERENCE_X_GROUP,
    LLM_D_GROUP,
    Group,
    Kind,
    KubeObject,
    LabelKey,
    LabelValue,
    Name,
    PortNumber,
    Weight,
)

SelectorLabels = Annotated[Mapping[LabelKey, LabelValue], msgspec.Meta(min_length=1, max_length=64)]
"""Label → value; all must match. An empty selector is refused: it would take every pod of the namespace."""

FailureMode = Literal["FailOpen", "FailClose"]
AppProtocol = Literal["http", "kubernetes.io/h2c"]


class PortRef(msgspec.Struct, frozen=True):
    """A port by number."""

    number: PortNumber


class PodSelector(msgspec.Struct, frozen=True, rename="camel"):
    """Which pods and model servers of the namespace belong to a pool."""

    match_labels: SelectorLabels


class EndpointPickerRef(msgspec.Struct, frozen=True, rename="camel"):
    """The Service of the pool's endpoint picker, in the pool's namespace."""

    name: Name
    group: Group = ""
    kind: Kind = "Service"
    port: PortRef | None = None
    """The Service's port, not its target port."""
    failure_mode: FailureMode = "FailClose"


class InferencePoolSpec(msgspec.Struct, frozen=True, rename="camel"):
    """`spec` of v1; v1alpha2 is turned into it when it is decoded."""

    selector: PodSelector
    target_ports: Annotated[tuple[PortRef, ...], msgspec.Meta(min_length=1, max_length=8)]
    app_protocol: AppProtocol = "http"
    endpoint_picker_ref: EndpointPickerRef | None = None


class InferencePool(KubeObject, frozen=True, kw_only=True):
    """Model-serving pods that share a picker, `inference.networking.k8s.io/v1`."""

    KIND: ClassVar[str] = "InferencePool"
    GROUP: ClassVar[str] = INFERENCE_GROUP
    PICKER_FIELD: ClassVar[str] = "spec.endpointPickerRef"
    """What the manifest calls the reference to the picker."""
    spec: InferencePoolSpec


class InferencePoolX(InferencePool, frozen=True, kw_only=True):
    """The same in the old group, `inference.networking.x-k8s.io/v1alpha2`, already in v1's shape."""

    GROUP: ClassVar[str] = INFERENCE_X_GROUP
    PICKER_FIELD: ClassVar[str] = "spec.extensionRef"


EXPORT = f"{INFERENCE_X_GROUP}/export"
"""Annotation of an InferencePool that other clusters may use, too: `ClusterSet`."""

Text253 = Annotated[str, msgspec.Meta(max_length=253)]


class ExportingCluster(msgspec.Struct, frozen=True):
    """A cluster with a pool of the import's namespace and name."""

    name: Text253


class ImportController(msgspec.Struct, frozen=True, rename="camel"):
    """What one controller says of an import."""

    name: Text253 = ""
    exporting_clusters: tuple[ExportingCluster, ...] = ()


class ImportStatus(msgspec.Struct, frozen=True):
    """All that an import consists of."""

    controllers: Annotated[tuple[ImportController, ...], msgspec.Meta(max_length=8)] = ()


class InferencePoolImport(KubeObject, frozen=True, kw_only=True):
    """Pools of one name in several clusters in status alone: a controller makes it."""

    KIND: ClassVar[str] = "InferencePoolImport"
    GROUP: ClassVar[str] = INFERENCE_X_GROUP
    status: ImportStatus = ImportStatus()


class ExtensionRef(msgspec.Struct, frozen=True, rename="camel"):
    """v1alpha2's word for the endpoint picker's Service."""

    name: Name
    group: Group = ""
    kind: Kind = "Service"
    port_number: PortNumber = 9002
    failure_mode: FailureMode = "FailClose"


class InferencePoolSpecX(msgspec.Struct, frozen=True, rename="camel"):
    """`spec` of v1alpha2 as it is written."""

    selector: SelectorLabels
    target_port_number: PortNumber
    extension_ref: ExtensionRef

    def as_v1(self) -> InferencePoolSpec:
        """The same in v1's words."""
        ref = self.extension_ref
        return InferencePoolSpec(
            selector=PodSelector(self.selector),
            target_ports=(PortRef(self.target_port_number),),
            endpoint_picker_ref=EndpointPickerRef(
                ref.name, ref.group, ref.kind, PortRef(ref.port_number), ref.failure_mode
            ),
        )


class PoolRefX(msgspec.Struct, frozen=True):
    """The pool an InferenceModel belongs to."""

    name: Name
    group: Literal["inference.networking.x-k8s.io", "inference.networking.k8s.io"] = (
        "inference.networking.x-k8s.io"
    )
    kind: Literal["InferencePool"] = "InferencePool"


class TargetModelRef(msgspec.Struct, frozen=True):
    """A model or LoRA adapter on the servers; `weight` is its share of the sum, 0 is never chosen."""

    name: Name
    weight: Weight | None = None


class InferenceModelSpec(msgspec.Struct, frozen=True, rename="camel"):
    """One model name of one pool."""

    model_name: Annotated[str, msgspec.Meta(min_length=1, max_length=256)]
    pool_ref: PoolRefX
    criticality: Literal["Critical", "Standard", "Sheddable"] | None = None
    target_models: Annotated[tuple[TargetModelRef, ...], msgspec.Meta(max_length=10)] = ()


class InferenceModel(KubeObject, frozen=True, kw_only=True):
    """What a model name means in a pool, `inference.networking.x-k8s.io/v1alpha2`."""

    KIND: ClassVar[str] = "InferenceModel"
    GROUP: ClassVar[str] = INFERENCE_X_GROUP
    spec: InferenceModelSpec


class PoolRef(msgspec.Struct, frozen=True):
    """The pool an InferenceObjective belongs to."""

    name: Name
    group: Literal["inference.networking.k8s.io", "inference.networking.x-k8s.io"] = (
        "inference.networking.k8s.io"
    )
    kind: Literal["InferencePool"] = "InferencePool"


class InferenceObjectiveSpec(msgspec.Struct, frozen=True, rename="camel"):
    """Priority of the requests that name the objective; unset is 0, negative is sheddable."""

    pool_ref: PoolRef
    priority: Annotated[int, msgspec.Meta(ge=-(2**31), le=2**31 - 1)] = 0


class InferenceObjective(KubeObject, frozen=True, kw_only=True):
    """A priority by name, `llm-d.ai/v1alpha2`."""

    KIND: ClassVar[str] = "InferenceObjective"
    GROUP: ClassVar[str] = LLM_D_GROUP
    spec: InferenceObjectiveSpec


class InferenceObjectiveX(InferenceObjective, frozen=True, kw_only=True):
    """The same in its former group, `inference.networking.x-k8s.io/v1alpha2`."""

    GROUP: ClassVar[str] = INFERENCE_X_GROUP


class ModelMatch(msgspec.Struct, frozen=True):
    """A model's name as clients write it."""

    value: Annotated[str, msgspec.Meta(min_length=1, max_length=256)]
    type: Literal["Exact"] = "Exact"


class RewriteMatch(msgspec.Struct, frozen=True):
    """What requests a rule is for."""

    model: ModelMatch


class RewriteTarget(msgspec.Struct, frozen=True, rename="camel"):
    """A model on the servers, and its share of the sum of weights."""

    model_rewrite: Annotated[str, msgspec.Meta(min_length=1, max_length=256)]
    weight: Annotated[int, msgspec.Meta(ge=1, le=1_000_000)] | None = None


class RewriteRule(msgspec.Struct, frozen=True):
    """Requests that match ask for one of the targets."""

    targets: Annotated[tuple[RewriteTarget, ...], msgspec.Meta(min_length=1, max_length=64)]
    matches: Annotated[tuple[RewriteMatch, ...], msgspec.Meta(max_length=64)] = ()
    """One of them; empty: every request."""


class InferenceModelRewriteSpec(msgspec.Struct, frozen=True, rename="camel"):
    """Other names for models of one pool."""

    pool_ref: PoolRef
    rules: Annotated[tuple[RewriteRule, ...], msgspec.Meta(min_length=1, max_length=64)]


class InferenceModelRewrite(KubeObject, frozen=True, kw_only=True):
    """What model names mean in a pool, `llm-d.ai/v1alpha2`."""

    KIND: ClassVar[str] = "InferenceModelRewrite"
    GROUP: ClassVar[str] = LLM_D_GROUP
    spec: InferenceModelRewriteSpec


class InferenceModelRewriteX(InferenceModelRewrite, frozen=True, kw_only=True):
    """The same in its former group, `inference.networking.x-k8s.io/v1alpha2`."""

    GROUP: ClassVar[str] = INFERENCE_X_GROUP


class ServerTls(msgspec.Struct, frozen=True, rename="camel"):
    """How an https model server is told from an impostor. Without: by the gateway's own CA certificates."""

    ca_file: Annotated[str, msgspec.Meta(max_length=4096)] = ""
    """PEM file of the CA certificates that count for this server, in place of the gateway's."""
    insecure_skip_verify: bool = False
    """Whatever certificate it shows is taken."""


class SecretKeyRef(msgspec.Struct, frozen=True):
    """A value of a Secret in the same namespace."""

    name: Name
    key: Annotated[str, msgspec.Meta(min_length=1, max_length=253)]


class ApiKeyRef(msgspec.Struct, frozen=True, rename="camel"):
    """Where the key is that the server wants of those who probe and scrape it."""

    file: Annotated[str, msgspec.Meta(max_length=4096)] = ""
    """A file that holds nothing else."""
    secret_ref: SecretKeyRef | None = None


class ModelServerSpec(msgspec.Struct, frozen=True, rename="camel"):
    """Where a model server answers."""

    url: Annotated[str, msgspec.Meta(min_length=1, max_length=2048)]
    """`http://host[:port]` or `https://host[:port]`, without a path."""
    tls: ServerTls | None = None
    api_key: ApiKeyRef | None = None
    drain: bool = False
    """No pool gives it new requests; those that run there end in their own time."""


class ModelServer(KubeObject, frozen=True, kw_only=True):
    """A model server known by its URL, `headgate.dev/v1alpha1`; pools select it by its labels."""

    KIND: ClassVar[str] = "ModelServer"
    GROUP: ClassVar[str] = HEADGATE_GROUP
    spec: ModelServerSpec
