"""Prefix replacement as Envoy will do it, and expressions that Envoy refuses."""

import re

import pytest

from headgate.gateway.paths import prefix_rewrite, regex_problem
from headgate.model.objects import PathMatch


def replaced(prefix: str, replacement: str, path: str) -> str:
    """What Envoy makes of *path*."""
    rewrite = prefix_rewrite(PathMatch("PathPrefix", prefix), replacement)
    assert not isinstance(rewrite, str)
    if "prefix_rewrite" in rewrite:
        return str(rewrite["prefix_rewrite"]) + path[len(prefix.rstrip("/")) :]
    found = rewrite["regex_rewrite"]
    return re.sub(found["pattern"]["regex"], found["substitution"], path)


@pytest.mark.parametrize(
    ("prefix", "replacement", "path", "expected"),
    [
        ("/a", "/b", "/a/c", "/b/c"),
        ("/a/", "/b/", "/a/c", "/b/c"),
        ("/a", "/b", "/a", "/b"),
        ("/a", "/", "/a/c", "/c"),
        ("/a", "/", "/a", "/"),
        ("/", "/v1", "/c", "/v1/c"),
        ("/a.b", "", "/a.b/c", "/c"),
    ],
)
def test_prefixes_are_whole_path_elements(prefix: str, replacement: str, path: str, expected: str) -> None:
    assert replaced(prefix, replacement, path) == expected


def test_only_a_prefix_match_can_be_replaced() -> None:
    assert isinstance(prefix_rewrite(PathMatch("Exact", "/a"), "/b"), str)


@pytest.mark.parametrize(
    "pattern",
    [
        r"/v\d+",
        r"(?i)abc",
        r"(?P<name>a|b)",
        r"a{1,1000}",
        r"(?:x)*?",
        r"(a{10}){100}",
        r"(a{99}){9}|(b{99}){9}",
        r"[{9}(]{9}\){99}",
        r"[]{99}]{99}",
    ],
)
def test_expressions_that_envoy_takes(pattern: str) -> None:
    assert regex_problem(pattern) is None


@pytest.mark.parametrize(
    "pattern",
    [
        "(",
        r"(?=a)",
        r"(?<!a)",
        r"(a)\1",
        "a{1001}",
        "a{1,2000}",
        "a++",
        r"a\Z",
        "(a{1,100}){11}",
        "((a{11}){10,}b){,10}",
        "((a|[)]){99}){99}",
        ".{999}" * 99,
    ],
)
def test_expressions_that_envoy_refuses(pattern: str) -> None:
    assert regex_problem(pattern) is not None


def test_an_odd_but_valid_set_is_taken_without_a_warning() -> None:
    assert regex_problem("/[[]x") is None
