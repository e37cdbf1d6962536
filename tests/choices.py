"""Choices as a machine makes them, for tests that answer requests by hand."""

from typing import Any

from headgate.model.ids import EndpointId, PoolKey, RequestId
from headgate.picker.choice import Choice
from headgate.scheduling.placement import Placement

NOWHERE = Placement((), None, 0.0, 0.0, 0, {}, (), ())
"""A placement that looked at nobody."""


def a_choice(
    request_id: str = "r",
    pool: str = "default/p",
    chosen: tuple[str, ...] = ("10.0.0.1:80",),
    placement: Placement = NOWHERE,
    **fields: Any,
) -> Choice:
    """*request_id* goes to the first of *chosen*."""
    values: dict[str, Any] = {
        "policy": "p",
        "model": None,
        "target_model": None,
        "priority": 0,
        "objective": None,
        "predicted_ttft_s": 0.0,
    }
    return Choice(
        request_id=RequestId(request_id),
        pool=PoolKey(pool),
        chosen=tuple(map(EndpointId, chosen)),
        placement=placement,
        **(values | fields),
    )
