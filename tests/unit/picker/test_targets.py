"""Model names, priorities and the list of models, apart from the machine."""

import random
from collections import Counter

import pytest
from tests.unit.picker.picker_builders import CRITICAL, KEY, asks

from headgate.model.endpoints import ModelRule, Pool, Rewrite, TargetModel
from headgate.model.load import ModelCard
from headgate.model.requests import InferenceRequest
from headgate.picker.targets import (
    Nameless,
    NoSuchModel,
    NoTarget,
    listing,
    target,
    there_are,
)

EMPTY = ModelRule("none", "d/none", 0, (TargetModel("a", 0),))
POOL = Pool(KEY, models=(EMPTY, CRITICAL), objectives={"high": 7, "low": -7})


def test_shares_follow_the_weights_and_weight_zero_is_never_drawn() -> None:
    dice = random.Random(3)
    drawn = Counter(target(POOL, asks("chat"), None, dice) for _ in range(1000))
    assert set(drawn) == {"a", "c"}
    assert 200 < drawn["a"] < 300


@pytest.mark.parametrize(
    ("request_", "expected"),
    [
        (asks("nobody"), NoSuchModel("nobody")),
        (asks("none"), NoTarget(EMPTY)),
        (asks(None), Nameless()),
        (asks(None, target_model="x"), "x"),
        (asks("nobody", target_model="x"), "x"),
    ],
)
def test_edges(request_: InferenceRequest, expected: object) -> None:
    assert target(POOL, request_, None, random.Random(0)) == expected


def test_listing() -> None:
    cards = (ModelCard("c", max_model_len=9), ModelCard("a"), ModelCard("c", owned_by="second"))
    assert listing(Pool(KEY), cards) == (ModelCard("c", max_model_len=9), ModelCard("a"))
    assert listing(POOL, cards) == (ModelCard("chat", owned_by="headgate", root="c", max_model_len=9),)


def test_what_could_not_be_served_is_not_listed() -> None:
    rules = (
        ModelRule("gone", "d/gone", 0, (TargetModel("nobody-has-it", 1),)),
        ModelRule("half", "d/half", 0, (TargetModel("nobody-has-it", 1), TargetModel("a", 1))),
        ModelRule("off", "d/off", 0, (TargetModel("nobody-has-it", 1), TargetModel("a", 0))),
    )
    pool, cards = Pool(KEY, models=rules), (ModelCard("a"),)
    assert [card.id for card in listing(pool, cards, lambda target: target != "a")] == ["half"]
    assert [card.id for card in listing(pool, cards)] == ["gone", "half", "off"], "nobody knows better"


def test_base_models_are_listed_first_in_the_engines_order() -> None:
    cards = (ModelCard("z"), ModelCard("a-lora", parent="z"), ModelCard("b", rest=b'{"created":5}'))
    assert [card.id for card in listing(Pool(KEY), cards)] == ["z", "b", "a-lora"]
    rules = tuple(
        ModelRule(name, f"d/{name}", 0, (TargetModel(target, 1),))
        for name, target in (("a", "a-lora"), ("m", "b"), ("n", "z"))
    )
    listed = listing(Pool(KEY, models=rules), cards)
    assert [(card.id, card.root, card.rest) for card in listed] == [
        ("m", "b", b'{"created":5}'),
        ("n", "z", b""),
        ("a", "a-lora", b""),
    ]


def test_there_are() -> None:
    assert there_are(()) == "it lists no models"
    assert there_are((ModelCard("a"),)) == "there is 'a'"
    assert there_are((ModelCard("a"), ModelCard("b"))) == "there are 'a', 'b'"
    many = there_are(tuple(ModelCard(f"{n}" * 1000) for n in range(500)))
    assert many.endswith(" and 480 more")
    assert len(many) < 6000


REWRITES = (
    Rewrite("chat", "d/exact", (TargetModel("x", 1), TargetModel("y", 1))),
    Rewrite(None, "d/any", (TargetModel("z", 1),)),
)


def test_a_rewrite_of_the_name_counts_before_that_of_every_name_and_both_before_inference_models() -> None:
    pool = Pool(KEY, models=(CRITICAL,), rewrites=REWRITES)
    dice = random.Random(3)
    drawn = Counter(target(pool, asks("chat"), None, dice) for _ in range(1000))
    assert set(drawn) == {"x", "y"}
    assert 450 < drawn["x"] < 550
    assert target(pool, asks("whatever"), None, dice) == "z"
    assert target(Pool(KEY, rewrites=REWRITES[:1]), asks("whatever"), None, dice) == "whatever"
    assert target(Pool(KEY, rewrites=REWRITES), asks(None), None, dice) is None


@pytest.mark.parametrize("pool", [POOL, Pool(KEY, rewrites=REWRITES)], ids=["model", "rewrite"])
def test_a_session_keeps_its_target_and_sessions_are_shared_by_weight(pool: Pool) -> None:
    dice = random.Random(3)
    drawn = {
        name: {target(pool, asks("chat"), name, dice) for _ in range(3)}
        for name in (f"session-{number}" for number in range(4000))
    }
    assert all(len(found) == 1 for found in drawn.values())
    share = sum(found <= {"a", "x"} for found in drawn.values()) / 4000
    assert share == pytest.approx(0.25 if pool is POOL else 0.5, abs=0.03)


def test_rewritten_names_are_listed_while_a_target_is_there() -> None:
    cards = [ModelCard("x"), ModelCard("z")]
    pool = Pool(KEY, rewrites=REWRITES)
    assert [card.id for card in listing(pool, cards)] == ["x", "z", "chat"]
    assert [card.id for card in listing(pool, cards, lambda name: name in ("x", "y"))] == ["x", "z"]
    both = Pool(KEY, models=(CRITICAL,), rewrites=(Rewrite("other", "d/o", (TargetModel("x"),)),))
    assert [card.id for card in listing(both, cards)] == ["chat", "other"]
