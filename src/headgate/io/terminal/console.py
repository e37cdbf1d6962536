"""Tables and styled lines for people."""

from collections.abc import Iterable
from contextlib import suppress
from typing import Any

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment
from rich.text import Text

from headgate.io.terminal.say import is_terminal
from headgate.model.printable import printable

PAGE_WIDTH = 160
"""Columns of tables that go to a file or a pipe."""


class PlainConsole(Console):
    """A console that takes every string literally: no markup, no emoji codes, no control characters.

    A string, printed or in a table's cell, is one line. Styles are given by `rich.text.Text` or `style=`. It
    falls silent when nobody can hear it: the pipe is closed, the disk is full.
    """

    def __init__(self, **options: Any) -> None:
        """See rich; without `width`, tables that go to a file or a pipe are `PAGE_WIDTH` wide."""
        if not options.get("stderr") and "file" not in options and not is_terminal():
            options.setdefault("width", PAGE_WIDTH)
        super().__init__(markup=False, emoji=False, highlight=False, **options)

    def render_str(self, text: str, **options: Any) -> Text:
        """See rich; every string passes here before its width counts."""
        return super().render_str(printable(text), **{**options, "markup": False, "emoji": False})

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """See rich; everything passes here, `Text` too, where only the layout breaks lines."""
        for segment in super().render(renderable, options):
            if segment.control or segment.text.isprintable():
                yield segment
            else:
                text = "\n".join(map(printable, segment.text.split("\n")))
                yield Segment(text, segment.style, segment.control)

    def on_broken_pipe(self) -> None:
        """See rich, which would end the process."""
        self.quiet = True

    def print(self, *objects: Any, **options: Any) -> None:
        """See rich; never raises OSError."""
        with suppress(OSError):
            super().print(*objects, **options)
