"""How long a string from outside may be that is kept, in bytes of UTF-8: checked where it enters."""

MODEL_NAME_BYTES = 512
"""Name of a model or adapter, from a client's body, a server's list or its metrics."""
HEADER_VALUE_BYTES = 256
"""Value of a header that is kept: request id, objective, fairness id."""
PATH_BYTES = 1024
"""A request's path, as records show it."""
BOUNDARY_BYTES = 70
"""Boundary of a multipart body, as RFC 2046 says."""
PART_HEADERS_BYTES = 4096
"""Headers of one part of a multipart body; a body with longer ones is not understood."""
MOST_PARTS = 1024
"""Parts of one multipart body; a body with more is not understood."""


def fits(text: str, most_bytes: int) -> bool:
    """Whether *text* has at most *most_bytes* bytes in UTF-8; text with lone surrogates never fits."""
    if len(text) > most_bytes:
        return False
    try:
        return text.isascii() or len(text.encode()) <= most_bytes
    except UnicodeEncodeError:
        return False
