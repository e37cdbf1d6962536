"""What all objects have: metadata, identity, the place where they were written; and the shared field types.

The limits in the annotations are the CRDs' OpenAPI limits.
"""

from collections.abc import Mapping, Sequence
from typing import Annotated, ClassVar, Literal, TypeVar

import msgspec

from headgate.model.problems import Place

GATEWAY_GROUP = "gateway.networking.k8s.io"
GATEWAY_X_GROUP = "gateway.networking.x-k8s.io"
INFERENCE_GROUP = "inference.networking.k8s.io"
INFERENCE_X_GROUP = "inference.networking.x-k8s.io"
LLM_D_GROUP = "llm-d.ai"
HEADGATE_GROUP = "headgate.dev"
DISCOVERY_GROUP = "discovery.k8s.io"

DURATION = "a duration such as 30s, 500ms or 1m30s"
HOSTNAME = "a host name such as llm.example.com or *.example.com: lower case, no scheme, no port, no path"
PRECISE_HOSTNAME = "a host name such as llm.example.com: lower case, no *, no scheme, no port, no path"

OBJECT_NAME = "a name such as gpu-1 or llm.example.com: lower-case letters, digits, '-' and '.'"
LINE = "text without line breaks and other control characters"
GROUP = "an API group such as gateway.networking.k8s.io, or '' for Kubernetes' core"
KIND = "a kind, such as Service"
NAMESPACE = "a namespace such as team-a: lower-case letters, digits and '-', at most 63"

# `\Z` and not `$` ends every pattern: a line break may follow `$`, and Envoy refuses it.
Name = Annotated[str, msgspec.Meta(min_length=1, max_length=253)]
ObjectName = Annotated[
    str,
    msgspec.Meta(
        min_length=1,
        max_length=253,
        pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*\Z",
        description=OBJECT_NAME,
    ),
]
"""Of an object itself, as Kubernetes takes it: no slash can make the key of one object that of another."""
Namespace = Annotated[
    str,
    msgspec.Meta(
        min_length=1, max_length=63, pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?\Z", description=NAMESPACE
    ),
]
Group = Annotated[
    str,
    msgspec.Meta(
        max_length=253,
        pattern=r"^([a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*)?\Z",
        description=GROUP,
    ),
]
Kind = Annotated[
    str,
    msgspec.Meta(
        min_length=1,
        max_length=63,
        pattern=r"^[a-zA-Z]([-a-zA-Z0-9]*[a-zA-Z0-9])?\Z",
        description=KIND,
    ),
]
Line = Annotated[
    str,
    msgspec.Meta(pattern=r"^[^\x00-\x1f\x7f]*\Z", description=LINE),
]
PortNumber = Annotated[int, msgspec.Meta(ge=1, le=65535)]
Weight = Annotated[int, msgspec.Meta(ge=0, le=1_000_000)]
Hostname = Annotated[
    str,
    msgspec.Meta(
        min_length=1,
        max_length=253,
        pattern=r"^(\*\.)?[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*\Z",
        description=HOSTNAME,
    ),
]
PreciseHostname = Annotated[
    str,
    msgspec.Meta(
        min_length=1,
        max_length=253,
        pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*\Z",
        description=PRECISE_HOSTNAME,
    ),
]
HeaderName = Annotated[
    str,
    msgspec.Meta(
        min_length=1,
        max_length=256,
        pattern=r"^[A-Za-z0-9!#$%&'*+\-.^_`|~]+\Z",
        description="a header or parameter name: letters, digits and '-', no spaces or colons",
    ),
]
Duration = Annotated[str, msgspec.Meta(pattern=r"^([0-9]{1,5}(h|m|s|ms)){1,4}\Z", description=DURATION)]
"""Gateway API duration, e.g. `1m30s` or `500ms`; `0s` means no limit."""

Labels = Mapping[str, str]
LabelKey = Annotated[
    str,
    msgspec.Meta(
        max_length=253,
        pattern=r"^([a-z0-9.-]+/)?([A-Za-z0-9][-A-Za-z0-9_.]{0,61})?[A-Za-z0-9]\Z",
        description="a label's name",
    ),
]
LabelValue = Annotated[
    str,
    msgspec.Meta(
        max_length=63,
        pattern=r"^(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?\Z",
        description="a label's value: letters, digits, '-', '_' and '.', at most 63, no spaces",
    ),
]


class Identity(msgspec.Struct, frozen=True, order=True):
    """What makes two documents the same object; sorts by kind, namespace, name."""

    kind: str
    namespace: str
    """Empty for objects that have none (GatewayClass, Namespace)."""
    name: str
    group: str = ""
    """API group, since an InferencePool exists in two of them at once."""

    def __str__(self) -> str:
        return f"{self.kind} {self.namespace}/{self.name}" if self.namespace else f"{self.kind} {self.name}"


