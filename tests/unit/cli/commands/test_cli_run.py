"""The command line of `headgate run` that needs no process."""

import pytest
import typer

from headgate.cli.commands.run import size


@pytest.mark.parametrize(
    ("text", "count"),
    [("1", 1), ("64MiB", 64 << 20), ("64Mi", 64 << 20), ("10 MB", 10**7), ("2k", 2000), ("1GiB", 1 << 30)],
)
def test_sizes(text: str, count: int) -> None:
    assert size(text) == count


@pytest.mark.parametrize("text", ["", "0", "big", "-1", "1.5MiB", "MiB"])
def test_what_is_no_size(text: str) -> None:
    with pytest.raises(typer.BadParameter):
        size(text)
