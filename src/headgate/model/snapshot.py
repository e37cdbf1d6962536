"""All objects at one instant: what a source yields and both halves start from."""

from collections.abc import Mapping

import msgspec

from headgate.model.api_keys import ApiKey
from headgate.model.forbidden import Own
from headgate.model.objects import Object
from headgate.model.problems import Problem


class Snapshot(msgspec.Struct, frozen=True):
    """Every object that counts now. Whole, never a difference; sorted, so that equal inputs are equal."""

    objects: tuple[Object, ...] = ()
    """Ordered by kind, namespace, name; identities are unique."""
    addresses: Mapping[str, tuple[str, ...]] = msgspec.field(default_factory=dict)
    """Host name → IP addresses, for the hosts of ModelServer URLs; a missing host did not resolve."""
    problems: tuple[Problem, ...] = ()
    """What was wrong with the text the objects came from."""
    authorities: Mapping[str, str] = msgspec.field(default_factory=dict)
    """Path → CA certificates (PEM), for the `caFile` of ModelServers; a missing one could not be read."""
    api_keys: Mapping[str, ApiKey] = msgspec.field(default_factory=dict)
    """`namespace/name` of a ModelServer → its key, where it names one that could be read."""
    own: Own = Own()
    """Where the gateway that serves this listens itself."""
