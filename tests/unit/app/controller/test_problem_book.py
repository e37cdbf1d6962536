"""What the log says of problems."""

from headgate.app.controller.problem_book import ProblemBook
from headgate.model.problems import Place, Problem


def problem(text: str) -> Problem:
    return Problem(Place(), "Odd", text)


def test_a_problem_is_told_once_when_it_comes_and_once_when_it_goes() -> None:
    told: list[str] = []
    book = ProblemBook(lambda p: told.append(f"+{p.message}"), lambda p: told.append(f"-{p.message}"))
    book.update([problem("a"), problem("a")])
    book.update([problem("a"), problem("b")])
    book.update([problem("b")])
    assert told == ["+a", "+b", "-a"]
    assert book.present == (problem("b"),)


def test_what_a_parent_lacks_is_told_once_however_many_routes_wait_for_it() -> None:
    def waits(route: str, gateway: str = "a") -> Problem:
        place = Place(object=f"HTTPRoute default/{route}")
        return Problem(place, "NoMatchingParent", f"there is no Gateway default/{gateway}")

    told: list[str] = []
    book = ProblemBook(
        lambda p: told.append(f"+{p.place.object} {p.message}"),
        lambda p: told.append(f"-{p.message}"),
    )
    book.update([waits("one"), waits("two"), waits("three"), waits("one", "b")])
    assert told == [
        "+HTTPRoute default/one there is no Gateway default/a (2 more parentRefs like it)",
        "+HTTPRoute default/one there is no Gateway default/b",
    ]
    assert len(book.present) == 4
    told.clear()
    book.update([waits("two"), waits("four")])
    assert told == ["-there is no Gateway default/b"]
    book.update([])
    assert told[1:] == ["-there is no Gateway default/a"]
