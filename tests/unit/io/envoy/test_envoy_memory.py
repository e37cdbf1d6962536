"""What Envoy may take of a machine's memory."""

from pathlib import Path

import psutil

from headgate.io.envoy.memory import LEAST, default_heap, machine_memory


def test_a_container_has_what_its_limit_says(tmp_path: Path) -> None:
    machine = psutil.virtual_memory().total
    for name, text in (("limited", "1073741824\n"), ("unlimited", "max\n"), ("huge", f"{1 << 62}\n")):
        (tmp_path / name).write_text(text)
    assert machine_memory([str(tmp_path / "not-here"), str(tmp_path / "unlimited")]) == machine
    assert machine_memory([str(tmp_path / "huge")]) == machine
    assert machine_memory([str(tmp_path / "limited")]) == min(1 << 30, machine)


def test_a_quarter_and_not_too_little() -> None:
    assert default_heap(64 << 30) == 16 << 30
    assert default_heap(512 << 20) == LEAST
