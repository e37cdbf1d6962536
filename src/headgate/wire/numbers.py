"""Numbers in headers and metadata, which anybody may have written."""

LONGEST = 18
"""Digits: always within 64 bits."""


def whole_number(text: str) -> int | None:
    """The number that *text*, ASCII digits only, stands for; None for any other text."""
    return int(text) if text.isdecimal() and text.isascii() and len(text) <= LONGEST else None
