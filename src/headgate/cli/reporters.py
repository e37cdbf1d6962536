"""How `headgate run` tells what happens: as text or as JSON. A reader that goes away ends nothing."""

import sys
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import msgspec
import typer
from rich.console import Console

from headgate.app.run_view import listener_lines, pool_table, replica_table, try_it, worth_saying
from headgate.io.sources.probe import ProbeResult

PAGE_WIDTH = 160
"""Columns of tables that go to a file or a pipe."""


class SteadyConsole(Console):
    """A console that falls silent when nobody can hear it: the pipe is closed, the disk is full."""

    def on_broken_pipe(self) -> None:
        """See rich, which would end the process."""
        self.quiet = True

    def print(self, *objects: Any, **options: Any) -> None:
        """See rich; never raises OSError."""
        with suppress(OSError):
            super().print(*objects, **options)


class TextReporter:
    """For people: results to stdout, what happens meanwhile to stderr."""

    def __init__(self) -> None:
        width = None if sys.stdout.isatty() else PAGE_WIDTH
        self._out = SteadyConsole(soft_wrap=True, highlight=False, width=width)
        self._err = SteadyConsole(stderr=True, soft_wrap=True, highlight=False)

    def probed(self, results: tuple[ProbeResult, ...]) -> None:
        """Print the table of replicas."""
        self._out.print(replica_table(results), soft_wrap=False)
        self._out.print()

    def ready(self, info: Mapping[str, Any]) -> None:
        """Print where the gateway is and how to talk to it."""
        if info["pools"] and not info["probed"]:
            self._out.print(pool_table(info["pools"]), soft_wrap=False)
            self._out.print()
        for line in listener_lines(info):
            self._out.print(line, markup=False)
        admin = info["admin"]
        self._out.print(f"Admin API on {admin}  (headgate status --admin {admin})", markup=False)
        for line in try_it(info):
            self._out.print(line, markup=False)
        self._out.print("\nStop with Ctrl-C; running requests are finished first.", markup=False)

    def child_said(self, name: str, line: str) -> None:
        """Relay a child's line, prefixed."""
        if worth_saying(name, line):
            self._err.print(f"{name:<10} | {line}", markup=False)

    def note(self, text: str) -> None:
        """Print to stderr."""
        self._err.print(text, markup=False)


class JsonReporter:
    """For programs: one JSON object a line on stdout; children's lines as they are on stderr."""

    def _event(self, event: str, **content: Any) -> None:
        with suppress(OSError):
            typer.echo(msgspec.json.encode({"event": event, **content}).decode())

    def probed(self, results: tuple[ProbeResult, ...]) -> None:
        """`{"event": "probed", "replicas": [...]}`."""
        self._event("probed", replicas=results)

    def ready(self, info: Mapping[str, Any]) -> None:
        """`{"event": "ready", "url": ..., "admin": ..., "ports": {...}, "pids": {...}, ...}`."""
        self._event("ready", **info)

    def child_said(self, name: str, line: str) -> None:
        """Relay a child's line, prefixed."""
        if worth_saying(name, line):
            with suppress(OSError):
                typer.echo(f"{name:<10} | {line}", err=True)

    def note(self, text: str) -> None:
        """`{"event": "note", "text": ...}`."""
        self._event("note", text=text)
