"""What other objects of the Gateway API may do: BackendTLSPolicy and ReferenceGrant."""

from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal

import msgspec

from headgate.model.meta import (
    GATEWAY_GROUP,
    Group,
    Hostname,
    Kind,
    KubeObject,
    Name,
    Namespace,
    ObjectName,
    PreciseHostname,
)
from headgate.model.objects.gateways import CaRef


class SubjectAltName(msgspec.Struct, frozen=True, rename="camel"):
    """A name that a backend's certificate may have."""

    type: Literal["Hostname", "URI"]
    hostname: Hostname | None = None
    uri: (
        Annotated[
            str,
            msgspec.Meta(
                min_length=1,
                max_length=253,
                pattern=r"^[^\x00-\x1f\x7f:/?#]+://[^\x00-\x1f\x7f]*\Z",
                description="a URI with its scheme, such as spiffe://example.org/backend",
            ),
        ]
        | None
    ) = None


class BackendValidation(msgspec.Struct, frozen=True, rename="camel"):
    """How a backend's certificate is verified."""

    hostname: PreciseHostname
    """SNI, and the name in the certificate where `subject_alt_names` is empty."""
    ca_certificate_refs: Annotated[tuple[CaRef, ...], msgspec.Meta(max_length=8)] = ()
    well_known_ca_certificates: (
        Annotated[
            str,
            msgspec.Meta(
                min_length=1,
                max_length=253,
                pattern=r"^(System|[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*/"
                r"([A-Za-z0-9][-A-Za-z0-9_.]{0,61})?[A-Za-z0-9])\Z",
                description="System, or a name with its domain before it",
            ),
        ]
        | None
    ) = msgspec.field(default=None, name="wellKnownCACertificates")
    subject_alt_names: Annotated[tuple[SubjectAltName, ...], msgspec.Meta(max_length=5)] = ()


class PolicyTarget(msgspec.Struct, frozen=True, rename="camel"):
    """What a policy is for, in its own namespace; *section_name* is a listener, a port or a rule."""

    group: Group
    kind: Kind
    name: Name
    section_name: ObjectName | None = None


class BackendTLSPolicySpec(msgspec.Struct, frozen=True, rename="camel"):
    """TLS towards the backends that are named."""

    target_refs: Annotated[tuple[PolicyTarget, ...], msgspec.Meta(min_length=1, max_length=16)]
    validation: BackendValidation
    options: Annotated[Mapping[str, str], msgspec.Meta(max_length=16)] = msgspec.field(default_factory=dict)


class BackendTLSPolicy(KubeObject, frozen=True, kw_only=True):
    """The gateway reaches the backends by TLS and verifies who they are."""

    KIND: ClassVar[str] = "BackendTLSPolicy"
    GROUP: ClassVar[str] = GATEWAY_GROUP
    spec: BackendTLSPolicySpec


class GrantFrom(msgspec.Struct, frozen=True):
    """Who may refer."""

    group: Group
    kind: Kind
    namespace: Namespace


class GrantTo(msgspec.Struct, frozen=True):
    """To what; no name means every object of the kind."""

    group: Group
    kind: Kind
    name: Name | None = None


class ReferenceGrantSpec(msgspec.Struct, frozen=True, rename="camel"):
    """Every `from` may refer to every `to`."""

    from_: Annotated[tuple[GrantFrom, ...], msgspec.Meta(min_length=1, max_length=16)] = msgspec.field(
        name="from"
    )
    to: Annotated[tuple[GrantTo, ...], msgspec.Meta(min_length=1, max_length=16)]


class ReferenceGrant(KubeObject, frozen=True, kw_only=True):
    """Permission to refer to objects of its namespace from other namespaces."""

    KIND: ClassVar[str] = "ReferenceGrant"
    GROUP: ClassVar[str] = GATEWAY_GROUP
    spec: ReferenceGrantSpec
