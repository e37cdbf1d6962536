"""LoRA adapters on a GPU: a limited number of slots, shared by all requests of an adapter."""

from collections import OrderedDict


class AdapterSlots:
    """Which adapters are loaded and which are in use. A loaded adapter that nobody uses can be replaced."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._loaded: OrderedDict[str, None] = OrderedDict()
        self._users: dict[str, int] = {}

    @property
    def running(self) -> tuple[str, ...]:
        """Adapters in use, by name."""
        return tuple(sorted(self._users))

    @property
    def loaded(self) -> tuple[str, ...]:
        """Adapters on the GPU, by name."""
        return tuple(sorted(self._loaded))

    def has_room(self, adapter: str) -> bool:
        """Whether a request of *adapter* may run: it runs already, or not all slots are in use."""
        return adapter in self._users or len(self._users) < self.limit

    def start(self, adapter: str) -> bool:
        """One more request of *adapter* runs; True when it had to be loaded first."""
        self._users[adapter] = self._users.get(adapter, 0) + 1
        fresh = adapter not in self._loaded
        if fresh and len(self._loaded) >= self.limit:
            del self._loaded[next(name for name in self._loaded if name not in self._users)]
        self._loaded[adapter] = None
        self._loaded.move_to_end(adapter)
        return fresh

    def stop(self, adapter: str) -> None:
        """One request of *adapter* runs no more."""
        self._users[adapter] -= 1
        if not self._users[adapter]:
            del self._users[adapter]

    def unload(self, adapter: str) -> None:
        """Free the slot of an adapter that was removed from the server; one in use keeps its slot."""
        if adapter not in self._users:
            self._loaded.pop(adapter, None)
