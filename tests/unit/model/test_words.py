"""Numbers in sentences."""

from headgate.model.words import counted


def test_one_is_singular() -> None:
    assert counted(1, "route") == "1 route"
    assert [counted(number, "route") for number in (0, 2)] == ["0 routes", "2 routes"]
    assert counted(2, "query", "queries") == "2 queries"
