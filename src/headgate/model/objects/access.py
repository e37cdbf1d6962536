"""Our own policies: who may call, and with which key backends are called; `headgate.dev/v1alpha1`."""

from typing import Annotated, ClassVar, Literal

import msgspec

from headgate.model.meta import GATEWAY_GROUP, HEADGATE_GROUP, HeaderName, KubeObject, Line, Name
from headgate.model.objects.inference import SecretKeyRef


class AccessTarget(msgspec.Struct, frozen=True, rename="camel"):
    """What a policy protects, in its own namespace."""

    kind: Literal["Gateway", "ListenerSet", "HTTPRoute", "GRPCRoute"]
    name: Name
    group: Literal["gateway.networking.k8s.io"] = GATEWAY_GROUP  # type: ignore[assignment]
    section_name: str | None = None
    """A listener of the Gateway or ListenerSet."""


class SecretRef(msgspec.Struct, frozen=True):
    """A Secret in the same namespace."""

    name: Name


class ApiKeyClients(msgspec.Struct, frozen=True, rename="camel"):
    """Clients are told by keys."""

    secret_refs: Annotated[tuple[SecretRef, ...], msgspec.Meta(min_length=1, max_length=16)]
    """Each value is a key, and its name is who the client is."""
    header: HeaderName = "Authorization"
    """Where clients show their key; `Bearer ` before it is taken off."""


class KeyRef(msgspec.Struct, frozen=True):
    """A value of a ConfigMap or Secret in the same namespace."""

    name: Name
    key: Annotated[str, msgspec.Meta(min_length=1, max_length=253)] = "jwks.json"
    kind: Literal["ConfigMap", "Secret"] = "ConfigMap"


_LABEL = "[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?"
_PORT = "([1-9][0-9]{0,3}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5])"
_HTTP_URL = rf"^https?://({_LABEL}([.]{_LABEL})*|\[[0-9A-Fa-f:.]+\])(:{_PORT})?([/?][!-~]*)?\Z"
"""With a host that Envoy can connect to, and without a user."""


class Jwks(msgspec.Struct, frozen=True):
    """Where the public keys of an issuer are; one of the three."""

    inline: Annotated[str, msgspec.Meta(max_length=1 << 18)] | None = None
    ref: KeyRef | None = None
    uri: (
        Annotated[
            str,
            msgspec.Meta(
                max_length=2048,
                pattern=_HTTP_URL,
                description="a URL such as https://login.example.com/keys, without a user",
            ),
        ]
        | None
    ) = None


class JwtClients(msgspec.Struct, frozen=True, rename="camel"):
    """Clients are told by tokens that an issuer signed, in `Authorization: Bearer …`."""

    jwks: Jwks
    issuer: Annotated[Line, msgspec.Meta(max_length=2048)] = ""
    """Empty: any."""
    audiences: Annotated[
        tuple[Annotated[Line, msgspec.Meta(min_length=1, max_length=253)], ...], msgspec.Meta(max_length=16)
    ] = ()
    """The token is for one of them; empty: for whomever."""
    client_claim: Annotated[
        str,
        msgspec.Meta(
            min_length=1,
            max_length=253,
            pattern=r"^[A-Za-z0-9_.-]+\Z",
            description="a claim's name: letters, digits, '_', '.' and '-'",
        ),
    ] = "sub"
    """The claim that says who the client is."""


class AccessPolicySpec(msgspec.Struct, frozen=True, rename="camel"):
    """One of `apiKeys` and `jwt`."""

    target_refs: Annotated[tuple[AccessTarget, ...], msgspec.Meta(min_length=1, max_length=16)]
    api_keys: ApiKeyClients | None = None
    jwt: JwtClients | None = None


class AccessPolicy(KubeObject, frozen=True, kw_only=True):
    """Who may call what a Gateway, a listener or a route serves. The narrowest policy counts alone."""

    KIND: ClassVar[str] = "AccessPolicy"
    GROUP: ClassVar[str] = HEADGATE_GROUP
    spec: AccessPolicySpec


class BackendTarget(msgspec.Struct, frozen=True):
    """A backend in the policy's namespace."""

    kind: Literal["Service", "InferencePool", "ModelServer"]
    name: Name
    group: str = ""
    """It says nothing that the kind does not."""


class BackendAuthPolicySpec(msgspec.Struct, frozen=True, rename="camel"):
    """Requests to these backends carry `Authorization: Bearer` and the key."""

    target_refs: Annotated[tuple[BackendTarget, ...], msgspec.Meta(min_length=1, max_length=16)]
    secret_ref: SecretKeyRef


class BackendAuthPolicy(KubeObject, frozen=True, kw_only=True):
    """The key with which the gateway calls backends, in place of what the client sent."""

    KIND: ClassVar[str] = "BackendAuthPolicy"
    GROUP: ClassVar[str] = HEADGATE_GROUP
    spec: BackendAuthPolicySpec
