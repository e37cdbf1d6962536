"""Our own policies, `headgate.dev/v1alpha1`, where the Gateway API has no word."""

from typing import Annotated, ClassVar

import msgspec

from headgate.model.meta import HEADGATE_GROUP, Duration, HeaderName, KubeObject, Line, Name
from headgate.model.objects.gateway_api import BackendRef, PolicyTarget
from headgate.model.objects.inference import SecretKeyRef

Targets = Annotated[tuple[PolicyTarget, ...], msgspec.Meta(min_length=1, max_length=16)]


class NamedRef(msgspec.Struct, frozen=True):
    """An object in the same namespace."""

    name: Name


class KeyRef(msgspec.Struct, frozen=True):
    """A value of an object in the same namespace."""

    name: Name
    key: Annotated[str, msgspec.Meta(min_length=1, max_length=253)]


class ApiKeys(msgspec.Struct, frozen=True, rename="camel"):
    """Who has one of these keys may call. Each entry of the Secrets is one client: its name and its key."""

    secret_refs: Annotated[tuple[NamedRef, ...], msgspec.Meta(min_length=1, max_length=16)]
    headers: Annotated[tuple[HeaderName, ...], msgspec.Meta(max_length=4)] = ()
    """Where else than in `Authorization: Bearer` a key may stand, such as `x-api-key`."""


class RemoteJwks(msgspec.Struct, frozen=True, rename="camel"):
    """Keys of a token's issuer, fetched."""

    uri: Annotated[Line, msgspec.Meta(min_length=1, max_length=2048)]
    cache_duration: Duration = "5m"


class JwtProvider(msgspec.Struct, frozen=True, rename="camel"):
    """Whose tokens count. One of the three ways to its keys."""

    name: Name
    issuer: Annotated[Line, msgspec.Meta(min_length=1, max_length=2048)]
    audiences: Annotated[tuple[Line, ...], msgspec.Meta(max_length=16)] = ()
    jwks: Annotated[str, msgspec.Meta(max_length=262_144)] = ""
    """A JSON Web Key Set."""
    jwks_from: KeyRef | None = None
    """The same in a ConfigMap."""
    remote_jwks: RemoteJwks | None = None
    identity_claim: Annotated[str, msgspec.Meta(min_length=1, max_length=253)] = "sub"
    """The claim that says who calls."""


class Jwt(msgspec.Struct, frozen=True, rename="camel"):
    """Who has a token of one of these issuers may call."""

    providers: Annotated[tuple[JwtProvider, ...], msgspec.Meta(min_length=1, max_length=8)]


class AccessPolicySpec(msgspec.Struct, frozen=True, rename="camel"):
    """Who may call; where both ways are there either suffices."""

    target_refs: Targets
    api_keys: ApiKeys | None = None
    jwt: Jwt | None = None


class AccessPolicy(KubeObject, frozen=True, kw_only=True):
    """Who may call a Gateway, a listener of it, a route or a rule of it. The narrowest policy counts."""

    KIND: ClassVar[str] = "AccessPolicy"
    GROUP: ClassVar[str] = HEADGATE_GROUP
    spec: AccessPolicySpec


class BackendKey(msgspec.Struct, frozen=True, rename="camel"):
    """Where the key is that backends want to see as `Authorization: Bearer`."""

    secret_ref: SecretKeyRef


class BackendAuthPolicySpec(msgspec.Struct, frozen=True, rename="camel"):
    """The key that the gateway shows to the backends that are named."""

    target_refs: Targets
    api_key: BackendKey


class BackendAuthPolicy(KubeObject, frozen=True, kw_only=True):
    """The gateway adds a key to requests on their way to Services, InferencePools and ModelServers."""

    KIND: ClassVar[str] = "BackendAuthPolicy"
    GROUP: ClassVar[str] = HEADGATE_GROUP
    spec: BackendAuthPolicySpec


class FallbackPolicySpec(msgspec.Struct, frozen=True, rename="camel"):
    """Where requests go that the pools cannot take."""

    target_refs: Targets
    backend_refs: Annotated[tuple[BackendRef, ...], msgspec.Meta(min_length=1, max_length=4)]
    """Tried in this order."""


class FallbackPolicy(KubeObject, frozen=True, kw_only=True):
    """Other backends for requests that no endpoint of an InferencePool can be reached for."""

    KIND: ClassVar[str] = "FallbackPolicy"
    GROUP: ClassVar[str] = HEADGATE_GROUP
    spec: FallbackPolicySpec
