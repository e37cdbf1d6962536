"""YAML or JSON text → plain data with the line of every field. Nothing here knows what an object is.

The YAML library composes nested text recursively in C, without a bound: deep nesting ends the process. So a
first pass over its events, which are made one by one, finds out what the text would become (`sizes.py`).
"""

import math
import re
from collections.abc import Iterator
from typing import Any

import msgspec
import yaml

from headgate.io.sources.sizes import Sizes, TooMuchError
from headgate.manifests.decode import Path
from headgate.manifests.sentences import placeholder, unfilled
from headgate.model.problems import Place, Problem

MAX_DOCUMENTS = 50_000
"""Of one file."""

_TEXT = "tag:yaml.org,2002:str"
_SEPARATOR = re.compile(r"^---(?=\s|$)", re.MULTILINE)


class Document(msgspec.Struct, frozen=True):
    """One document of a file."""

    data: Any
    """Dicts with string keys, lists, strings, numbers, booleans, None."""
    lines: dict[Path, int]
    """Path of keys and indexes → 1-based line in the file."""
    problems: tuple[Problem, ...] = ()
    """Warnings that do not depend on what the document means: a key written twice."""
    twice: frozenset[Path] = frozenset()
    """Paths of the keys written twice."""

    def line_of(self, path: Path) -> int:
        """The line of the field at *path*; 0 when it is not in the document."""
        return self.lines.get(path, 0)


class _Loader(yaml.CSafeLoader):
    """YAML 1.1 as Kubernetes reads it: times stay text, and 1:30 is no number."""


_Loader.yaml_implicit_resolvers = {
    first: [
        (tag, pattern)
        for tag, pattern in resolvers
        if tag != "tag:yaml.org,2002:timestamp"
        and not (first in "-+0123456789" and tag.endswith((":int", ":float")))
    ]
    for first, resolvers in yaml.CSafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:int",
    re.compile(r"^[-+]?(?:0b[01]+|0o?[0-7]+|0x[0-9a-fA-F]+|0|[1-9][0-9]*)$"),
    list("-+0123456789"),
)
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(
        r"^[-+]?(?:[0-9]+\.[0-9]*(?:[eE][-+]?[0-9]+)?|[0-9]+[eE][-+]?[0-9]+|\.[0-9]+|\.(?:inf|Inf|INF))$"
    ),
    list("-+0123456789"),
)


def read_documents(text: bytes, file: str) -> Iterator[Document | Problem]:
    """Every document of a YAML or JSON *text*, or the problem that stands in its place, in order.

    A document that does not parse leaves the others as they are. Empty documents are left out.
    """
    try:
        decoded = text.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = text[: error.start].count(b"\n") + 1
        yield Problem(Place(file, line), "InvalidYAML", "the file is not UTF-8 text")
        return
    sizes = Sizes()
    for number, (first_line, part) in enumerate(_split(decoded)):
        if number >= MAX_DOCUMENTS:
            message = f"has more than {MAX_DOCUMENTS} documents; split it into several files"
            yield Problem(Place(file, first_line + 1), "TooLarge", message)
            return
        try:
            document = _read(part, first_line, file, sizes)
        except TooMuchError as error:
            yield Problem(Place(file, first_line + 1), "TooLarge", f"the document {error}")
        except (yaml.YAMLError, RecursionError, ValueError) as error:
            yield _json_document(part, first_line, file, sizes) or _problem(error, first_line, part, file)
        else:
            if document is not None:
                yield document


def _split(text: str) -> Iterator[tuple[int, str]]:
    """Each document's text and how many lines are before it. `---` in the first column is always a border."""
    start, line = 0, 0
    for border in _SEPARATOR.finditer(text):
        part = text[start : border.start()]
        if not part.lstrip().startswith("%"):  # directives belong to the document after the border
            yield line, part
            line += part.count("\n")
            start = border.start()
    yield line, text[start:]


