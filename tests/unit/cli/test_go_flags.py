"""Flags as the Go pickers take them."""

from typing import Annotated

import pytest
import typer
from typer.testing import CliRunner

from headgate.cli.commands.picker import addresses, labels, port_list
from headgate.cli.go_flags import GoFlags
from headgate.io.terminal.say import say

app = typer.Typer(add_completion=False)


@app.command(cls=GoFlags)
def show(
    pool_name: str = "",
    grpc_port: int = 1,
    secure_serving: bool = True,
    file: Annotated[str, typer.Option("-f")] = "",
) -> None:
    say(f"{pool_name} {grpc_port} {secure_serving} {file}")


@pytest.mark.parametrize(
    ("args", "expected"),
    [
        ("--pool-name p --grpc-port 9", "p 9 True"),
        ("-poolName p -grpcPort=9", "p 9 True"),
        ("--poolName=p", "p 1 True"),
        ("--secure-serving=false", " 1 False"),
        ("--secureServing=true", " 1 True"),
        ("--no-secure-serving", " 1 False"),
        ("-f poolName", " 1 True poolName"),
    ],
)
def test_spellings(args: str, expected: str) -> None:
    result = CliRunner().invoke(app, args.split())
    assert result.exit_code == 0, result.output
    assert result.output.rstrip() == expected


@pytest.mark.parametrize("args", ["--secure-serving=maybe", "--noSuchFlag", "-poolName"])
def test_nonsense_is_refused(args: str) -> None:
    assert CliRunner().invoke(app, args.split()).exit_code == 2


def test_lists() -> None:
    assert labels("app=vllm,tier=") == (("app", "vllm"), ("tier", ""))
    assert port_list("8000, 8001") == (8000, 8001)
    assert addresses("10.0.0.1:80,[::1]:81") == ("10.0.0.1:80", "[::1]:81")


@pytest.mark.parametrize(
    "bad",
    [
        lambda: labels("app"),
        lambda: labels("app!=x"),
        lambda: labels("app in (a,b)"),
        lambda: port_list("0"),
        lambda: addresses("x"),
        lambda: addresses("foo:80"),
    ],
)
def test_bad_values_are_told(bad: object) -> None:
    with pytest.raises(typer.BadParameter):
        bad()  # type: ignore[operator]
