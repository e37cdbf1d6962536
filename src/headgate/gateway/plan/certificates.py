"""Certificates that listeners show, and authorities that certificates are verified by."""

from collections.abc import Sequence

import msgspec

from headgate.gateway.plan import grants
from headgate.model import absent
from headgate.model.meta import Identity
from headgate.model.objects import CaRef, ConfigMap, Gateway, ObjectRef, Secret
from headgate.model.store import Store
from headgate.model.tls_material import Pair, read_authorities, read_pair


class RefProblem(msgspec.Struct, frozen=True):
    """Why a reference to a certificate leads nowhere."""

    reason: str
    message: str


def pair(world: Store, namespace: str, name: str) -> Pair | str | None:
    """The certificate and key in a Secret, or what is wrong with it; None: there is no such Secret."""
    secret = world.object(Secret, namespace, name)
    return None if secret is None else read_pair(secret)


def referred(world: Store, source: Identity, ref: ObjectRef) -> str | RefProblem:
    """`namespace/name` of the Secret with a certificate that *source* refers to."""
    if (ref.group, ref.kind) != ("", "Secret"):
        shown = f"{ref.group}/{ref.kind}" if ref.group else ref.kind
        return RefProblem("InvalidCertificateRef", f"a certificate must be in a Secret, not a {shown}")
    namespace = ref.namespace or source.namespace
    if not grants.granted(world, source, "", "Secret", namespace, ref.name):
        return RefProblem("RefNotPermitted", grants.refused(source, "", "Secret", namespace))
    found = world.get(pair, namespace, ref.name)
    if found is None:
        crossing = ": write namespace: NAMESPACE in the reference, and a ReferenceGrant there"
        return RefProblem(
            "InvalidCertificateRef", absent.sentence(world, "Secret", namespace, ref.name, crossing)
        )
    if isinstance(found, str):
        return RefProblem("InvalidCertificateRef", f"Secret {namespace}/{ref.name}: {found}")
    return f"{namespace}/{ref.name}"


def client_certificate(world: Store, gateways: tuple[Identity, ...]) -> str | None:
    """`namespace/name` of the Secret with what the gateway shows to backends: of the first Gateway that has
    one, as all Gateways of an Envoy share its connections to backends."""
    for each in gateways:
        found = world.any_object(each)
        assert isinstance(found, Gateway)
        backend = found.spec.tls.backend if found.spec.tls is not None else None
        ref = backend.client_certificate_ref if backend is not None else None
        secret = referred(world, each, ref) if ref is not None else None
        if isinstance(secret, str):
            return secret
    return None


def authorities(world: Store, source: Identity, refs: Sequence[CaRef]) -> tuple[str, tuple[RefProblem, ...]]:
    """CA certificates (PEM) of all *refs* that are right, empty where none is; what is wrong with others."""
    found: list[str] = []
    problems: list[RefProblem] = []
    for ref in refs:
        read = _authorities(world, source, ref)
        if isinstance(read, RefProblem):
            problems.append(read)
        else:
            found.append(read.rstrip("\n") + "\n")
    return "".join(found), tuple(problems)


def _authorities(world: Store, source: Identity, ref: CaRef) -> str | RefProblem:
    if ref.group or ref.kind not in ("ConfigMap", "Secret"):
        shown = f"{ref.group}/{ref.kind}" if ref.group else ref.kind
        return RefProblem("InvalidKind", f"CA certificates must be in a ConfigMap or a Secret, not a {shown}")
    namespace = ref.namespace or source.namespace
    if not grants.granted(world, source, "", ref.kind, namespace, ref.name):
        return RefProblem("RefNotPermitted", grants.refused(source, "", ref.kind, namespace))
    found: ConfigMap | Secret | None = (
        world.object(ConfigMap, namespace, ref.name)
        if ref.kind == "ConfigMap"
        else world.object(Secret, namespace, ref.name)
    )
    if found is None:
        missing = absent.sentence(world, ref.kind, namespace, ref.name)
        return RefProblem("InvalidCACertificateRef", missing)
    read = read_authorities(found)
    if isinstance(read, ValueError):
        return RefProblem("InvalidCACertificateRef", f"{ref.kind} {namespace}/{ref.name}: {read}")
    return read
