"""How `headgate run` tells what happens: as text or as JSON. A reader that goes away ends nothing."""

from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import msgspec

from headgate.app.processes.lines import Line, for_people, now
from headgate.app.run.view import (
    joined_line,
    listener_lines,
    pool_table,
    replica_table,
    try_it,
    worth_saying,
)
from headgate.io.sources.probe import ProbeResult
from headgate.io.terminal.console import PlainConsole
from headgate.io.terminal.say import say_json
from headgate.model.load import entry


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

    def joined(self, result: ProbeResult) -> None:
        """Print what the server said of itself to stderr."""
        self.said("headgate", Line(time=now(), text=joined_line(result)))

    def said(self, name: str, line: Line) -> None:
        """Print the event's time, process and text to stderr, and a line for each of its traceback."""
        if worth_saying(name, line.text):
            for part in (for_people(line), *line.trace.splitlines()):
                self._err.print(f"{line.time} {name:<10} | {part}")


class JsonReporter:
    """For programs: one JSON object a line on stdout, each with `event` and `time`."""

    def _event(self, event: str, time: str, **content: Any) -> None:
        with suppress(OSError):
            say_json({"event": event, "time": time, **content}, indent=False)

    def probed(self, results: tuple[ProbeResult, ...]) -> None:
        """`{"event": "probed", "replicas": [...]}`."""
        self._event("probed", now(), replicas=[_replica(each) for each in results])

    def ready(self, info: Mapping[str, Any]) -> None:
        """`{"event": "ready", "url": ..., "admin": ..., "ports": {...}, "pids": {...}, ...}`."""
        self._event("ready", now(), **info)

    def joined(self, result: ProbeResult) -> None:
        """`{"event": "joined", "replica": {...}}`."""
        self._event("joined", now(), replica=_replica(result), text=joined_line(result))

    def said(self, name: str, line: Line) -> None:
        """`{"event": "log", "from": "picker", "level": ..., "text": ...}`; other events have more."""
        if worth_saying(name, line.text):
            said = {"from": name, "level": line.level, "text": line.text}
            if line.trace:
                said["trace"] = line.trace
            self._event(line.event, line.time, **{**line.fields, **said})


def _replica(result: ProbeResult) -> dict[str, Any]:
    return {**msgspec.to_builtins(result), "models": [entry(card) for card in result.models]}
