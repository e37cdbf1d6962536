"""Paths that `-f` names: missing ones, and those that hold nothing."""

from pathlib import Path

import pytest
import typer

from headgate.cli.manifests import must_exist, nothing_read
from headgate.io.sources.api import read_once


def test_a_missing_path_is_a_usage_error(tmp_path: Path) -> None:
    must_exist([tmp_path])
    with pytest.raises(typer.BadParameter, match="nowhere"):
        must_exist([tmp_path, tmp_path / "nowhere"])


def test_a_path_that_may_not_be_looked_at_is_a_usage_error(tmp_path: Path) -> None:
    with pytest.raises(typer.BadParameter, match="cannot be read: File name too long"):
        must_exist([tmp_path / ("x" * 5_000)])


def test_a_folder_without_objects_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("kind: Service")
    (problem,) = nothing_read(read_once([tmp_path]), [tmp_path])
    assert problem.severity == "error"
    assert str(tmp_path) in problem.message
    assert ".yaml" in problem.message


def test_a_folder_that_has_another_problem_is_not_blamed_twice(tmp_path: Path) -> None:
    (tmp_path / "broken.yaml").write_text("a: [")
    assert not list(nothing_read(read_once([tmp_path]), [tmp_path]))
