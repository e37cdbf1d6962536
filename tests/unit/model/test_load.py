"""Lists of models in the order that clients read them."""

from headgate.model.load import ModelCard, bases_first


def test_base_models_come_first_and_the_engines_order_stays() -> None:
    cards = [ModelCard("sql", parent="b"), ModelCard("b"), ModelCard("legal", parent="b"), ModelCard("a")]
    assert [card.id for card in bases_first(cards)] == ["b", "a", "sql", "legal"]
    assert bases_first(()) == ()
