"""The private folder: short, removed, and swept up after the killed."""

import fcntl
import tempfile
from pathlib import Path

import pytest

from headgate.app.run.folder import LOCK, LONGEST_PATH, FolderError, private_folder, remove_leftovers


@pytest.fixture
def base(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr("headgate.app.run.folder.LONGEST_PATH", len(str(tmp_path)) + 20)
    return tmp_path


def test_the_folder_is_private_and_gone_afterwards(base: Path) -> None:
    with private_folder() as folder:
        assert folder.parent == base
        assert folder.stat().st_mode & 0o777 == 0o700
        assert (folder / LOCK).exists()
    assert not folder.exists()


def test_a_path_too_long_for_sockets_is_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    long = tmp_path / ("x" * LONGEST_PATH)
    long.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(long))
    with private_folder(short=tmp_path) as folder:
        assert folder.parent == tmp_path


def test_what_a_killed_run_left_is_removed_and_what_lives_is_not(base: Path) -> None:
    dead, living, foreign = (base / f"headgate-{name}" for name in ("dead", "living", "foreign"))
    for folder in (dead, living, foreign):
        folder.mkdir()
    (dead / LOCK).touch()
    (dead / "envoy.json").touch()
    with (living / LOCK).open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        remove_leftovers(base)
    assert not dead.exists()
    assert living.exists()
    assert foreign.exists(), "without a lock it may belong to someone else"


def test_a_link_is_not_followed(base: Path) -> None:
    elsewhere = base / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / LOCK).touch()
    (base / "headgate-link").symlink_to(elsewhere)
    remove_leftovers(base)
    assert elsewhere.exists()


def test_no_place_at_all_says_what_to_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "nowhere"))
    monkeypatch.setattr("headgate.app.run.folder.LONGEST_PATH", 4096)
    with pytest.raises(FolderError, match="TMPDIR"), private_folder():
        pass
