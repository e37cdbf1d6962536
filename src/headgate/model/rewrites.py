"""InferenceModelRewrites: which rule counts for a model name of a pool."""

from headgate.model.endpoints import Rewrite, TargetModel
from headgate.model.ids import PoolKey
from headgate.model.objects import InferenceModelRewrite
from headgate.model.objects.inference import RewriteRule
from headgate.model.store import Store


def rewrites(world: Store, key: PoolKey) -> tuple[Rewrite, ...]:
    """One for a name, ordered by name, then that for every name.

    The oldest object wins a name, then its first rule.
    """
    namespace, _, name = key.partition("/")
    found = (world.any_object(each) for each in world.indexed("pool", (namespace, name)))
    objects = sorted(
        (each for each in found if isinstance(each, InferenceModelRewrite)), key=lambda each: each.age_key
    )
    winners: dict[str | None, Rewrite] = {}
    for each in objects:
        for rule in each.spec.rules:
            names: tuple[str | None, ...] = tuple(match.model.value for match in rule.matches)
            for one in names or (None,):
                if one not in winners:
                    winners[one] = Rewrite(one, f"{each.namespace}/{each.name}", _targets(rule))
    last = winners.pop(None, None)
    exact = [winners[one] for one in sorted(winners, key=str)]
    return (*exact, last) if last is not None else tuple(exact)


def _targets(rule: RewriteRule) -> tuple[TargetModel, ...]:
    """Without weights all are equal; where some have one, the others are never chosen."""
    weighted = any(each.weight is not None for each in rule.targets)
    missing = 0 if weighted else 1
    return tuple(
        TargetModel(each.model_rewrite, missing if each.weight is None else each.weight)
        for each in rule.targets
    )
