"""Keys of model servers that answer nobody without one. No representation shows them."""

import base64
import binascii

import msgspec

LONGEST_KEY = 8192
"""Characters of a key."""


class ApiKey(msgspec.Struct, frozen=True):
    """What a server wants to see as `Authorization: Bearer …`."""

    text: str
    """Printable ASCII without spaces."""

    def __repr__(self) -> str:
        """Not the key."""
        return "ApiKey(...)"


def read_key(text: str) -> ApiKey:
    """The key in *text*, white space around it taken off.

    Raises ValueError, whose message does not show it, for what no header can hold.
    """
    bare = text.strip()
    if not bare:
        raise ValueError("it holds no key")
    if len(bare) > LONGEST_KEY:
        raise ValueError(f"its key is longer than {LONGEST_KEY} characters")
    if not all("!" <= letter <= "~" for letter in bare):
        raise ValueError("its key has spaces or characters that no header can hold; it must be one line")
    return ApiKey(bare)


MOST_CLIENTS = 10_000
"""Clients that one file or policy may name."""
LONGEST_CLIENT = 253
"""Characters of a client's name: what Kubernetes allows the name of a Secret's value."""


class SharedKeyError(ValueError):
    """Two clients have one key; the message names both."""


class Clients:
    """Clients and their keys, as they are read from one place."""

    def __init__(self) -> None:
        self._names: dict[str, str] = {}
        """By key."""

    def add(self, client: str, key: str) -> None:
        """One more. Raises ValueError, whose message shows no key, for what cannot be used: SharedKeyError
        for a key that is another client's, whose it stays.
        """
        if not 0 < len(client) <= LONGEST_CLIENT or not all("!" <= letter <= "~" for letter in client):
            raise ValueError(f"{client[:50]!r} is no name of a client")
        text = read_key(key).text
        other = self._names.setdefault(text, client)
        if other != client:
            both = f"{other} and {client}"
            raise SharedKeyError(f"the clients {both} have one key: nobody could tell them apart")

    def pairs(self) -> tuple[tuple[str, str], ...]:
        """Who, and the key. Raises ValueError when there are too many."""
        if len(self._names) > MOST_CLIENTS:
            raise ValueError(f"more than {MOST_CLIENTS} clients")
        return tuple(sorted((client, key) for key, client in self._names.items()))


def read_clients(text: str) -> tuple[tuple[str, str], ...]:
    """Who the clients are, and their keys: lines of a name, a colon or a space, and a key. `#` begins a
    comment.

    Raises ValueError, whose message names the line and shows no key.
    """
    clients, empty = Clients(), True
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        words = line.replace(":", " ", 1).split()
        if len(words) != 2:
            raise ValueError(f"line {number} must be a client's name, a colon and its key")
        try:
            clients.add(*words)
        except ValueError as error:
            raise ValueError(f"line {number}: {error}") from None
        empty = False
    if empty:
        raise ValueError("it names no client")
    return clients.pairs()


def read_secret(data: object, string_data: object, name: str) -> ApiKey:
    """The key under *name* of a Secret with these members; `stringData` counts before `data`.

    Raises ValueError, whose message shows no value.
    """
    if isinstance(string_data, dict) and name in string_data:
        value = string_data[name]
        if not isinstance(value, str):
            raise ValueError(f"stringData.{name} must be a string: write it in quotes")
        return read_key(value)
    if not isinstance(data, dict) or name not in data:
        raise ValueError(f"it has no key {name!r}")
    value = data[name]
    try:
        if not isinstance(value, str):
            raise ValueError
        text = base64.b64decode(value, validate=True).decode()
    except (ValueError, binascii.Error):
        raise ValueError(f"data.{name} must be base64 of text; plain text belongs below stringData") from None
    return read_key(text)
