"""The file of `--client-keys`."""

import logging
import os
from pathlib import Path

import pytest

from headgate.io.api_keys import KeyFileError
from headgate.io.client_keys import ClientKeyFile

GOOD = "# who: key\n\nteam-a: sk-a\nteam-b\tsk-b\n"


def written(folder: Path, text: str, mode: int = 0o600) -> Path:
    path = folder / "clients"
    path.write_text(text)
    path.chmod(mode)
    return path


def test_lines_of_a_name_and_a_key(tmp_path: Path) -> None:
    assert ClientKeyFile(written(tmp_path, GOOD)).clients == (("team-a", "sk-a"), ("team-b", "sk-b"))


def test_a_byte_order_mark_is_no_part_of_a_name(tmp_path: Path) -> None:
    text = "\ufeffteam-a: sk-a\r\nteam-b: sk-b\r\n"
    assert ClientKeyFile(written(tmp_path, text)).clients == (("team-a", "sk-a"), ("team-b", "sk-b"))


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("", "names no client"),
        ("team-a\n", "line 1"),
        ("team-a: sk-a\nteam-b: sk a b\n", "line 2"),
        ("team-a: sk-a\nteam-b: sk-a\n", "tell them apart"),
        ("tëam: sk-a\n", "line 1"),
        ("team-a: " + "x" * 9000, "line 1"),
    ],
)
def test_what_is_wrong_is_said_without_a_key(tmp_path: Path, text: str, word: str) -> None:
    with pytest.raises(KeyFileError, match=word) as refused:
        ClientKeyFile(written(tmp_path, text))
    assert "sk-a" not in str(refused.value)


def test_a_change_counts_and_a_broken_one_does_not(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = written(tmp_path, GOOD)
    file = ClientKeyFile(path)
    assert not file.refresh()
    path.write_text("team-c: sk-c\n")
    os.utime(path, ns=(1, 1))
    assert file.refresh() and file.clients == (("team-c", "sk-c"),)
    path.write_text("nonsense\n")
    os.utime(path, ns=(2, 2))
    assert not file.refresh() and file.clients == (("team-c", "sk-c"),)
    assert "stays in force" in caplog.text
    assert "sk-c" not in caplog.text


def test_a_file_that_everybody_may_read_is_warned_of(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        ClientKeyFile(written(tmp_path, GOOD, 0o644))
    assert "chmod" in caplog.text
