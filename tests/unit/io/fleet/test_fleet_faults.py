"""Faults as values."""

import pytest

from headgate.io.fleet.faults import Fault, FaultBoard, checked, read_fault


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1:error-500", (1, Fault(kind="error-500"))),
        ("0:hang:rate=0.5,for_s=2", (0, Fault(kind="hang", rate=0.5, for_s=2.0))),
        ("2:slow-start:factor=8", (2, Fault(kind="slow-start", factor=8.0, for_s=10.0))),
    ],
)
def test_faults_of_the_command_line(text: str, expected: tuple[int, Fault]) -> None:
    assert read_fault(text) == expected


@pytest.mark.parametrize(
    "text", ["crash", "x:crash", "1:explode", "1:hang:rate=2", "1:hang:often=1", "1:hang:rate=x"]
)
def test_what_is_wrong_with_a_fault_is_said(text: str) -> None:
    with pytest.raises(ValueError, match=r"^--fault "):
        read_fault(text)


@pytest.mark.parametrize(
    "fault", [Fault(kind="hang", rate=0), Fault(kind="hang", for_s=0), Fault(kind="hang", factor=0.5)]
)
def test_senseless_numbers_are_refused(fault: Fault) -> None:
    with pytest.raises(ValueError, match="must be"):
        checked(fault)


def test_a_rate_strikes_a_share_of_the_rolls() -> None:
    board = FaultBoard()
    board.set(Fault(kind="error-500", rate=0.3))
    assert board.strikes("error-500", 0.29)
    assert not board.strikes("error-500", 0.3)
    assert not board.strikes("error-429", 0.0)


def test_a_newer_fault_of_the_kind_replaces_the_older() -> None:
    board = FaultBoard()
    board.set(Fault(kind="hang", rate=0.1))
    board.set(Fault(kind="hang", rate=0.9))
    assert board.active == (Fault(kind="hang", rate=0.9),)
    board.clear("hang")
    board.clear("hang")
    assert not board.has("hang")


@pytest.mark.parametrize(
    ("faults", "pace"),
    [
        ((), 1.0),
        ((Fault(kind="error-500"),), 1.0),
        ((Fault(kind="slow-start", factor=4),), 0.25),
        ((Fault(kind="hang"),), 0.0),
        ((Fault(kind="hang", rate=0.5),), 1.0),
        ((Fault(kind="slow-start", factor=4), Fault(kind="hang-all")), 0.0),
        ((Fault(kind="crash"),), 0.0),
        ((Fault(kind="hang-mid-stream"),), 1.0),
    ],
)
def test_faults_slow_or_stop_the_engine(faults: tuple[Fault, ...], pace: float) -> None:
    board = FaultBoard()
    for fault in faults:
        board.set(fault)
    assert board.pace() == pace
    board.clear_all()
    assert board.pace() == 1.0
