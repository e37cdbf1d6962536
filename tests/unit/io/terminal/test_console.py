"""Strings are literal on the console, wherever rich takes them."""

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from headgate.io.terminal.console import PAGE_WIDTH, PlainConsole

HOSTILE = "[/oops][red]x[/] :smile: \x1b[2J\x7fY"
SHOWN = r"[/oops][red]x[/] :smile: \x1b[2J\x7fY"


def printed(*objects: object, **options: object) -> str:
    out = io.StringIO()
    PlainConsole(file=out, width=100, force_terminal=True, color_system=None, **options).print(*objects)
    return out.getvalue()


def test_strings_cells_titles_and_texts_are_literal() -> None:
    table = Table(HOSTILE, title=HOSTILE)
    table.add_row(HOSTILE)
    for each in (HOSTILE, table, Text(HOSTILE), Panel(HOSTILE)):
        text = printed(each)
        assert SHOWN in text
        assert all(line.isprintable() for line in text.split("\n"))


def test_a_cell_is_one_line_and_columns_stay_straight() -> None:
    table = Table("A", "B", box=None)
    table.add_row("x\ny\x1b", "end")
    table.add_row("z", "end")
    _, first, second, *_ = printed(table).split("\n")
    assert first.index("end") == second.index("end")
    assert r"x\ny\x1b" in first


@given(st.text())
def test_no_string_raises_or_steers(text: str) -> None:
    table = Table("A", box=None)
    table.add_row(text)
    for each in (text, table, Text(text)):
        assert not set(printed(each)) & {"\x1b", "\r", "\x07", "\x9b", "\u202e"}


def test_styles_of_our_own_pass() -> None:
    out = io.StringIO()
    PlainConsole(file=out, force_terminal=True, color_system="standard", width=80).print(Text("ok", "green"))
    assert out.getvalue() == "\x1b[32mok\x1b[0m\n"


class Gone(io.StringIO):
    """A stream whose reader is gone, or whose disk is full."""

    def __init__(self, error: OSError) -> None:
        super().__init__()
        self._error = error

    def write(self, text: str) -> int:
        raise self._error


@pytest.mark.parametrize("error", [BrokenPipeError(), OSError(28, "No space left on device")])
def test_nobody_to_hear_it_is_no_error(error: OSError) -> None:
    PlainConsole(file=Gone(error)).print("hello")


def test_pages_are_wide(capsys: pytest.CaptureFixture[str]) -> None:
    assert PlainConsole().width == PAGE_WIDTH
