"""Bodies posted to `/fault`."""

import pytest

from headgate.io.fleet.api import ApiError
from headgate.io.fleet.control import read_fault_body, read_replica_fault
from headgate.io.fleet.faults import Fault

NAMES = ("replica-0", "replica-1")


def test_a_fault_for_a_replica_by_number_or_name() -> None:
    expected = (1, Fault(kind="hang", rate=0.5))
    assert read_replica_fault(b'{"replica": 1, "kind": "hang", "rate": 0.5}', NAMES) == expected
    assert read_replica_fault(b'{"replica": "replica-1", "kind": "hang", "rate": 0.5}', NAMES) == expected


@pytest.mark.parametrize("replica", ["2", "-1", "true", "null", '"x"', "[1]", "1.0"])
def test_a_replica_that_is_not_there(replica: str) -> None:
    answer = read_replica_fault(f'{{"replica": {replica}, "kind": "hang"}}'.encode(), NAMES)
    assert isinstance(answer, ApiError)
    assert answer.status == 404


@pytest.mark.parametrize(
    "body", [b"", b"[]", b'{"kind": "explode"}', b'{"kind": "hang", "rate": 0}', b'{"kind": "hang", "x": 1}']
)
def test_nonsense_is_refused(body: bytes) -> None:
    answer = read_fault_body(body)
    assert isinstance(answer, ApiError)
    assert answer.status == 400


def test_a_slow_start_ends_by_itself() -> None:
    assert read_fault_body(b'{"kind": "slow-start"}') == Fault(kind="slow-start", for_s=10.0)
