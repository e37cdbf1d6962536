"""The text format's corners."""

import math

import pytest

from headgate.engines.exposition import Extractor, parse_labels


def found(page: bytes, *names: str) -> list[tuple[str, dict[str, str], float]]:
    samples = Extractor(names).samples(page)
    return [(name, dict(one.labels()), one.value) for name in sorted(samples) for one in samples[name]]


@pytest.mark.parametrize(
    ("page", "expected"),
    [
        (b"a:x 1", [("a:x", {}, 1.0)]),
        (b"a:x{} 1\n", [("a:x", {}, 1.0)]),
        (b"# TYPE a:x gauge\na:x 2.5e3\n", [("a:x", {}, 2500.0)]),
        (b'a:x{k="v"} 1 1763600042000\n', [("a:x", {"k": "v"}, 1.0)]),
        (b'a:x { k="v" , } 1\n', [("a:x", {"k": "v"}, 1.0)]),
        (b'a:x{k="}{, \\" =1"} 3\n', [("a:x", {"k": '}{, " =1'}, 3.0)]),
        (b'a:x{k="1"} 1\na:x{k="2"} 2\n', [("a:x", {"k": "1"}, 1.0), ("a:x", {"k": "2"}, 2.0)]),
        (b"a:x 1_000\na:x _1\na:x 1_\na:x 1e3\n", [("a:x", {}, 1000.0)]),
        (b"a:x -Inf\na:y +Inf\n", [("a:x", {}, -math.inf), ("a:y", {}, math.inf)]),
        (b"a:x 1\r\n", [("a:x", {}, 1.0)]),
        (b"a:xx 1\nb_a:x 2\n# HELP a:x 3\n a:x\n", []),
        (b"a:x what\na:x 1_0\na:x\na:y 4\n", [("a:y", {}, 4.0)]),
        (b'a:x{k="open} 1\na:y 2\n', [("a:y", {}, 2.0)]),
        (b'a:x{k="\\\\",l="\\"a\\""} 1\n', [("a:x", {"k": "\\", "l": '"a"'}, 1.0)]),
        (b'a:x{k="v"}} 1\na:x{k="v" 1\na:x{} } 1\na:x{k="v"}1\n', []),
    ],
)
def test_samples(page: bytes, expected: list[tuple[str, dict[str, str], float]]) -> None:
    assert found(page, "a:x", "a:y") == expected


def test_names_without_a_common_prefix() -> None:
    assert found(b"first 1\nsecond 2\nthird 3\n", "first", "third") == [
        ("first", {}, 1.0),
        ("third", {}, 3.0),
    ]


def test_a_name_that_is_a_prefix_of_another() -> None:
    page = b"a:x 1\na:x_total 2\n"
    assert found(page, "a:x", "a:x_total") == [("a:x", {}, 1.0), ("a:x_total", {}, 2.0)]
    assert found(page, "a:x") == [("a:x", {}, 1.0)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (b"", {}),
        (rb'a="\\n",b="\n",c="\""', {"a": "\\n", "b": "\n", "c": '"'}),
        ('m="Größe"'.encode(), {"m": "Größe"}),
        (b'a="1",=broken', {"a": "1"}),
    ],
)
def test_labels(text: bytes, expected: dict[str, str]) -> None:
    assert dict(parse_labels(text)) == expected
