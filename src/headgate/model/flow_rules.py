"""Fair use, as a policy says it: values, with what they mean when nothing is said left out."""

from collections.abc import Mapping

import msgspec

from headgate.model.objects.flow import BandSpec, DetectorSpec, ShareSpec


class Caller(msgspec.Struct, frozen=True):
    """Whom a verified client counts as."""

    fairness_id: str
    priority: int | None


class FlowRules(msgspec.Struct, frozen=True):
    """One policy; one for routes says `trusted`, `sessions`, `callers`, `fairness_id`, `priority`."""

    object: str
    """`namespace/name` of the FlowPolicy."""
    trusted: frozenset[str] | None = None
    """What is believed of clients' headers, of `fairness`, `objective` and `slo`; None: as configured."""
    sessions: tuple[str, ...] | None = None
    """Sources of `model.sessions`, the first one that has a value names the session; None: the usual ones."""
    fairness_id: str | None = None
    """Of requests that nothing else tells of."""
    priority: int | None = None
    """The same."""
    detector: DetectorSpec = DetectorSpec()
    hold_empty_s: float | None = None
    """So long a request waits for the first endpoint; None: as configured."""
    callers: Mapping[str, Caller] = msgspec.field(default_factory=dict)
    """By the client's name."""
    shares: Mapping[str, ShareSpec] = msgspec.field(default_factory=dict)
    """By fairness id."""
    other_shares: ShareSpec = ShareSpec()
    bands: Mapping[int, BandSpec] = msgspec.field(default_factory=dict)
    """By priority."""
    other_bands: BandSpec = BandSpec()
