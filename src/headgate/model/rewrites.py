"""InferenceModelRewrites: which rule counts for a model name of a pool."""

from collections.abc import Iterator, Mapping

from headgate.model.endpoints import Rewrite, TargetModel
from headgate.model.ids import PoolKey, pool_key
from headgate.model.meta import Identity
from headgate.model.objects import InferenceModelRewrite
from headgate.model.objects.inference import RewriteRule
from headgate.model.problems import Place, Problem
from headgate.model.store import Store


def rewrites(world: Store, key: PoolKey) -> tuple[Rewrite, ...]:
    """One for a name, ordered by name, then that for every name.

    The oldest object wins a name, then its first rule.
    """
    winners = {one: rewrite for one, (_, _, rewrite) in world.get(_winners, key).items()}
    last = winners.pop(None, None)
    exact = [winners[one] for one in sorted(winners, key=str)]
    return (*exact, last) if last is not None else tuple(exact)


def problems_of(world: Store, found: InferenceModelRewrite) -> Iterator[Problem]:
    """What of it is never used: rules after others for the same name, targets that alone have no weight."""
    winners = world.get(_winners, pool_key(found.namespace, found.spec.pool_ref.name))
    for index, rule in enumerate(found.spec.rules):
        here = f"spec.rules[{index}]"
        for number, one in enumerate(_names(rule)):
            if one not in winners or winners[one][:2] == (found.identity, index):
                continue
            winner = winners[one][0]
            field = here if one is None else f"{here}.matches[{number}].model.value"
            what = "every other model" if one is None else f"model {one!r}"
            by = "an earlier rule" if winner == found.identity else f"InferenceModelRewrite {winner.name}"
            message = f"{by} has {what} already, so this has no effect"
            yield Problem(Place(object=str(found.identity), field=field), "Shadowed", message, "warning")
        if any(each.weight is not None for each in rule.targets):
            for number, target in enumerate(rule.targets):
                if target.weight is None:
                    field = f"{here}.targets[{number}].weight"
                    message = "it is missing, and others of the rule have one, so this target is never chosen"
                    where = Place(object=str(found.identity), field=field)
                    yield Problem(where, "NoEffect", message, "warning")


def _winners(world: Store, key: PoolKey) -> Mapping[str | None, tuple[Identity, int, Rewrite]]:
    """Name, None for every one → the object and the index of its rule that count, and what that says."""
    namespace, _, name = key.partition("/")
    found = (world.any_object(each) for each in world.indexed("pool", (namespace, name)))
    objects = sorted(
        (each for each in found if isinstance(each, InferenceModelRewrite)), key=lambda each: each.age_key
    )
    winners: dict[str | None, tuple[Identity, int, Rewrite]] = {}
    for each in objects:
        for index, rule in enumerate(each.spec.rules):
            for one in _names(rule):
                if one not in winners:
                    said = Rewrite(one, f"{each.namespace}/{each.name}", _targets(rule))
                    winners[one] = each.identity, index, said
    return winners


def _names(rule: RewriteRule) -> tuple[str | None, ...]:
    """The model names that it is for; None: every one."""
    return tuple(match.model.value for match in rule.matches) or (None,)


def _targets(rule: RewriteRule) -> tuple[TargetModel, ...]:
    """Without weights all are equal; where some have one, the others are never chosen."""
    weighted = any(each.weight is not None for each in rule.targets)
    missing = 0 if weighted else 1
    return tuple(
        TargetModel(each.model_rewrite, missing if each.weight is None else each.weight)
        for each in rule.targets
    )
