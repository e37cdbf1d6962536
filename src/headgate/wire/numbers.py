"""Numbers and lengths of texts in headers and metadata, which anybody may have written."""

LONGEST = 18
"""Digits: always within 64 bits."""


def whole_number(text: str) -> int | None:
    """The number that *text*, ASCII digits only, stands for; None for any other text."""
    return int(text) if text.isdecimal() and text.isascii() and len(text) <= LONGEST else None


def cut(text: str, longest: int) -> str:
    """The first characters of *text* that fit *longest* bytes of UTF-8."""
    if len(text) * 4 <= longest:
        return text
    raw = text.encode("utf-8", "surrogatepass")
    return text if len(raw) <= longest else raw[:longest].decode("utf-8", "ignore")
