"""Walks that could be endless, and what is no file."""

import os
from pathlib import Path

import pytest

from headgate.io.sources import listing
from headgate.io.sources.listing import list_files


def test_links_between_folders_that_double_at_every_step_are_bounded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listing, "MAX_ENTRIES", 1_000)
    for step in range(30):
        (tmp_path / f"{step}").mkdir()
        for name in ("a", "b"):
            (tmp_path / f"{step}" / name).symlink_to(tmp_path / f"{step + 1}")
    (tmp_path / "30").mkdir()
    (tmp_path / "30" / "x.yaml").touch()
    found = list_files([tmp_path / "0"])
    assert len(found.files) <= 1_000
    assert {problem.reason for problem in found.problems} == {"TooMany"}
    assert found.unseen


def test_a_folder_in_hundreds_of_others_is_not_looked_at(tmp_path: Path) -> None:
    deepest = tmp_path
    for _ in range(300):
        deepest = deepest / "d"
        deepest.mkdir()
    (deepest / "x.yaml").touch()
    (tmp_path / "y.yaml").touch()
    found = list_files([tmp_path])
    assert list(found.files) == [tmp_path / "y.yaml"]
    (problem,) = found.problems
    assert problem.reason == "TooMany"
    assert found.unseen[0] in deepest.parents


@pytest.mark.parametrize("named", [True, False])
def test_a_fifo_is_called_a_fifo(tmp_path: Path, named: bool) -> None:
    os.mkfifo(tmp_path / "a.yaml")
    found = list_files([tmp_path / "a.yaml" if named else tmp_path])
    (problem,) = found.problems
    assert (problem.place.file, problem.reason) == (str(tmp_path / "a.yaml"), "NotAFile")
    assert "a named pipe (FIFO); only regular files are read" in problem.message
    assert found.unseen == (tmp_path / "a.yaml",)
    assert not found.files


def test_a_fifo_that_is_not_named_like_a_manifest_says_nothing(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "control")
    found = list_files([tmp_path])
    assert (found.problems, found.unseen) == ((), ())


@pytest.mark.parametrize("folder", [False, True])
def test_a_name_that_is_no_text_is_told_in_text(tmp_path: Path, folder: bool) -> None:
    odd = tmp_path / os.fsdecode(b"odd\xff.yaml")
    if folder:
        odd.mkdir()
    else:
        odd.write_text("a: 1")
    (tmp_path / "b.yaml").write_text("a: 1")
    for named in (tmp_path, odd):
        found = list_files([named])
        assert [path.name for path in found.files] == (["b.yaml"] if named == tmp_path else [])
        (problem,) = found.problems
        assert problem.reason == "NotText"
        assert problem.place.file.encode().endswith(rb"odd\udcff.yaml")
