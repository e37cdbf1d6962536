"""Answers and conversations that a server keeps, and requests that go on with them: by which ids, and where
these stand.

The native wire reads answers by the same rules (`native/src/stored.rs`).
"""

from collections.abc import Sequence

from headgate.model.bounds import MODEL_NAME_BYTES
from headgate.wire.digest import digest
from headgate.wire.outline import Outline

PATHS = ("/v1/responses/", "/v1/conversations/")
"""What stands before an id in a path: of what is kept, of what is done to it, or of a part of it."""
LONGEST_ID = MODEL_NAME_BYTES
"""Bytes of an id; a longer one is none."""
HEAD_BYTES = 4096
"""Bytes of an answer that are looked at."""


def is_stored(path: str) -> bool:
    """Whether *path* names something that a server keeps."""
    return any(each in path for each in PATHS)


def prior_of(path: str, named: str | None) -> str | None:
    """Digest of the id that a request goes on with; None: it goes on with nothing.

    *path* is without query; *named*: the id in the body.
    """
    for each in PATHS:
        if each in path:
            named = path.partition(each)[2].partition("/")[0]
            break
    return digest(named) if named and len(named.encode("utf-8", "replace")) <= LONGEST_ID else None


class IdReader:
    """Takes an answer's first pieces: JSON, or the first event of a stream."""

    __slots__ = ("_head", "_within", "done")

    def __init__(self, within: Sequence[str]) -> None:
        """*within*: keys under which an object has the id."""
        self._within = frozenset([key.encode() for key in within])
        self._head = b""
        self.done = False
        """Nothing more can be found."""

    def feed(self, piece: bytes) -> str | None:
        """The id, once it was seen."""
        if self.done or not piece:
            return None
        self._head += piece[: HEAD_BYTES - len(self._head)]
        found, self.done = self._look()
        self.done = self.done or len(self._head) == HEAD_BYTES
        return found

    def _look(self) -> tuple[str | None, bool]:
        """The first object's `id`, or that of an object in it; whether that is certain."""
        outline = Outline(self._head, self._within)
        for key, text in outline:
            if key == b"id" and text is not None:
                return _believed(text), True
        return None, outline.closed


def _believed(text: bytes) -> str | None:
    if not 0 < len(text) <= LONGEST_ID or b"\\" in text:
        return None
    try:
        return text.decode()
    except UnicodeDecodeError:
        return None
