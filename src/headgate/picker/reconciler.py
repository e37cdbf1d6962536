"""Corrects accounting downwards: requests whose end nobody told, found by the engine's own count."""

from collections import deque
from collections.abc import Collection
from operator import attrgetter

from headgate.model.ids import StreamId
from headgate.model.load import Load
from headgate.picker.tracked import Booking

COUNTED_S = 1.0
"""So long after it was sent, a request is in the engine's count: reading a prompt takes time."""
TOLD_S = 2.0
"""So long after a request ended, its end has been told here: the data plane's log is buffered."""
AGED_S, AGED = 10.0, 1.5
"""A request this old, and so many times older than the longest answer, may be one that has ended."""
AGED_UNKNOWN_S = 60.0
"""The same where no end was ever told."""
SCRAPES = 5
"""So many scrapes in a row must contradict what is held."""
WATCHED = 1000
"""Requests given up that are watched for."""
MISTAKES = 2
"""So many requests given up that turned out to live, and more than half of all: the count is not believed."""


class Reconciler:
    """What one engine's count of running and waiting requests says against the requests held there.

    Of those sent a while before a scrape and still held a while after it, no more can have been running than
    the engine reported: the rest has ended, and nobody told. Which ones is plain where it reports none. Else
    the oldest are the likeliest, and only those that are older than any answer took here are given up.

    A count is believed once it was above zero, of requests since which the engine's numbers have moved (a
    page that is served from a cache stands still), and as long as those given up do not turn up again.
    """

    def __init__(self) -> None:
        self._reports: deque[tuple[float, int]] = deque()
        """Time and count of scrapes too young to be judged."""
        self._excess: deque[tuple[float, int, int]] = deque(maxlen=SCRAPES)
        """Time of a scrape, its count, and how many requests too many were held; always above zero."""
        self._longest_s = 0.0
        self._counts = False
        self._numbers: tuple[int, int, float | None] | None = None
        self._moved_at = float("-inf")
        self._guesses: dict[StreamId, bool] = {}
        """Those given up last, and whether the engine still ran some, so that the oldest were taken."""
        self._given_up = {True: 0, False: 0}
        self._alive = {True: 0, False: 0}

    def _believed(self, guess: bool) -> bool:
        """Whether the engine's count means something, and taking the oldest does where it is a *guess*."""
        alive = self._alive[guess]
        return self._counts and (alive < MISTAKES or 2 * alive <= self._given_up[guess])

    def restarted(self) -> None:
        """The engine is a new process: what the old one counted says nothing of it."""
        self._reports.clear()
        self._excess.clear()

    def took(self, duration_s: float) -> None:
        """The end of a request was told, so long after it arrived."""
        self._longest_s = max(self._longest_s, duration_s)

    def turned_up(self, stream: StreamId) -> None:
        """A request that was given up is alive."""
        if (guess := self._guesses.pop(stream, None)) is not None:
            self._alive[guess] += 1

    def scraped(self, load: Load, holds: Collection[Booking], now: float) -> list[Booking]:
        """A scrape succeeded; those of *holds* to be given up."""
        numbers = load.running, load.waiting, load.progress
        if self._numbers is not None and numbers != self._numbers:
            self._moved_at = now
        self._numbers = numbers
        self._counts = self._counts or load.running > 0
        reports = self._reports
        reports.append((now, load.running + load.waiting))
        while reports and reports[0][0] <= now - TOLD_S:
            self._judge(*reports.popleft(), holds)
        guess = any(reported for _, reported, _ in self._excess)
        if len(self._excess) < SCRAPES or not self._believed(guess):
            return []
        sent_before = min(self._excess[0][0] - COUNTED_S, self._moved_at)
        if guess:
            aged_s = max(AGED_S, AGED * self._longest_s) if self._longest_s else AGED_UNKNOWN_S
            sent_before = min(sent_before, now - aged_s)
        old = sorted([one for one in holds if one.sent_at < sent_before], key=attrgetter("sent_at"))
        lost = old[: min(excess for _, _, excess in self._excess)]
        if lost:
            self._given_up[guess] += len(lost)
            self._excess.clear()
        for one in lost:
            self._guesses[one.stream] = guess
            if len(self._guesses) > WATCHED:
                del self._guesses[next(iter(self._guesses))]
        return lost

    def _judge(self, at: float, reported: int, holds: Collection[Booking]) -> None:
        excess = len(holds) - reported
        if excess > 0:
            excess = sum([one.sent_at < at - COUNTED_S for one in holds]) - reported
        if excess > 0:
            self._excess.append((at, reported, excess))
        else:
            self._excess.clear()
