"""How large a text becomes when it is read, counted before anything is made of it.

Aliases repeat what they name, merge keys too, and both may nest: a few hundred bytes can mean gigabytes. What
every anchor repeats is known when it ends, so an alias is counted without following it.
"""

from collections.abc import Iterable, Mapping

import msgspec
import yaml

MAX_DEPTH = 100
"""Of lists and mappings in each other, aliases followed."""

MAX_VALUES = 1_000_000
"""Of one file, aliases followed."""

MAX_ALIASED = 100_000
"""Of these, those that aliases and merge keys repeat."""

MAX_CHARACTERS = 128 << 20
"""Of one file, aliases followed: texts, and the paths of all fields."""

INDEX_CHARACTERS = 8
"""Of an index in a path."""

MAX_NAME = 100
"""Characters of an alias that are told."""


class TooMuchError(ValueError):
    """A text is refused for what it would become; the message says why."""


class _Size(msgspec.Struct):
    """What a list or mapping becomes, as far as it has been seen."""

    is_mapping: bool = False
    anchor: str | None = None
    key: int | None = None
    """Length of the key whose value comes next; None: a key comes next."""
    values: int = 0
    characters: int = 0
    depth: int = 0
    """Of lists and mappings in each other, the deepest so far."""

    def add(self, values: int, characters: int, depth: int, length: int) -> None:
        """Take in a key or value; *length* is that of a scalar's text."""
        self.depth = max(self.depth, depth)
        if self.is_mapping and self.key is None:
            self.key = length
            self.characters += characters
            return
        name, self.key = self.key or INDEX_CHARACTERS, None
        self.values += values
        self.characters += characters + values * (name + 1)


class Sizes:
    """How large the documents of a file become, counted before anything is made of them."""

    def __init__(self) -> None:
        self.values_left = MAX_VALUES
        self._aliased = MAX_ALIASED
        self.characters_left = MAX_CHARACTERS

    def take_events(self, events: Iterable[yaml.Event]) -> None:
        """Count what YAML's *events* tell of, while they come. Raises TooMuchError."""
        whole = _Size()
        open_: list[_Size] = [whole]
        anchors: dict[str, _Size | None] = {}
        for event in events:
            values, characters, depth, length = 1, 0, 0, 0
            match event:
                case yaml.ScalarEvent():
                    characters = length = len(event.value)
                    if event.anchor is not None:
                        anchors[event.anchor] = _Size(values=1, characters=characters)
                case yaml.CollectionStartEvent():
                    if len(open_) > MAX_DEPTH:
                        raise TooMuchError(f"nests more than {MAX_DEPTH} levels deep")
                    open_.append(_Size(isinstance(event, yaml.MappingStartEvent), event.anchor, values=1))
                    if event.anchor is not None:
                        anchors[event.anchor] = None
                    continue
                case yaml.CollectionEndEvent():
                    ended = open_.pop()
                    ended.depth += 1
                    values, characters, depth = ended.values, ended.characters, ended.depth
                    if ended.anchor is not None:
                        anchors[ended.anchor] = ended
                case yaml.AliasEvent():
                    values, characters, depth = self._aliased_size(event.anchor or "", anchors)
                    if len(open_) - 1 + depth > MAX_DEPTH:
                        raise TooMuchError(f"nests more than {MAX_DEPTH} levels deep, aliases followed")
                case _:
                    continue
            open_[-1].add(values, characters, depth, length)
            if open_[-1].values > self.values_left:
                raise TooMuchError(f"makes the file hold more than {MAX_VALUES} values")
            if open_[-1].characters > self.characters_left:
                raise TooMuchError(f"makes the file hold more than {MAX_CHARACTERS >> 20} MiB of text")
        self.values_left -= whole.values
        self.characters_left -= whole.characters

    def _aliased_size(self, anchor: str, anchors: Mapping[str, _Size | None]) -> tuple[int, int, int]:
        """Values, characters and depth of what an alias repeats; one of an unknown name is no YAML anyway."""
        found = anchors.get(anchor, _Size(values=1))
        if found is None:
            raise TooMuchError(f"never ends: the alias *{anchor[:MAX_NAME]} stands in what it names")
        self._aliased -= found.values
        if self._aliased < 0:
            raise TooMuchError(f"makes aliases repeat more than {MAX_ALIASED} values")
        return found.values, found.characters, found.depth

    def take_data(self, data: object) -> None:
        """Count *data* that another decoder made. Raises TooMuchError."""
        left: list[tuple[object, int, int]] = [(data, 0, 0)]
        while left:
            value, depth, path = left.pop()
            self.values_left -= 1
            self.characters_left -= path + (len(value) if isinstance(value, str) else 0)
            if depth > MAX_DEPTH:
                raise TooMuchError(f"nests more than {MAX_DEPTH} levels deep")
            if self.values_left < 0:
                raise TooMuchError(f"makes the file hold more than {MAX_VALUES} values")
            if self.characters_left < 0:
                raise TooMuchError(f"makes the file hold more than {MAX_CHARACTERS >> 20} MiB of text")
            match value:
                case dict():
                    left += ((each, depth + 1, path + len(key) + 1) for key, each in value.items())
                case list():
                    left += ((each, depth + 1, path + INDEX_CHARACTERS) for each in value)
                case _:
                    pass
