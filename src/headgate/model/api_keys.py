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