def _read(text: str, before: int, file: str, sizes: Sizes) -> Document | None:
    sizes.take_events(_events(text))
    loader = _Loader(text)
    try:
        node = loader.get_single_node()
        if node is None:
            return None
        builder = _Builder(loader, before, file)
        data = builder.build(node, ())
        return (
            None
            if data is None
            else Document(data, builder.lines, tuple(builder.problems), frozenset(builder.twice))
        )
    finally:
        loader.dispose()


def _events(text: str) -> Iterator[yaml.Event]:
    loader = _Loader(text)
    try:
        while (event := loader.get_event()) is not None:
            yield event
    finally:
        loader.dispose()


class _Builder:
    """Turns one document's nodes into data, noting lines."""

    def __init__(self, loader: _Loader, before: int, file: str) -> None:
        self.lines: dict[Path, int] = {}
        self.problems: list[Problem] = []
        self.twice: set[Path] = set()
        self._loader = loader
        self._before = before
        self._file = file

    def build(self, node: yaml.Node, path: Path, key_line: int | None = None) -> Any:
        """The data of *node*; a field's line is its key's."""
        self.lines[path] = key_line or self._line(node)
        match node:
            case yaml.MappingNode():
                return self._mapping(node, path)
            case yaml.SequenceNode():
                return [self.build(item, (*path, i)) for i, item in enumerate(node.value)]
            case _:
                return _scalar(self._loader, node)

    def _mapping(self, node: yaml.MappingNode, path: Path) -> dict[str, Any]:
        own = {id(key) for key, _ in node.value}
        self._loader.flatten_mapping(node)  # `<<`: merged keys come first, own keys overwrite them
        data: dict[str, Any] = {}
        written: set[str] = set()
        for key, value in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise yaml.constructor.ConstructorError(None, None, "a key must be text", key.start_mark)
            name = str(key.value)
            if name in written:
                self.twice.add((*path, name))
                place = Place(self._file, self._line(key), "", name)
                self.problems.append(
                    Problem(place, "DuplicateKey", f"{name} is written twice; the last one counts", "warning")
                )
            if id(key) in own:
                written.add(name)
            data[name] = self.build(value, (*path, name), self._line(key))
        return data

    def _line(self, node: yaml.Node) -> int:
        return self._before + int(node.start_mark.line) + 1


def _scalar(loader: _Loader, node: yaml.Node) -> Any:
    """The value of a scalar. A whole number beyond 64 bits becomes a float, as in Kubernetes."""
    if node.tag == _TEXT:
        return node.value
    value = loader.construct_object(node)
    if isinstance(value, int) and not -(2**63) <= value < 2**64:
        return float(value) if abs(value) < 2**1000 else math.inf
    return value


def _json_document(text: str, before: int, file: str, sizes: Sizes) -> Document | Problem | None:
    """JSON that YAML 1.1 refuses (tabs between values); its lines are not known beyond the first."""
    if not text.lstrip().startswith(("{", "[")):
        return None
    try:
        data = msgspec.json.decode(text)
        sizes.take_data(data)
    except TooMuchError as error:
        return Problem(Place(file, before + 1), "TooLarge", f"the document {error}")
    except (msgspec.DecodeError, RecursionError):
        return None
    return Document(data, {(): before + 1})


def _problem(error: Exception, before: int, text: str, file: str) -> Problem:
    mark = getattr(error, "problem_mark", None)
    last = (
        text.rstrip().count("\n") + 1
    )  # what is missing at the end is missed there, not in the next document
    line = before + (min(int(mark.line) + 1, last) if mark is not None else 1)
    left = placeholder(text)
    if left is not None and left.startswith("{{"):
        line = before + text[: text.index("{{")].count("\n") + 1
        return Problem(Place(file, line), "InvalidYAML", f"the document is not valid YAML: {unfilled(left)}")
    what = getattr(error, "problem", None) or str(error).partition("\n")[0] or type(error).__name__
    if "cannot start any token" in what and "\t" in text.splitlines()[line - before - 1]:
        what = "a tab where spaces are needed; indent with spaces"
    return Problem(Place(file, line), "InvalidYAML", f"the document is not valid YAML: {what}")