class Origin(msgspec.Struct, frozen=True, eq=False):
    """Where an object was written. All origins are equal: the place is no part of what an object says."""

    file: str = ""
    lines: Mapping[str, int] = msgspec.field(default_factory=dict)
    """Dotted field path → 1-based line; the object itself is the empty path."""

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Origin)

    def __hash__(self) -> int:
        return 0

    def line(self, field: str) -> int:
        """The line of *field*, or of its nearest ancestor that was written; 0 when unknown."""
        while field and field not in self.lines:
            field = field[: max(field.rfind("."), field.rfind("["), 0)]
        return self.lines.get(field, 0)


class Meta(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """The parts of `metadata` that mean something to a gateway."""

    name: ObjectName
    namespace: Namespace = "default"
    labels: Labels = msgspec.field(default_factory=dict)
    annotations: Mapping[str, str] = msgspec.field(default_factory=dict)
    creation_timestamp: str | None = None
    """RFC 3339; None in most files. None is younger than any time."""
    deletion_timestamp: str | None = None
    generation: int = 0
    uid: Annotated[str, msgspec.Meta(max_length=128)] = ""
    """Of this object and no other of its name, before or after it; empty in most files."""


class KubeObject(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """What every object has."""

    KIND: ClassVar[str] = ""
    GROUP: ClassVar[str] = ""
    NAMESPACED: ClassVar[bool] = True

    metadata: Meta
    origin: Origin = msgspec.field(default_factory=Origin, name="(origin)")

    @property
    def identity(self) -> Identity:
        """Kind, namespace, name and group."""
        return Identity(
            self.KIND, self.metadata.namespace if self.NAMESPACED else "", self.metadata.name, self.GROUP
        )

    @property
    def name(self) -> str:
        """`metadata.name`."""
        return self.metadata.name

    @property
    def namespace(self) -> str:
        """`metadata.namespace`."""
        return self.metadata.namespace

    @property
    def age_key(self) -> tuple[str, str, str]:
        """Sorts the oldest object first: creation time (unknown last), then namespace, then name.

        Of objects from files the namespace comes first: whoever writes a file writes its date, too, and must
        not take what is another namespace's by that.
        """
        created = self.metadata.creation_timestamp or "~"
        if self.origin.file:
            return (self.metadata.namespace, created, self.metadata.name)
        return (created, self.metadata.namespace, self.metadata.name)

    def is_older(self, other: "KubeObject") -> bool:
        """Whether its creation time is what puts it before *other*."""
        mine, others = self.metadata.creation_timestamp or "~", other.metadata.creation_timestamp or "~"
        return mine < others and self.age_key < other.age_key

    def place(self, field: str = "") -> Place:
        """Where *field* (a dotted path, empty for the whole object) was written."""
        return Place(self.origin.file, self.origin.line(field), str(self.identity), field)


T = TypeVar("T", bound=KubeObject)


def of_type(objects: Sequence[KubeObject], cls: type[T]) -> tuple[T, ...]:
    """Those of *objects* that are *cls*, in the same order."""
    return tuple(each for each in objects if isinstance(each, cls))


class LabelExpression(msgspec.Struct, frozen=True, rename="camel"):
    """One of a selector's `matchExpressions`."""

    key: str
    operator: Literal["In", "NotIn", "Exists", "DoesNotExist"]
    values: tuple[str, ...] = ()

    def holds(self, labels: Labels) -> bool:
        """Kubernetes' rule: `NotIn` also holds where the key is absent."""
        match self.operator:
            case "In":
                return labels.get(self.key) in self.values
            case "NotIn":
                return labels.get(self.key) not in self.values
            case "Exists":
                return self.key in labels
            case "DoesNotExist":
                return self.key not in labels


class LabelSelector(msgspec.Struct, frozen=True, rename="camel"):
    """A Kubernetes label selector; empty selects everything."""

    match_labels: Labels = msgspec.field(default_factory=dict)
    match_expressions: tuple[LabelExpression, ...] = ()

    def selects(self, labels: Labels) -> bool:
        """True when every part of the selector holds."""
        return has_labels(labels, self.match_labels) and all(
            each.holds(labels) for each in self.match_expressions
        )


def has_labels(labels: Labels, wanted: Labels) -> bool:
    """True when *labels* has every pair of *wanted*."""
    return all(labels.get(key) == value for key, value in wanted.items())
