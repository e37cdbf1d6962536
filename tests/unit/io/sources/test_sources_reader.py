"""The worker: killed when it takes too long, started again, ended with the reader."""

import os
import signal
import threading
from collections.abc import Sequence
from pathlib import Path

import pytest

from headgate.io.sources import reader as reader_module
from headgate.io.sources.reader import Reader, ReaderError

SERVER = "apiVersion: headgate.dev/v1alpha1\nkind: ModelServer\nmetadata: {name: a}\nspec: {url: 'http://127.0.0.1:9000'}\n"

SLOW = "".join(f"%TAG !a{number}! tag:x,2000:\n" for number in range(60_000)) + "--- x\n"
"""Compares every directive with all before it: minutes of one call into the YAML library."""


def pid_of(reader: Reader) -> int:
    assert reader.pid is not None
    return reader.pid


def is_running(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()


def test_it_starts_when_it_is_needed_and_stays(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(SERVER)
    with Reader() as reader:
        assert reader.pid is None
        listing = reader.listing([tmp_path])
        first = pid_of(reader)
        [(path, parsed)] = reader.read([(tmp_path / "a.yaml", len(SERVER))])
        assert (path, [each.object is not None for each in parsed.decoded]) == (tmp_path / "a.yaml", [True])
        assert reader.listing([tmp_path]) == listing
        assert pid_of(reader) == first
    assert not is_running(first)
    with pytest.raises(ReaderError):
        reader.listing([tmp_path])


def test_a_file_that_takes_too_long_is_refused_and_the_others_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, text in (("a", SERVER), ("b", SLOW), ("c", SERVER)):
        (tmp_path / f"{name}.yaml").write_text(text)
    monkeypatch.setattr(reader_module, "cpu_s", lambda size: 0.3 if size == len(SLOW) else 60.0)
    with Reader() as reader:
        files = [(path, stamp[2]) for path, stamp in reader.listing([tmp_path]).files.items()]
        first = pid_of(reader)
        found = reader.read(files)
        assert [path.name for path, _ in found] == ["a.yaml", "b.yaml", "c.yaml"]
        assert [parsed.whole for _, parsed in found] == [True, False, True]
        (problem,) = found[1][1].problems
        assert (problem.place.file, problem.reason) == (str(tmp_path / "b.yaml"), "Refused")
        assert "takes longer" in problem.message
        assert pid_of(reader) != first
        assert not is_running(first)


class Killed(Reader):
    """A reader whose worker dies when it was asked to read for the first time."""

    alive = True

    def _ask(self, what: str, paths: Sequence[Path]) -> None:
        super()._ask(what, paths)
        if what == "read" and self.alive:
            self.alive = False
            os.kill(pid_of(self), signal.SIGSEGV)


def test_a_worker_that_dies_while_it_reads_costs_one_file(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / f"{name}.yaml").write_text(SERVER)
    (tmp_path / "a.yaml").write_text(SLOW)
    with Killed() as reader:
        files = [(path, stamp[2]) for path, stamp in reader.listing([tmp_path]).files.items()]
        found = reader.read(files)
    assert [parsed.whole for _, parsed in found] == [False, True]
    assert "ended the process" in found[0][1].problems[0].message


def test_a_worker_that_died_meanwhile_is_started_again(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(SERVER)
    with Reader() as reader:
        before = reader.listing([tmp_path])
        os.kill(pid_of(reader), signal.SIGKILL)
        assert reader.listing([tmp_path]) == before


def test_a_worker_that_has_read_much_is_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reader_module, "ENOUGH_BYTES", len(SERVER))
    (tmp_path / "a.yaml").write_text(SERVER)
    with Reader() as reader:
        before = reader.listing([tmp_path])
        first = pid_of(reader)
        reader.read([(tmp_path / "a.yaml", len(SERVER))])
        assert pid_of(reader) == first
        reader.read([(tmp_path / "a.yaml", len(SERVER))])
        assert not is_running(first)
        assert reader.listing([tmp_path]) == before


def test_who_waits_for_it_is_let_go_when_it_is_closed(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(SLOW)
    reader = Reader()
    reader.listing([tmp_path])
    errors: list[Exception] = []

    def read() -> None:
        try:
            reader.read([(tmp_path / "a.yaml", len(SLOW))])
        except ReaderError as error:
            errors.append(error)

    waiting = threading.Thread(target=read, daemon=True)
    waiting.start()
    waiting.join(0.2)
    assert waiting.is_alive()
    pid = pid_of(reader)
    reader.close()
    waiting.join(60)
    assert len(errors) == 1
    assert not is_running(pid)


def test_a_worker_without_a_reader_ends(tmp_path: Path) -> None:
    reader = Reader()
    reader.listing([tmp_path])
    assert reader._line is not None
    assert reader._worker is not None
    reader._line.close()
    assert reader._worker.wait(60) == 0
    reader.close()
