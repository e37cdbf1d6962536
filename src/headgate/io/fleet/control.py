"""What is posted to `/fault`, on a replica's port or on the fleet's control port."""

from collections.abc import Sequence
from typing import Any

import msgspec

from headgate.io.fleet.api import ApiError
from headgate.io.fleet.faults import Fault, checked


def read_fault_body(body: bytes) -> Fault | ApiError:
    """The fault in a request body."""
    try:
        return checked(msgspec.json.decode(body, type=Fault))
    except (msgspec.DecodeError, ValueError) as problem:
        return ApiError(400, str(problem))


def read_replica_fault(body: bytes, names: Sequence[str]) -> tuple[int, Fault] | ApiError:
    """The fault in a request body, and which of the replicas it is for: `replica` is a number or a name."""
    try:
        fields = msgspec.json.decode(body, type=dict[str, Any])
    except msgspec.DecodeError as problem:
        return ApiError(400, str(problem))
    asked = fields.pop("replica", None)
    index = names.index(asked) if asked in names else asked
    if type(index) is not int or index not in range(len(names)):
        message = f"no replica {asked!r}; name one by its number or name"
        return ApiError(404, message, "NotFoundError", "replica")
    fault = read_fault_body(msgspec.json.encode(fields))
    return fault if isinstance(fault, ApiError) else (index, fault)
