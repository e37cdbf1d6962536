"""When changes go out: the first at once, then at most every so often; endpoints always at once."""

from headgate.gateway.xds.versions import Changes, Kind, Resource

INTERVAL_S = 0.1
"""Between two publications in which there is a route configuration or a listener: a table of thousands of
routes keeps Envoy busy for a fifth of a second."""
SHORT_S = 0.02
"""Between others, of clusters and scopes."""

LARGE: frozenset[Kind] = frozenset(("route", "listener"))

AT_ONCE: frozenset[Kind] = frozenset(("endpoint", "secret"))
"""Cheap for Envoy, and needed at once."""


class Publisher:
    """Holds changes back; one for each Envoy's resources. Times are the caller's clock, in seconds."""

    def __init__(self, interval_s: float = INTERVAL_S, short_s: float = SHORT_S) -> None:
        self._interval_s = interval_s
        self._short_s = short_s
        self._last = float("-inf")
        self._changed: dict[tuple[Kind, str], Resource] = {}
        self._removed: dict[tuple[Kind, str], None] = {}

    @property
    def due(self) -> float | None:
        """When `take` gives what is held back; None: nothing is."""
        if not self._changed and not self._removed:
            return None
        large = any(kind in LARGE for some in (self._changed, self._removed) for kind, _ in some)
        return self._last + (self._interval_s if large else self._short_s)

    def offer(self, changes: Changes, now: float) -> Changes:
        """Take in *changes*; what is to be sent now."""
        for each in changes.changed:
            self._changed[each.kind, each.name] = each
            self._removed.pop((each.kind, each.name), None)
        for key in changes.removed:
            self._changed.pop(key, None)
            self._removed[key] = None
        if self.due is not None and now >= self.due:
            return self.take(now)
        return self._urgent()

    def take(self, now: float) -> Changes:
        """Everything that is held back, to be sent now."""
        self._last = now
        found = Changes(tuple(self._changed.values()), tuple(self._removed))
        self._changed, self._removed = {}, {}
        return found

    def _urgent(self) -> Changes:
        """What does not wait. Endpoints of clusters that wait go along: Envoy asks for them later."""
        keys = [key for key in self._changed if key[0] in AT_ONCE]
        gone = [key for key in self._removed if key[0] in AT_ONCE]
        for key in gone:
            del self._removed[key]
        return Changes(tuple(self._changed.pop(key) for key in keys), tuple(gone))
