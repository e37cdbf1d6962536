"""Text from others, made safe to show to a person: what steers a terminal is written out."""

import re
import unicodedata

_STEERS = r"[\x7f-\x9f\xad\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff]"
_NOT_IN_JSON = re.compile(_STEERS)
_NOT_IN_PAGES = re.compile(r"[\x00-\x09\x0b-\x1f]|" + _STEERS)


def printable(text: str) -> str:
    r"""*text* with everything that is no visible character, or a space, as an escape sequence.

    Control characters (line breaks and tabs too), marks that turn the direction of writing, invisible
    characters and halves of surrogate pairs become `\n`, `\x1b`, `\u202e`.
    """
    return text if text.isprintable() else "".join(map(_shown, text))


def _shown(character: str) -> str:
    if character.isprintable() or unicodedata.category(character) == "Zs":
        return character
    return character.encode("unicode_escape").decode("ascii")


def printable_json(encoded: bytes) -> str:
    """The same JSON with the characters escaped that it may hold as they are and a terminal might obey."""
    return _NOT_IN_JSON.sub(lambda match: f"\\u{ord(match[0]):04x}", encoded.decode())


def printable_metrics(page: bytes) -> bytes:
    """A page in Prometheus' text format, control characters in labels written out as in `printable`."""
    return _NOT_IN_PAGES.sub(lambda match: "\\" + _shown(match[0]), page.decode()).encode()
