"""From the model name a client asked for to the name an engine understands; priorities; the list of names."""

from collections.abc import Callable, Iterable
from hashlib import sha256

import msgspec

from headgate.model.endpoints import ModelRule, Pool, Rewrite
from headgate.model.load import ModelCard, bases_first
from headgate.model.randomness import Rng
from headgate.model.requests import InferenceRequest

NAMED = 20
LONGEST_NAME = 200


class NoSuchModel(msgspec.Struct, frozen=True, tag=True):
    """The pool has InferenceModels and none has the name."""

    model: str


class Nameless(msgspec.Struct, frozen=True, tag=True):
    """The pool has InferenceModels and the request names none."""


class NoTarget(msgspec.Struct, frozen=True, tag=True):
    """Every target of the InferenceModel has weight 0."""

    rule: ModelRule


def rule_of(pool: Pool, model: str | None) -> ModelRule | None:
    """The pool's rule for the name, if any."""
    return next((rule for rule in pool.models if rule.model_name == model), None)


def mentions(pool: Pool, model: str) -> bool:
    """Whether a rule of the pool has the name, for clients or for engines."""
    rules: tuple[ModelRule | Rewrite, ...] = (*pool.models, *pool.rewrites)
    return any(
        model == rule.model_name or any(model == choice.name for choice in rule.targets) for rule in rules
    )


def rewrite_of(pool: Pool, model: str | None) -> Rewrite | None:
    """The InferenceModelRewrite's rule for the name, else that for every name, if any."""
    if model is None:
        return None
    for rule in pool.rewrites:
        if rule.model_name is None or rule.model_name == model:
            return rule
    return None


def _drawn(rule: ModelRule | Rewrite, session: str | None, rng: Rng) -> str | None:
    """A target by weight, always the same one for a session; None: all weights are 0."""
    total = sum(choice.weight for choice in rule.targets)
    if total <= 0:
        return None
    if len(rule.targets) == 1:
        return rule.targets[0].name
    if session is None:
        part = rng.random()
    else:
        drawn = sha256(f"{rule.object}\n{rule.model_name}\n{session}".encode()).digest()
        part = int.from_bytes(drawn[:7], "big") / 256**7
    ticket = part * total
    for choice in rule.targets:
        ticket -= choice.weight
        if ticket < 0:
            return choice.name
    return next(choice.name for choice in reversed(rule.targets) if choice.weight)


def target(
    pool: Pool, request: InferenceRequest, session: str | None, rng: Rng
) -> str | Nameless | NoSuchModel | NoTarget | None:
    """The model to ask an engine for; None when the request names none. *session*: of `session`.

    A target forced by a trusted header wins, then the weighted draw of an InferenceModelRewrite, then that of
    the InferenceModel; else the name.

    A request without a model name passes as it is: engines serve their own model. Where the pool has
    InferenceModels, a chat or completion must name one of them.
    """
    if request.target_model is not None:
        return request.target_model
    rewrite = rewrite_of(pool, request.model)
    if rewrite is not None:
        return _drawn(rewrite, session, rng)
    if not pool.models:
        return request.model
    if request.model is None:
        return Nameless() if request.api in ("chat", "completions") else None
    rule = rule_of(pool, request.model)
    if rule is None:
        return NoSuchModel(request.model)
    return _drawn(rule, session, rng) or NoTarget(rule)


def listing(
    pool: Pool, reported: Iterable[ModelCard], absent: Callable[[str], bool] = lambda target: False
) -> tuple[ModelCard, ...]:
    """What `GET /v1/models` shows, base models before adapters.

    With InferenceModels: their names and those of rewrites and no others, since only those are accepted, by
    name; `root` is the heaviest target, and the rest of its card holds. One that could not be served is left
    out: nothing of it has weight, or every target with weight is *absent*: no endpoint has it.
    Without: the union of what the endpoints report, in the order reported, the first card of an id, and names
    of rewrites.
    """
    cards: dict[str, ModelCard] = {}
    for card in reported:
        cards.setdefault(card.id, card)
    renamed = {rule.model_name for rule in pool.rewrites}
    names: list[ModelRule | Rewrite] = [rule for rule in pool.rewrites if rule.model_name is not None]
    if pool.models:
        names += [rule for rule in pool.models if rule.model_name not in renamed]
    usable = [
        rule
        for rule in names
        if any(choice.weight > 0 and not absent(choice.name) for choice in rule.targets)
    ]
    rules = sorted(usable, key=lambda rule: (_adapts(rule, cards), rule.model_name or ""))
    made = tuple(_listed(rule, cards) for rule in rules)
    if pool.models:
        return made
    return bases_first([*(card for card in cards.values() if card.id not in renamed), *made])


def there_are(cards: tuple[ModelCard, ...]) -> str:
    """The names there are, for an error: the first `NAMED` of them, each `LONGEST_NAME` letters at most."""
    if not cards:
        return "it lists no models"
    named = ", ".join(repr(card.id[:LONGEST_NAME]) for card in cards[:NAMED])
    more = f" and {len(cards) - NAMED} more" if len(cards) > NAMED else ""
    return f"there {'is' if len(cards) == 1 else 'are'} {named}{more}"


def _heaviest(rule: ModelRule | Rewrite) -> str:
    return max(rule.targets, key=lambda choice: choice.weight).name


def _adapts(rule: ModelRule | Rewrite, cards: dict[str, ModelCard]) -> bool:
    """Whether the name stands for an adapter."""
    card = cards.get(_heaviest(rule))
    return card is not None and card.parent is not None


def _listed(rule: ModelRule | Rewrite, cards: dict[str, ModelCard]) -> ModelCard:
    heaviest = _heaviest(rule)
    card = cards.get(heaviest, ModelCard(heaviest))
    return ModelCard(
        rule.model_name or heaviest, "headgate", heaviest, max_model_len=card.max_model_len, rest=card.rest
    )
