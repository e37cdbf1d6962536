"""Nobody changes an endpoint's state past its own methods, which forget what was made of it."""

import ast
from collections.abc import Callable, Iterator
from pathlib import Path

import headgate
from headgate.model.endpoints import Endpoint
from headgate.model.ids import EndpointId
from headgate.scheduling.api import EndpointState
from headgate.scheduling.state import Seen

SOURCES = Path(headgate.__file__).parent
HOME = SOURCES / "scheduling" / "state.py"
FREE = {"cold_turn", "adapters", "seen"}
"""What nobody else has to know of, and `seen`, which the scheduler fills."""
MAY_FILL = {"scheduling/scheduler.py"}


def _changes(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Lines that assign to an attribute of something called a state, and the attribute."""
    for node in ast.walk(tree):
        targets: list[ast.expr] = []
        if isinstance(node, ast.Assign):
            targets = [
                each for target in node.targets for each in ast.walk(target) if isinstance(each, ast.expr)
            ]
        elif isinstance(node, ast.AugAssign | ast.AnnAssign):
            targets = [node.target]
        for target in targets:
            if not isinstance(target, ast.Attribute) or not isinstance(target.ctx, ast.Store):
                continue
            if ast.unparse(target.value).endswith("state"):
                yield target.lineno, target.attr


def test_states_are_changed_by_their_own_methods() -> None:
    home = ast.parse(HOME.read_text())
    (state,) = [each for each in home.body if isinstance(each, ast.ClassDef) and each.name == "EndpointState"]
    fields = {
        node.attr
        for node in ast.walk(state)
        if isinstance(node, ast.Attribute) and ast.unparse(node.value) == "self"
    }
    assert {"load", "in_flight", "severity"} <= fields - FREE
    found = []
    for path in SOURCES.rglob("*.py"):
        where = path.relative_to(SOURCES).as_posix()
        if path == HOME or not where.startswith(("picker/", "scheduling/", "app/", "sim/", "io/")):
            continue
        for line, name in _changes(ast.parse(path.read_text())):
            if name in fields - FREE or (name == "seen" and where not in MAY_FILL):
                found.append(f"{where}:{line}: {name}")
    assert not found, "use the methods of EndpointState"


def test_the_look_for_changes_finds_them() -> None:
    tree = ast.parse(
        "member.state.load = 1\nstate.in_flight += 1\nstate.seen, other = None, 2\nself.x = state.y"
    )
    assert sorted(_changes(tree)) == [(1, "load"), (2, "in_flight"), (3, "seen")]


def test_every_change_forgets_what_was_made_of_the_state() -> None:
    one, other = Endpoint(EndpointId("a"), "a", 1, "pod"), Endpoint(EndpointId("a"), "a", 1, "renamed")
    state = EndpointState(one, 0)
    changes: dict[str, Callable[[], None]] = {
        "carry": lambda: state.carry(1, 2, 3),
        "correct": lambda: state.correct(None, 1.0, 0, 0, 0),
        "judge": lambda: state.judge(1, "cooling", 0.5),
        "refill": lambda: state.refill(0.5),
        "compare": lambda: state.compare(2.0),
        "rename": lambda: state.rename(other),
        "look_again": state.look_again,
    }
    methods = {name for name, value in vars(EndpointState).items() if callable(value) and name[0] != "_"}
    assert methods - {"has_room", "crowd"} == changes.keys(), "room is nothing that was made of it"
    for name, change in changes.items():
        state.seen = Seen(state, 0.0, 0.0, 0.0, ())
        change()
        assert state.seen is None, name
    assert (state.in_flight, state.scraped_at, state.severity, state.fill, state.pace, state.name) == (
        1,
        1.0,
        1,
        0.5,
        2.0,
        "renamed",
    )
