"""What happens on a delta-xDS stream, what is sent on it, and what Envoy says to that."""

import re
from collections.abc import Iterable, Mapping

import msgspec

from headgate.gateway.xds.versions import Changes, Kind, Resource


class Requested(msgspec.Struct, frozen=True, kw_only=True):
    """A DeltaDiscoveryRequest: a subscription change, an acknowledgement or a refusal, or several at once."""

    kind: Kind
    subscribe: tuple[str, ...] = ()
    unsubscribe: tuple[str, ...] = ()
    initial_versions: Mapping[str, str] = msgspec.field(default_factory=dict)
    """Name → version that Envoy holds from an earlier stream; in the first request of a kind only."""
    nonce: str = ""
    error: str | None = None
    """Envoy's message when it refuses the response with this nonce."""


class Published(msgspec.Struct, frozen=True):
    """The resources are other ones from now on."""

    changes: Changes


class Ticked(msgspec.Struct, frozen=True):
    """Time passed; send one at `DeltaSession.wake_at`."""


Event = Requested | Published | Ticked


class Response(msgspec.Struct, frozen=True, kw_only=True):
    """A DeltaDiscoveryResponse to send."""

    kind: Kind
    nonce: str
    changed: tuple[Resource, ...] = ()
    removed: tuple[str, ...] = ()


class Held(msgspec.Struct, frozen=True):
    """What Envoy acknowledged of a name."""

    version: str
    resource: Resource | None
    """None: it comes from an earlier stream, and what it names is not known."""


class Refusal(msgspec.Struct, frozen=True):
    """A resource version that Envoy refused, and why."""

    resource: Resource
    message: str


def blamed_by(names: Iterable[str], message: str) -> set[str]:
    """Which of *names* stand in the message as whole words."""
    return {name for name in names if re.search(rf"(?<![\w./:-]){re.escape(name)}(?![\w/-]|[.:]\w)", message)}
