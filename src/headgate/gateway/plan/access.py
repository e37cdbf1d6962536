"""Who may call: which AccessPolicy counts for a listener or a route, and what it says.

A policy that cannot be used lets nobody in, rather than everybody.
"""

from collections.abc import Iterator

import msgspec
from msgspec.structs import replace

from headgate.gateway import ir
from headgate.model import absent, key_sets, policies
from headgate.model.api_keys import Clients, SharedKeyError
from headgate.model.meta import Identity
from headgate.model.objects import AccessPolicy, ApiKeyClients, ConfigMap, JwtClients, Secret
from headgate.model.objects.access import KeyRef
from headgate.model.problems import Place, Problem
from headgate.model.store import Store
from headgate.model.tls_material import read_value

DEFAULT = "client-keys"
"""Name of the access that holds where no policy does."""


class Read(msgspec.Struct, frozen=True):
    """What a policy says; what is wrong is left out, down to nobody's being let in."""

    access: ir.Access
    problems: tuple[tuple[str, str], ...] = ()
    """Field and sentence, with who is not let in."""


_CLOSED = "; who depends on it is not let in"
"""What becomes of clients whose part of a policy cannot be used."""


def of_listener(world: Store, gateway: Identity, owner: Identity, name: str) -> ir.Access | None:
    """What holds for the requests of a listener, written in *owner*; None: anybody may call."""
    for target, section in policies.of_listener(gateway, owner, name):
        policy = world.get(chosen, target, section)
        if policy is not None:
            return world.get(read, policy).access
    if world.entry("broken kinds", AccessPolicy.KIND.casefold()):
        return ir.Access("an AccessPolicy that cannot be read")  # nobody knows whom it lets in
    found = world.entry("settings", "client_keys")
    return found if isinstance(found, ir.Access) else None


def of_route(world: Store, route: Identity) -> ir.Access | None:
    """What holds for a route in place of what its listener says; None: nothing."""
    policy = world.get(chosen, route, None)
    return None if policy is None else world.get(read, policy).access


def chosen(world: Store, target: Identity, section: str | None) -> Identity | None:
    """The oldest policy for an object, or for one of its listeners."""
    return policies.oldest(world, AccessPolicy, target.kind, target.namespace, target.name, section)


def token_policies(world: Store) -> tuple[tuple[str, ir.Tokens], ...]:
    """`namespace/name` of each policy that reads tokens, and how it does."""
    policies = sorted(world.kind(AccessPolicy))
    found = ((each, world.get(read, each).access.tokens) for each in policies)
    return tuple((f"{each.namespace}/{each.name}", tokens) for each, tokens in found if tokens is not None)


def read(world: Store, policy: Identity) -> Read:
    """What a policy says."""
    found = world.any_object(policy)
    assert isinstance(found, AccessPolicy)
    name = f"{policy.namespace}/{policy.name}"
    if found.spec.api_keys is not None:
        return _keys(world, policy, name, found.spec.api_keys)
    assert found.spec.jwt is not None, "rules.py asks for one of the two"
    return _tokens(world, policy, name, found.spec.jwt)


def _keys(world: Store, policy: Identity, name: str, wanted: ApiKeyClients) -> Read:
    clients = Clients()
    problems: list[tuple[str, str]] = []
    for index, ref in enumerate(wanted.secret_refs):
        field = f"spec.apiKeys.secretRefs[{index}]"
        secret = world.object(Secret, policy.namespace, ref.name)
        if secret is None:
            problems.append((field, absent.sentence(world, "Secret", policy.namespace, ref.name) + _CLOSED))
            continue
        for client in sorted({*_names(secret.data), *_names(secret.string_data)}):
            value = read_value(secret, client)
            try:
                if isinstance(value, ValueError):
                    raise value
                clients.add(client, value)
            except SharedKeyError as error:
                both = f"Secret {ref.name}: {error}, and who shows it counts as the first"
                problems.append((field, both))
            except ValueError as error:
                problems.append((field, f"Secret {ref.name}: {error}{_CLOSED}"))
    try:
        pairs = clients.pairs()
    except ValueError as error:
        problems.append(("spec.apiKeys.secretRefs", f"{error}{_CLOSED}"))
        pairs = ()
    return Read(ir.Access(name, ir.Keys(pairs, wanted.header)), tuple(problems))


def _names(data: object) -> list[str]:
    return [each for each in data if isinstance(each, str)] if isinstance(data, dict) else []


def _tokens(world: Store, policy: Identity, name: str, wanted: JwtClients) -> Read:
    jwks, field = wanted.jwks, "spec.jwt.jwks"
    tokens = ir.Tokens(wanted.issuer, wanted.audiences, wanted.client_claim, None, jwks.uri)
    if jwks.uri is not None:
        return Read(ir.Access(name, tokens=tokens))
    text: str | ValueError | None = jwks.inline
    if jwks.ref is not None:
        field += ".ref"
        text = _value(world, policy.namespace, jwks.ref)
    if text is None:
        text = ValueError("nothing says where the keys are")
    problem = str(text) if isinstance(text, ValueError) else key_sets.problem_of(text)
    if problem is not None or isinstance(text, ValueError):
        return Read(ir.Access(name), ((field, f"{problem}{_CLOSED}"),))
    return Read(ir.Access(name, tokens=replace(tokens, jwks=text)))


def _value(world: Store, namespace: str, ref: KeyRef) -> str | ValueError:
    if ref.kind == "Secret":
        secret = world.object(Secret, namespace, ref.name)
        if secret is None:
            return ValueError(absent.sentence(world, "Secret", namespace, ref.name))
        return read_value(secret, ref.key)
    found = world.object(ConfigMap, namespace, ref.name)
    if found is None:
        return ValueError(absent.sentence(world, "ConfigMap", namespace, ref.name))
    if ref.key not in found.data:
        return ValueError(f"ConfigMap {ref.name} has no key {ref.key}")
    return found.data[ref.key]


def problems_of(world: Store, policy: AccessPolicy) -> Iterator[Problem]:
    """What is wrong with a policy, and targets that it does not count for."""
    for field, message in world.get(read, policy.identity).problems:
        yield _problem(policy, field, "InvalidAccessPolicy", message)
    for index, ref in enumerate(policy.spec.target_refs):
        target = Identity(ref.kind, policy.namespace, ref.name, ref.group)
        field = f"spec.targetRefs[{index}]"
        if world.any_object(target) is None:
            message = absent.sentence(world, ref.kind, policy.namespace, ref.name)
            yield _problem(policy, field, "TargetNotFound", f"{message}; it protects nothing")
            continue
        first = world.get(chosen, target, ref.section_name)
        if first is not None and first != policy.identity:
            message = f"AccessPolicy {first.name} counts for this target, and one policy does"
            yield _problem(policy, field, "Conflicted", message)


def _problem(policy: AccessPolicy, field: str, reason: str, message: str) -> Problem:
    return Problem(Place(object=str(policy.identity), field=field), reason, message)
