"""BackendAuthPolicies: with which key a backend is called."""

from collections.abc import Iterator

import msgspec

from headgate.model import absent
from headgate.model.api_keys import ApiKey, read_secret
from headgate.model.meta import Identity
from headgate.model.objects import BackendAuthPolicy, Secret
from headgate.model.policies import oldest
from headgate.model.problems import Place, Problem
from headgate.model.store import Store


class Wrong(msgspec.Struct, frozen=True):
    """Why a policy cannot be used: its backends are called without a key."""

    message: str


def of(world: Store, kind: str, namespace: str, name: str) -> ApiKey | None:
    """The key for a backend: that of the oldest policy; None: what the client sent is passed on."""
    found = world.get(chosen, kind, namespace, name)
    key = None if found is None else world.get(read, found)
    return key if isinstance(key, ApiKey) else None


def chosen(world: Store, kind: str, namespace: str, name: str) -> Identity | None:
    """The oldest policy for a backend."""
    return oldest(world, BackendAuthPolicy, kind, namespace, name)


def read(world: Store, policy: Identity) -> ApiKey | Wrong:
    """The key that a policy names."""
    found = world.any_object(policy)
    assert isinstance(found, BackendAuthPolicy)
    ref = found.spec.secret_ref
    secret = world.object(Secret, policy.namespace, ref.name)
    if secret is None:
        return Wrong(absent.sentence(world, "Secret", policy.namespace, ref.name))
    try:
        return read_secret(secret.data, secret.string_data, ref.key)
    except ValueError as error:
        return Wrong(f"Secret {ref.name}: {error}")


def problems_of(world: Store, policy: BackendAuthPolicy) -> Iterator[Problem]:
    """What is wrong with a policy, and backends that it does not count for."""
    key = world.get(read, policy.identity)
    if isinstance(key, Wrong):
        message = f"{key.message}; its backends are called without a key"
        yield _problem(policy, "spec.secretRef", "InvalidAPIKey", message)
    for index, ref in enumerate(policy.spec.target_refs):
        field = f"spec.targetRefs[{index}]"
        first = world.get(chosen, ref.kind, policy.namespace, ref.name)
        if ref.name not in absent.names(world, ref.kind, policy.namespace):
            message = absent.sentence(world, ref.kind, policy.namespace, ref.name)
            yield _problem(policy, field, "TargetNotFound", message)
        elif first != policy.identity:
            assert first is not None
            message = f"BackendAuthPolicy {first.name} counts for this backend, and one policy does"
            yield _problem(policy, field, "Conflicted", message)


def _problem(policy: BackendAuthPolicy, field: str, reason: str, message: str) -> Problem:
    return Problem(Place(object=str(policy.identity), field=field), reason, message)
