"""The endpoint picker protocol's subset hint: the data plane may say who is allowed to serve."""

from collections.abc import Collection, Mapping, Sequence
from typing import ClassVar

from headgate.scheduling.api import Ask, EndpointState, Filter


class SubsetHint(Filter, frozen=True):
    """Only endpoints of the request's subset, written `ip:port`, bare `ip`, or either with IPv6 brackets."""

    hard: ClassVar[bool] = True

    def refuse(self, ask: Ask, endpoints: Sequence[EndpointState]) -> Mapping[int, str]:
        """Refuse whoever the hint does not name; nobody when there is no hint."""
        if ask.request.subset is None:
            return {}
        allowed = addresses(ask.request.subset)
        return {
            position: "not in the subset hint"
            for position, state in enumerate(endpoints)
            if not is_among(state, allowed)
        }


def addresses(subset: Sequence[str]) -> frozenset[str]:
    """What a hint allows: `ip:port`, or the bare `ip` of all ports."""
    return frozenset([_address(entry.strip()) for entry in subset])


def is_among(state: EndpointState, allowed: Collection[str]) -> bool:
    """Whether *allowed*, as `addresses` says it, names the endpoint."""
    return state.id in allowed or state.endpoint.ip in allowed


def _address(entry: str) -> str:
    """`ip:port` as it is; a bare address without its brackets."""
    return entry[1:-1] if entry.startswith("[") and entry.endswith("]") else entry
