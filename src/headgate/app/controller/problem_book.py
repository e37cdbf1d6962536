"""What the controller's log says of problems: of each once, and what makes many of them at once, once."""

from collections.abc import Callable, Iterable, Sequence

from msgspec.structs import replace

from headgate.model.problems import Problem
from headgate.model.words import counted


class ProblemBook:
    """Tells of each problem once when it appears, and once when it is gone. What a parent of routes lacks is
    told once, however many routes wait for it: by the first of them, with the number of the others."""

    def __init__(self, appeared: Callable[[Problem], None], gone: Callable[[Problem], None]) -> None:
        self._appeared = appeared
        self._gone = gone
        self.present: tuple[Problem, ...] = ()
        self._told: dict[object, Problem] = {}
        """What is wrong → the problem that was told of it."""

    def update(self, problems: Iterable[Problem]) -> None:
        """These are the problems now."""
        self.present = tuple(dict.fromkeys(problems))
        now: dict[object, list[Problem]] = {}
        for problem in self.present:
            now.setdefault(_what_is_wrong(problem), []).append(problem)
        for what, same in now.items():
            if what not in self._told:
                self._told[what] = same[0]
                self._appeared(_with_number(same))
        for what in [each for each in self._told if each not in now]:
            self._gone(self._told.pop(what))


def _what_is_wrong(problem: Problem) -> object:
    """The same for all routes that wait for one parent."""
    return (problem.reason, problem.message) if problem.reason == "NoMatchingParent" else problem


def _with_number(same: Sequence[Problem]) -> Problem:
    others = len(same) - 1
    if not others:
        return same[0]
    return replace(same[0], message=f"{same[0].message} ({counted(others, 'more parentRef')} like it)")
