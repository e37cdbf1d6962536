"""Text → data, lines and problems."""

import pytest

from headgate.io.sources.text import Document, read_documents
from headgate.model.problems import Problem


def read(yaml: str) -> list[Document | Problem]:
    return list(read_documents(yaml.encode(), "f.yaml"))


def document(yaml: str) -> Document:
    (only,) = read(yaml)
    assert isinstance(only, Document)
    return only


@pytest.mark.parametrize(
    ("yaml", "data"),
    [
        ("a: 2024-01-02T03:04:05Z", {"a": "2024-01-02T03:04:05Z"}),
        ("a: 2024-01-02", {"a": "2024-01-02"}),
        ("a: 1:30", {"a": "1:30"}),
        (
            "a: [80, -1, 0, 0x10, 1.5, 1e3, .5, 08, 1_000]",
            {"a": [80, -1, 0, 16, 1.5, 1000.0, 0.5, "08", "1_000"]},
        ),
        ("a: [true, false, yes, no, null, ~, ]", {"a": [True, False, True, False, None, None]}),
        ("80: x\ntrue: y", {"80": "x", "true": "y"}),
        ("base: &b {x: 1, y: 2}\nmore: {<<: *b, y: 3}", {"base": {"x": 1, "y": 2}, "more": {"x": 1, "y": 3}}),
        ('{"a": {"b": [1, "x"]}}', {"a": {"b": [1, "x"]}}),
        ('{\t"a":\t1}', {"a": 1}),
        ("\ufeffa: 1", {"a": 1}),
        ("a: |\n  text\n  more\n", {"a": "text\nmore\n"}),
    ],
)
def test_data(yaml: str, data: object) -> None:
    assert document(yaml).data == data
    assert not document(yaml).problems


def test_lines_are_those_of_the_keys() -> None:
    found = document("# head\na:\n  - b: 1\n    c:\n      d\n  - 2\n")
    assert found.lines == {(): 2, ("a",): 2, ("a", 0): 3, ("a", 0, "b"): 3, ("a", 0, "c"): 4, ("a", 1): 6}
    assert found.line_of(("nowhere",)) == 0


def test_documents_are_apart_and_their_lines_are_the_files() -> None:
    first, second = read("---\na: 1\n--- # next\n\nb: 2\n---\n# nothing\n")
    assert isinstance(first, Document)
    assert isinstance(second, Document)
    assert (first.data, first.line_of(("a",))) == ({"a": 1}, 2)
    assert (second.data, second.line_of(("b",))) == ({"b": 2}, 5)


def test_a_broken_document_leaves_the_others() -> None:
    first, broken, last = read("a: 1\n---\nb: [1,\nc: 2\n---\nd: 4\n")
    assert isinstance(first, Document)
    assert isinstance(broken, Problem)
    assert isinstance(last, Document)
    assert (broken.place.file, broken.place.line, broken.reason) == ("f.yaml", 4, "InvalidYAML")
    assert (last.data, last.line_of(("d",))) == ({"d": 4}, 6)


def test_directives_belong_to_the_document_that_follows() -> None:
    assert [found.data for found in read("%YAML 1.1\n---\na: 1\n") if isinstance(found, Document)] == [
        {"a": 1}
    ]


def test_a_key_written_twice_is_a_warning() -> None:
    found = document("a: 1\nb: 2\na: 3\n")
    assert found.data == {"a": 3, "b": 2}
    (problem,) = found.problems
    assert (problem.place.line, problem.place.field, problem.severity) == (3, "a", "warning")


@pytest.mark.parametrize(
    "yaml",
    ["a: !strange 1", "? [1, 2]\n: x", "a: *nowhere", "\ta: 1", "a: b: c", "x" * 10 + ": [" * 3000, "{a: 1"],
)
def test_what_is_no_yaml_is_one_problem(yaml: str) -> None:
    (problem,) = read(yaml)
    assert isinstance(problem, Problem)
    assert problem.place.line >= 1


def test_not_utf8() -> None:
    (problem,) = read_documents(b"a: 1\nb: \xff\n", "f.yaml")
    assert isinstance(problem, Problem)
    assert problem.place.line == 2


@pytest.mark.parametrize("yaml", ["", "\n\n", "# only a comment\n", "---\n---\n", "null"])
def test_nothing(yaml: str) -> None:
    assert read(yaml) == []


def test_a_tab_is_called_a_tab() -> None:
    (problem,) = read("a:\n\tb: 1\n")
    assert isinstance(problem, Problem)
    assert problem.place.line == 2
    assert "indent with spaces" in problem.message
