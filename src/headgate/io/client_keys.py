"""The file of `--client-keys`: who may call, where no AccessPolicy says it. It may change.

# who: key
team-a: sk-of-team-a
team-b: sk-of-team-b
"""

import logging
from pathlib import Path

from headgate.io.api_keys import KeyFileError, read_small
from headgate.model.api_keys import read_clients

log = logging.getLogger(__name__)

Clients = tuple[tuple[str, str], ...]
"""Who, and the key."""


class ClientKeyFile:
    """What the file says now; what it said before, while it cannot be read. Reading blocks."""

    def __init__(self, path: Path) -> None:
        """Reads it. Raises KeyFileError."""
        self.path = path
        self._stamp = self._look()
        self.clients = self._read()
        if self._stamp and self._stamp[3] & 0o007:
            log.warning("client keys: everybody on this machine may read %s: chmod o= it", path)

    def refresh(self) -> bool:
        """Whether the clients have changed."""
        stamp = self._look()
        if stamp == self._stamp:
            return False
        self._stamp = stamp
        try:
            found = self._read()
        except KeyFileError as error:
            log.warning("client keys: %s: %s; what was read before stays in force", self.path, error)
            return False
        changed, self.clients = found != self.clients, found
        if changed:
            log.info("client keys: %s has changed and was read", self.path)
        return changed

    def _read(self) -> Clients:
        try:
            return read_clients(read_small(self.path))
        except KeyFileError:
            raise
        except ValueError as error:
            raise KeyFileError(str(error)) from None

    def _look(self) -> tuple[int, ...]:
        try:
            found = self.path.stat()
        except OSError:
            return ()
        return found.st_mtime_ns, found.st_size, found.st_ino, found.st_mode
