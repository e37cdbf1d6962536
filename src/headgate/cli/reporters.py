"""How `headgate run` tells what happens: as text or as JSON. A reader that goes away ends nothing."""

from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from headgate.app.run_view import listener_lines, pool_table, replica_table, try_it, worth_saying
from headgate.io.sources.probe import ProbeResult
from headgate.io.terminal.console import PlainConsole
from headgate.io.terminal.say import say, say_json


class TextReporter:
    """For people: results to stdout, what happens meanwhile to stderr."""

    def __init__(self) -> None:
        self._out = PlainConsole(soft_wrap=True)
        self._err = PlainConsole(stderr=True, soft_wrap=True)

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
            self._out.print(line)
        admin = info["admin"]
        self._out.print(f"Admin API on {admin}  (headgate status --admin {admin})")
        for line in try_it(info):
            self._out.print(line)
        self._out.print()
        self._out.print("Stop with Ctrl-C; running requests are finished first.")

    def child_said(self, name: str, line: str) -> None:
        """Relay a child's line, prefixed."""
        if worth_saying(name, line):
            self._err.print(f"{name:<10} | {line}")

    def note(self, text: str) -> None:
        """Print to stderr."""
        self._err.print(text)


class JsonReporter:
    """For programs: one JSON object a line on stdout; children's lines as they are on stderr."""

    def _event(self, event: str, **content: Any) -> None:
        with suppress(OSError):
            say_json({"event": event, **content}, indent=False)

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
                say(f"{name:<10} | {line}", err=True)

    def note(self, text: str) -> None:
        """`{"event": "note", "text": ...}`."""
        self._event("note", text=text)
