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


def read_clients(text: str) -> tuple[tuple[str, str], ...]:
    """Who the clients are, and their keys: lines of a name, a colon or a space, and a key. `#` begins a
    comment.

    Raises ValueError, whose message names the line and shows no key.
    """
    clients: dict[str, str] = {}
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        words = line.replace(":", " ", 1).split()
        if len(words) != 2:
            raise ValueError(f"line {number} must be a client's name, a colon and its key")
        client, key = words
        if not all("!" <= letter <= "~" for letter in client) or len(client) > 253:
            raise ValueError(f"line {number}: this is no name of a client")
        try:
            key = read_key(key).text
        except ValueError as error:
            raise ValueError(f"line {number}: {error}") from None
        if clients.setdefault(key, client) != client:
            message = f"{client} has the key of {clients[key]}: nobody could tell them apart"
            raise ValueError(f"line {number}: {message}")
    if not clients:
        raise ValueError("it names no client")
    if len(clients) > MOST_CLIENTS:
        raise ValueError(f"it names more than {MOST_CLIENTS} clients")
    return tuple(sorted((client, key) for key, client in clients.items()))


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
