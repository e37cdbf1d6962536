"""The file of `--api-key-file`: one key for all model servers, or one for each URL. It may change.

# a line is a key for every server that has none of its own …
sk-for-everyone
# … or a server and its key
https://gpu1.example:8000 sk-for-gpu1
"""

import logging
import os
import stat
from collections.abc import Mapping
from pathlib import Path

import msgspec

from headgate.model.api_keys import ApiKey, read_key
from headgate.model.endpoints import Endpoint
from headgate.model.server_urls import parse_url
from headgate.model.snapshot import Difference

log = logging.getLogger(__name__)

MAX_BYTES = 1 << 20

Server = tuple[str, str, int]
"""Scheme, host name or IP, port."""


class KeyFileError(ValueError):
    """A file without usable keys; the message names neither the file nor a key."""


class _Keys(msgspec.Struct, frozen=True):
    everyone: ApiKey | None
    each: Mapping[Server, ApiKey]


def read_small(path: Path) -> str:
    """The text of a small regular file. Raises KeyFileError."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(handle, "rb") as file:
            if not stat.S_ISREG(os.fstat(handle).st_mode):
                raise KeyFileError("it is no regular file")
            data = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise KeyFileError(f"it cannot be read: {(error.strerror or 'unknown error').lower()}") from None
    if len(data) > MAX_BYTES:
        raise KeyFileError(f"it is larger than {MAX_BYTES} bytes")
    try:
        return data.decode("utf-8-sig")  # Windows' editors begin a file with a byte order mark
    except UnicodeDecodeError:
        raise KeyFileError("it is no text") from None


def read_single(path: Path) -> ApiKey:
    """The one key that a file holds. Raises KeyFileError."""
    try:
        return read_key(read_small(path))
    except KeyFileError:
        raise
    except ValueError as error:
        raise KeyFileError(str(error)) from None


def _parse(text: str) -> _Keys:
    everyone: ApiKey | None = None
    each: dict[Server, ApiKey] = {}
    for number, line in enumerate(text.splitlines(), 1):
        words = line.split()
        if not words or line.lstrip().startswith("#"):
            continue
        try:
            key = read_key(words[-1])
        except ValueError as error:
            raise KeyFileError(f"line {number}: {error}") from None
        if len(words) == 1:
            if everyone is not None:
                raise KeyFileError(f"line {number}: a second key without a URL; write lines of URL and key")
            everyone = key
            continue
        url = words[0] if "://" in words[0] else f"http://{words[0]}"
        parsed = parse_url(url.rstrip("/").removesuffix("/v1"))
        if len(words) != 2 or isinstance(parsed, str):
            raise KeyFileError(f"line {number} must be a key, or the URL of a server, a space and its key")
        each[parsed.scheme, parsed.host.lower(), parsed.port] = key
    if everyone is None and not each:
        raise KeyFileError("it holds no key")
    return _Keys(everyone, each)


class KeyFile:
    """What the file says now; what it said before, while it cannot be read."""

    def __init__(self, path: Path) -> None:
        """Reads it. Raises KeyFileError."""
        self.path = path
        self._stamp = self._look()
        self._keys = _parse(read_small(path))

    def of(self, scheme: str, hosts: tuple[str, ...], port: int) -> ApiKey | None:
        """The key of the server that is known by any of *hosts* (names or IPs), there first to last."""
        self._refresh()
        for host in hosts:
            if (key := self._keys.each.get((scheme, host.lower(), port))) is not None:
                return key
        return self._keys.everyone

    def of_url(self, url: str) -> ApiKey | None:
        """The key of the server at *url* (`scheme://host:port`)."""
        parsed = parse_url(url)
        return None if isinstance(parsed, str) else self.of(parsed.scheme, (parsed.host,), parsed.port)

    def _look(self) -> tuple[int, ...]:
        try:
            found = self.path.stat()
        except OSError:
            return ()
        return found.st_mtime_ns, found.st_size, found.st_ino

    def _refresh(self) -> None:
        stamp = self._look()
        if stamp == self._stamp:
            return
        self._stamp = stamp
        try:
            self._keys = _parse(read_small(self.path))
        except KeyFileError as error:
            log.warning("API keys: %s: %s; what was read before stays in force", self.path, error)
        else:
            log.info("API keys: %s has changed and was read", self.path)


class Keys:
    """The keys of all model servers now: those that their objects name, else those of the file."""

    def __init__(self, file: KeyFile | None = None) -> None:
        self._file = file
        self.named: dict[str, ApiKey] = {}
        """`namespace/name` of a ModelServer → its key."""

    def take(self, found: Difference) -> None:
        """What objects name is another."""
        for each in found.entries:
            if each.table == "api_keys":
                if each.value is None:
                    self.named.pop(each.key, None)
                else:
                    self.named[each.key] = each.value

    def of(self, endpoint: Endpoint) -> ApiKey | None:
        """What *endpoint* is to be asked with."""
        # Only ModelServers have a host name: a Pod of the same name is somebody else.
        if endpoint.hostname and (key := self.named.get(f"{endpoint.namespace}/{endpoint.name}")) is not None:
            return key
        if self._file is None:
            return None
        return self._file.of(endpoint.scheme, (endpoint.hostname, endpoint.ip), endpoint.port)
