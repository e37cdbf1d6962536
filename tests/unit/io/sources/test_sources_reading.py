"""One file, whatever it is and says."""

import os
import threading
from pathlib import Path

import pytest

from headgate.io.sources import reading
from headgate.io.sources.reading import parse_file, parse_text, read_regular

ROUTE = "apiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\nmetadata: {name: r}\nspec: {}\n"


def test_a_fifo_that_took_a_files_place_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.yaml")
    with pytest.raises(ValueError, match="FIFO"):
        read_regular(tmp_path / "a.yaml")
    parsed = parse_file(tmp_path / "a.yaml")
    assert (parsed.whole, parsed.problems[0].reason, parsed.again) == (False, "NotAFile", "soon")


def test_a_device_is_not_read() -> None:
    assert parse_file(Path("/dev/zero")).problems[0].reason == "NotAFile"


def test_a_file_without_end_is_cut_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "MAX_FILE_BYTES", 1 << 20)
    path = tmp_path / "a.yaml"
    path.write_bytes(b"#" * ((1 << 20) + 2))
    assert len(read_regular(path)) == (1 << 20) + 1
    parsed = parse_file(path)
    assert (parsed.whole, parsed.problems[0].reason) == (False, "TooLarge")


def test_what_a_file_system_refuses_is_read_again_soon() -> None:
    """Reading the memory of a process at address 0 is an input/output error."""
    parsed = parse_file(Path("/proc/self/mem"))
    assert (parsed.whole, parsed.problems[0].reason, parsed.again) == (False, "Unreadable", "soon")


@pytest.mark.parametrize(
    "text",
    [
        ROUTE.replace("name: r", f"name: 0x{'f' * 10_000}"),
        ROUTE.replace("name: r", f"name: {'9' * 4_000}"),
        ROUTE.replace("HTTPRoute", f"0x{'f' * 10_000}"),
        ROUTE.replace("HTTPRoute", "X" * 1_000_000),
        ROUTE.replace("spec: {}", f"spec: {{{'x' * 900}: 1}}"),
        ROUTE.replace("spec: {}", f"spec: {{hostnames: ['{'x' * 1_000_000}']}}"),
        ROUTE.replace("spec: {}", "spec: {rules: [{matches: [{method: " + "X" * 1_000_000 + "}]}]}"),
        '{"a":\t' + "[" * 900 + "]" * 900 + "}",
        f'{{"apiVersion":\t"gateway.networking.k8s.io/v1", "kind": "HTTPRoute", "metadata": {{"name": {"9" * 4_000}}}}}',
    ],
)
def test_whatever_is_wrong_is_said_in_a_few_words(text: str) -> None:
    parsed = parse_text(text.encode(), "f.yaml")
    problems = [*parsed.problems, *(problem for each in parsed.decoded for problem in each.problems)]
    assert problems
    assert all(each.object is None for each in parsed.decoded) or problems[0].severity == "warning"
    assert all(len(str(problem)) < 5_000 for problem in problems)
    assert "bug" not in str(problems)


def test_problems_are_told_up_to_a_bound_and_none_removes_an_object(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "MAX_PROBLEMS", 10)
    nameless = ROUTE.replace("name: r", "")
    told = parse_text("---\n".join([nameless] * 9).encode(), "f.yaml")
    assert sum(len(each.problems) for each in told.decoded) == 9
    assert told.problems == ()
    more = parse_text("---\n".join([nameless] * 30).encode(), "f.yaml")
    assert sum(len(each.problems) for each in more.decoded) == 10
    assert [problem.reason for problem in more.problems] == ["TooMany"]
    assert not more.whole


def test_a_writer_that_comes_never_holds_nobody_up(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.yaml")
    reader = threading.Thread(target=parse_file, args=(tmp_path / "a.yaml",), daemon=True)
    reader.start()
    reader.join(60)
    assert not reader.is_alive()
