"""The command line of `headgate run` that needs no process."""

import contextlib
import socket
from pathlib import Path

import pytest
from typer.testing import CliRunner

from headgate.cli.commands.run import app


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (("--body-limit", "much"), "Invalid value for '--body-limit': 'much' is no size such as 64MiB"),
        (("--body-limit", "0"), "at least 1"),
        (("--drain-timeout", "soon"), "'--drain-timeout': 'soon' is no duration such as 2s"),
        (("--picker-timeout", "1ms"), "'--picker-timeout': 1ms is too short: at least 10ms"),
        (("--host", "foo"), "'--host': 'foo' is no IP address such as 127.0.0.1"),
        (("gateway.yaml",), "'gateway.yaml' is no URL; for manifests write -f gateway.yaml"),
    ],
)
def test_mistakes_are_told_before_anything_starts(args: tuple[str, ...], words: str) -> None:
    result = CliRunner().invoke(app, ["http://127.0.0.1:1", *args], env={"COLUMNS": "200", "TERM": "dumb"})
    assert result.exit_code == 2
    assert words in " ".join(result.output.split())


def test_a_folder_is_no_url(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, [str(tmp_path)])
    assert result.exit_code == 2
    assert "-f" in result.output


def test_every_taken_port_has_a_line_of_its_own() -> None:
    args, taken = [], []
    with contextlib.ExitStack() as stack:
        for flag in ("--port", "--metrics-port", "--admin-port"):
            held = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
            taken.append(held.getsockname()[1])
            args += [flag, str(taken[-1])]
        result = CliRunner().invoke(
            app, ["http://127.0.0.1:1", "--host", "127.0.0.1", "--access-log", "off", *args]
        )
    assert result.exit_code == 1, result.output
    lines = result.output.splitlines()
    assert all(
        any(line.removeprefix("headgate: ").startswith(f"port {port} is taken") for line in lines)
        for port in taken
    )
    assert "\\n" not in result.output
