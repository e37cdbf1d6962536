"""What was sent where, by the digest of its name: sessions and the like, bounded by number and by time."""

from headgate.model.ids import EndpointId
from headgate.picker.view import HeldView


class Bindings:
    """Digest → endpoint; the one that was used least recently goes first."""

    def __init__(self, most: int, idle_s: float) -> None:
        """At most *most* are kept, each until it was not used for *idle_s* seconds."""
        self._most = most
        self._idle_s = idle_s
        self._found: dict[str, tuple[EndpointId, float]] = {}
        """With the time of the last use; ordered by it."""

    def __len__(self) -> int:
        return len(self._found)

    def view(self) -> HeldView:
        """How many are kept, with those that are too old and were not met again, and how many may be."""
        return HeldView(len(self._found), self._most)

    def get(self, digest: str, now: float) -> EndpointId | None:
        """Where it is bound to; None: nobody knows, or it was too long ago."""
        found = self._found.get(digest)
        if found is None:
            return None
        if now - found[1] > self._idle_s:
            del self._found[digest]
            return None
        return found[0]

    def put(self, digest: str, endpoint: EndpointId, now: float) -> None:
        """It is bound to *endpoint* from now on, and was used now."""
        found = self._found
        found.pop(digest, None)
        found[digest] = endpoint, now
        while found:
            oldest = next(iter(found))
            if len(found) <= self._most and now - found[oldest][1] <= self._idle_s:
                break
            del found[oldest]

    def forget(self, endpoint: EndpointId) -> None:
        """Nothing is bound to it any more. Looks at all."""
        for digest in [each for each, found in self._found.items() if found[0] == endpoint]:
            del self._found[digest]

    def check(self) -> None:
        """Assert that the bounds hold and that the order is that of use."""
        assert len(self._found) <= self._most
        times = [used for _, used in self._found.values()]
        assert times == sorted(times)
