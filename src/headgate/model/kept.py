"""What a source has read, and what of it is still to be told: everything at first, then what changed."""

from collections import Counter
from typing import TypeVar

from msgspec.structs import replace

from headgate.model.change import Change
from headgate.model.meta import Identity
from headgate.model.objects import ModelServer, Object, Secret
from headgate.model.server_urls import is_ip, parse_url
from headgate.model.snapshot import Difference, Snapshot, difference

T = TypeVar("T")


class Kept:
    """Objects of a source. A change costs itself, however many objects there are."""

    def __init__(self) -> None:
        self.objects: dict[Identity, Object] = {}
        """To be changed by `put`."""
        self.with_keys: dict[Identity, ModelServer] = {}
        """Those that name an API key."""
        self.with_authorities: dict[Identity, ModelServer] = {}
        """Those that name a file of CA certificates."""
        self.secrets: dict[Identity, Secret] = {}
        self.key_changes = 0
        """How often a Secret changed, or an object that names an API key."""
        self._hosts = Counter[str]()
        """How many ModelServers have a URL with this host name; no IP addresses."""
        self._host_names: frozenset[str] | None = None
        self._touched: dict[Identity, None] = {}
        """Put and not told."""
        self._told: Snapshot | None = None
        """What is in no object, as it was told last."""

    @property
    def hosts(self) -> frozenset[str]:
        """The host names (no IP addresses) in URLs of ModelServers; the same instance while they stay."""
        if self._host_names is None:
            self._host_names = frozenset(self._hosts)
        return self._host_names

    def put(self, identity: Identity, found: Object | None) -> None:
        """This is the object now; None: it is gone."""
        before = self.objects.get(identity)
        if before is found:
            return
        self._touched[identity] = None
        if found is None:
            del self.objects[identity]
        else:
            self.objects[identity] = found
        for each, is_there in ((before, False), (found, True)):
            if isinstance(each, Secret):
                _set(self.secrets, identity, each, is_there)
                self.key_changes += 1
            elif isinstance(each, ModelServer):
                self._note(identity, each, is_there)

    def begin(self) -> None:
        """Whoever is told now was told nothing yet."""
        self._told = None

    def news(self, beside: Snapshot) -> Snapshot | Difference | None:
        """What to tell next: everything, or what is new since; None: nothing. *beside* has no objects."""
        last, self._told = self._told, beside
        touched, self._touched = self._touched, {}
        if last is None:
            return replace(beside, objects=tuple(self.objects[each] for each in sorted(self.objects)))
        changes = tuple(Change(each, self.objects.get(each)) for each in touched)
        found = Difference(changes, difference(last, beside).entries)
        return found if found.changes or found.entries else None

    def _note(self, identity: Identity, server: ModelServer, is_there: bool) -> None:
        if server.spec.api_key is not None:
            _set(self.with_keys, identity, server, is_there)
            self.key_changes += 1
        if server.spec.tls is not None and server.spec.tls.ca_file:
            _set(self.with_authorities, identity, server, is_there)
        parsed = parse_url(server.spec.url)
        if isinstance(parsed, str) or not parsed.host or is_ip(parsed.host):
            return
        known = parsed.host in self._hosts
        self._hosts[parsed.host] += 1 if is_there else -1
        if not self._hosts[parsed.host]:
            del self._hosts[parsed.host]
        if known != (parsed.host in self._hosts):
            self._host_names = None


def _set(entries: dict[Identity, T], identity: Identity, each: T, is_there: bool) -> None:
    if is_there:
        entries[identity] = each
    else:
        entries.pop(identity, None)
