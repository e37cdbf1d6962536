"""Where the demo appears: a terminal that is drawn over, plain lines, or JSON."""

from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Self

import msgspec
from rich.live import Live

from headgate.app.demo.fleet import ReplicaNow
from headgate.app.demo.plan import Scene
from headgate.app.demo.view import board, comparison, invitation, opening, progress, verdict
from headgate.io.load.report import Report
from headgate.io.terminal.console import PlainConsole
from headgate.io.terminal.say import say_json

LINE_EVERY_S = 2.0
"""Between progress lines where there is no terminal."""


class TextStage:
    """For people. On a terminal a run is a board that redraws itself; else it is a line now and then."""

    def __init__(self, scene: Scene, console: PlainConsole | None = None) -> None:
        self._scene = scene
        self._console = console or PlainConsole(width=None)
        self._live: Live | None = None
        self._invited = False
        self._next_line_s = 0.0

    def __enter__(self) -> Self:
        """Say what will happen."""
        self.say([*opening(self._scene), ""])
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Give the terminal back."""
        self._freeze()

    def say(self, lines: Sequence[str]) -> None:
        """See `Stage`."""
        self._freeze()
        for line in lines:
            # a terminal wraps commands by itself, so that they can be copied; prose is wrapped between words
            whole = line.startswith(" ") or not self._console.is_terminal
            self._console.print(line, soft_wrap=whole)

    def gateway_up(self, policy: str, url: str, model: str) -> None:
        """See `Stage`."""
        if not self._invited:
            self.say([f"The gateway listens at {url}", *invitation(url, model), ""])
        self._invited = True
        self._next_line_s = 0.0

    def moment(self, policy: str, report: Report, opened: int, replicas: Sequence[ReplicaNow]) -> None:
        """See `Stage`."""
        if not self._console.is_terminal:
            if report.elapsed_s >= self._next_line_s:
                self.say([progress(policy, report, opened, replicas)])
                self._next_line_s = report.elapsed_s + LINE_EVERY_S
            return
        if self._live is None:
            self._live = Live(console=self._console, auto_refresh=False)
            self._live.start()
        self._live.update(board(policy, report, opened, replicas, self._console.width), refresh=True)

    def run_over(self, policy: str, report: Report) -> None:
        """See `Stage`."""
        self._freeze()
        self.say([""])

    def finish(self, reports: Mapping[str, Report]) -> None:
        """The comparison of all runs."""
        self._freeze()
        self._console.print(comparison(reports))
        self.say(["", *verdict(reports)])

    def _freeze(self) -> None:
        """Leave the board as it is and write below it."""
        if self._live is not None:
            self._live.stop()
            self._live = None


class JsonStage:
    """For programs: one line of JSON when all runs are over, `{"reports": {policy: report}}`."""

    def __enter__(self) -> Self:
        """Nothing to say yet."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Nothing to give back."""

    def say(self, lines: Sequence[str]) -> None:
        """See `Stage`."""

    def gateway_up(self, policy: str, url: str, model: str) -> None:
        """See `Stage`."""

    def moment(self, policy: str, report: Report, opened: int, replicas: Sequence[ReplicaNow]) -> None:
        """See `Stage`."""

    def run_over(self, policy: str, report: Report) -> None:
        """See `Stage`."""

    def finish(self, reports: Mapping[str, Report]) -> None:
        """The reports of all runs, hit rates included."""
        page = {
            policy: {**msgspec.to_builtins(report), "hit_rate": report.hit_rate}
            for policy, report in reports.items()
        }
        say_json({"reports": page}, indent=False)
