"""Whether an endpoint is fit to be chosen, judged by what happens to its requests and scrapes.

    up ──failed, erroring──► down ──backoff over──► probing ──success──► up, slow start
     └───hanging──► suspect ──sign of life──► up      └──failure──► down, backoff doubled
    new ──sign of life──► up, slow start    new ──nobody could say──► probing

Suspicion is never a refusal: the filter that reads `severity` keeps the best there are.
"""

from collections.abc import Callable
from typing import Literal

from headgate.model.ids import StreamId
from headgate.picker.settings import HealthSettings
from headgate.scheduling.api import COOLING, DOWN, FINE, SUSPECT

Condition = Literal["up", "suspect", "down", "probing", "new"]

OURS = frozenset({"not-sent", "internal", "failed"})
"""Errors of a page that say nothing of the other side."""


def _nobody(plain: bool) -> None:
    """Nobody wants to know."""


class Health:
    """The condition of one endpoint."""

    def __init__(self, settings: HealthSettings, told: Callable[[bool], None] = _nobody) -> None:
        """*told* gets `plain` whenever that is set, changed or not."""
        self._settings = settings
        self._told = told
        self.plain = True
        """Up, at full share, not cooling: nothing for `refresh` to do."""
        self.condition: Condition = "up"
        self.reason = ""
        self.since = 0.0
        self.retry_at = 0.0
        self.probe: StreamId | None = None
        """The one request that tries out a probing endpoint."""
        self._probed_at = 0.0
        self.cool_until = 0.0
        self._cooling = ""
        self.ramp_from: float | None = None
        self._backoff_s = settings.first_backoff_s
        self._streak = 0
        self._errs = False
        """It went down for bad answers: signs of life are no excuse."""
        self.unreached = False
        """It could not be reached, or was never seen alive, and nothing came from there since; no endpoint is
        that is `up`.
        """
        self._doubted_until = 0.0
        """Until then it may have ended without anybody having noticed."""
        self._dead_scrape = False
        self._refused = False
        """It was seen to be gone: scrapes were refused since the last one that got through."""
        self._asleep = False
        self._slowly = False
        self._mute_scrapes = 0
        self._muted = False
        """The silence of its metrics has been held against it."""

    def severity(self, now: float) -> tuple[int, str]:
        """How unwell, in the words of `scheduling.api`, and why."""
        match self.condition:
            case "down":
                return DOWN, f"down: {self.reason}"
            case "suspect":
                return SUSPECT, f"suspect: {self.reason}"
            case "new":
                return SUSPECT, f"new: {self.reason}"
            case "probing" if self.probe is not None:
                return SUSPECT, f"half-open, trial request under way: {self.reason}"
            case _:
                return (
                    (COOLING, f"cooling down after {self._cooling}") if self.cool_until > now else (FINE, "")
                )

    def ramp(self, now: float) -> float:
        """Share of a full load it may take, 0..1."""
        if self.ramp_from is None:
            return 1.0
        start = self._settings.ramp_start
        passed = max(0.0, now - self.ramp_from) / self._settings.ramp_s
        return min(1.0, start + (1.0 - start) * passed)

    @property
    def gone(self) -> bool:
        """Nobody is there: no connection to its port is to be had, or its engine sleeps."""
        return self.condition == "down" and (self._dead_scrape or self._asleep)

    def absent(self, now: float) -> bool:
        """Nobody should be sent there who can wait: it was never seen alive, could not be reached or may have
        ended just now; and no trial is due, or one has only just begun. Whoever answers badly is not absent.
        """
        if now < self._doubted_until:
            return True
        match self.condition:
            case "new":
                return True
            case "down":
                return not self._errs
            case "probing":
                tried = self.probe is not None and not self._errs
            case _:
                tried = self.unreached
        return tried and now < self._probed_at + self._settings.trial_s

    def join(self, now: float, *, slowly: bool) -> None:
        """It is new, and nobody has seen it alive. Whether it starts *slowly* once somebody has."""
        self._become("new", "nobody has seen it alive", now)
        self.unreached = True
        self.retry_at = now + self._settings.first_sight_s
        self._slowly = slowly

    def seen(self, now: float) -> None:
        """Its server answered something: a new endpoint is there."""
        if self.condition == "new":
            self._recover()
            if self._slowly:
                self.start_slowly(now)

    def start_slowly(self, now: float) -> None:
        """Begin a slow start."""
        self._unsettle()
        self.ramp_from = now

    def sent(self, stream: StreamId, now: float) -> None:
        """A request goes there: the trial, if one is due."""
        if self.condition == "probing" and self.probe is None:
            self.probe = stream
            self._probed_at = now

    def answered(self, sent_at: float, now: float) -> None:
        """A request sent at *sent_at* was answered well."""
        self._streak = 0
        self.seen(now)
        if self.condition == "suspect":
            self.alive(now)
        elif self.condition in ("down", "probing") and sent_at >= self.since and not self._asleep:
            self._recover()
            self.start_slowly(now)

    def alive(self, now: float) -> None:
        """Any sign of life: a hanging endpoint hangs no more.

        It also ends the trial of one that could not be reached: that trial's answer may take minutes.
        """
        self.seen(now)
        if self.condition == "suspect":
            lasted = now - self.since
            self._recover()
            if lasted > self._settings.blip_s:
                self.start_slowly(now)
        elif self.condition == "probing" and self.probe is not None and not self._errs:
            self._recover()
            self.start_slowly(now)

    def throttled(self, stream: StreamId, now: float) -> None:
        """A request was answered with 429: alive, but full."""
        self.seen(now)
        self._cool(now, "429")
        self.released(stream)

    def passed_over(self, now: float, served: str) -> None:
        """*served* was tried after it: it could not be reached, or answered 503; nobody says which.

        Once is a reason to rest a little. An unreachable endpoint soon collects a streak, and its scrapes
        fail too.
        """
        self._streak += 1
        if self.condition != "up" or self._streak >= self._settings.error_streak:
            self.failed(now, f"did not serve: {served} was tried after it")
        else:
            self._cool(now, f"{served} was tried after it")

    def erred(self, stream: StreamId, what: str, now: float) -> None:
        """A request got an answer, but a bad one: a 5xx, or it broke off; *what* says which."""
        self.seen(now)
        self._streak += 1
        if stream == self.probe or self._streak >= self._settings.error_streak:
            unreached = self.unreached
            self.failed(now, f"erroring: {what}, {self._streak} in a row")
            if not self._dead_scrape:
                self._errs, self.unreached = True, unreached

    def broke_off(self, stream: StreamId, now: float) -> None:
        """An answer that had begun broke off: a bad one, or its server has just ended; a scrape will tell."""
        self._doubted_until = now + self._settings.doubt_s
        self._unsettle()
        self.erred(stream, "an answer broke off", now)

    def failed(self, now: float, reason: str) -> None:
        """It could not be reached, or keeps failing."""
        if self._asleep and self.condition == "down":
            return
        if self.condition == "probing":
            self._backoff_s = min(2 * self._backoff_s, self._settings.longest_backoff_s)
        self._become("down", reason, now)
        self.unreached = True

    def hanging(self, now: float, reason: str) -> None:
        """It has overdue requests and shows no life."""
        if self.condition in ("up", "probing"):
            if self.condition == "probing":
                self._backoff_s = min(2 * self._backoff_s, self._settings.longest_backoff_s)
            self._become("suspect", reason, now)

    def released(self, stream: StreamId) -> None:
        """A request left without a verdict; a trial may be tried again."""
        if stream == self.probe:
            self.probe = None

    def slept(self, now: float) -> bool:
        """Its engine sleeps: down until it is woken, whatever its server answers. True when that is news."""
        if self._asleep:
            return False
        self.failed(now, "its engine sleeps")
        self._asleep = True
        return True

    def awake(self, now: float) -> None:
        """Its engine does not sleep."""
        if self._asleep:
            self._asleep = False
            self._recover()
            self.start_slowly(now)

    def scraped(self, now: float) -> None:
        """A scrape got through: whoever was unreachable may be tried at once."""
        self.seen(now)
        self._mute_scrapes = 0
        self._doubted_until = 0.0
        self.unreached = False
        self._refused = False
        self._muted = False
        if self._dead_scrape:
            self._dead_scrape = False
            self.retry_at = min(self.retry_at, now)

    def scrape_failed(self, now: float, error: str, *, lively: bool = False) -> bool:
        """A scrape failed; True when it shows that the process is gone, which only `refused` does.

        `refused` and `unreachable` take it out of the choice; two of `timeout` or `reset` in a row are
        suspicion unless it is *lively* (requests were answered just now: its metrics are merely slow);
        everything else (no such page, an unknown engine) says nothing about serving.
        """
        match error:
            case "refused" | "unreachable":
                self._dead_scrape = True
                gone = error == "refused" and not self._refused
                if gone:
                    self._refused, self._asleep = True, False
                if self.condition != "down":
                    self.failed(now, f"scrape {error}")
                self._errs, self.unreached = False, True
                return gone
            case "timeout" | "reset":
                self._mute_scrapes += 1
                if self._mute_scrapes >= 2 and not lively and not self._muted:
                    self._muted = True
                    self.hanging(now, f"scrape {error} twice")
            case _ if error in OURS and self.condition == "new":
                pass
            case _:
                self.scraped(now)
        return False

    def refresh(self, now: float, overdue: bool) -> None:
        """Let time pass; *overdue*: requests still wait there without a sign of life."""
        if self.ramp_from is not None and self.ramp(now) >= 1.0:
            self.ramp_from = None
        tried = self.condition in ("down", "new") or (self.condition == "suspect" and not overdue)
        if tried and now >= self.retry_at and not self._dead_scrape and not self._asleep:
            self.condition = "probing"
            self.probe = None
            self.since = now
        rests = max(self.cool_until, self._doubted_until) > now
        self.plain = self.condition == "up" and self.ramp_from is None and not rests
        self._told(self.plain)

    def _cool(self, now: float, after: str) -> None:
        self.cool_until = now + self._settings.cool_down_s
        self._cooling = after
        self._unsettle()

    def _unsettle(self) -> None:
        self.plain = False
        self._told(False)

    def _become(self, condition: Condition, reason: str, now: float) -> None:
        self._unsettle()
        self.condition = condition
        self.reason = reason
        self.since = now
        self.retry_at = now + self._backoff_s
        self.probe = None
        self.ramp_from = None
        self._errs = False

    def _recover(self) -> None:
        self.condition = "up"
        self.unreached = False
        self.reason = ""
        self.probe = None
        self._streak = 0
        self._backoff_s = self._settings.first_backoff_s
