"""How many requests an engine runs at once, learned from its queue, and whether it has its fill."""

from math import inf

from headgate.model.objects.flow import DetectorSpec

SHRINK = 0.3
"""Weight of an engine that queues while it runs fewer than it was seen to run."""
GROWTH = 1.25
"""A full engine without a queue may have room for so many times more."""
SPARE = 0.1
"""Share of an engine's seats that may wait there, so that it never runs dry: one at least."""
LEARNED = DetectorSpec()
PERSISTENT = 2
"""A queue seen in so many scrapes in a row is one; a single one may be between two steps."""


class Headroom:
    """One engine's.

    While no engine of the pool was seen to queue, each has room for everybody; afterwards the others are
    believed to be like it until they show what they can. An engine is full when as many requests are there
    as it has seats, and some more, of which at least that many have no first token yet: then another one
    would wait there, and no step would be the fuller for it.
    """

    __slots__ = ("_kv_used", "_most", "_queued", "_waiting", "detector", "seats")

    def __init__(self, detector: DetectorSpec = LEARNED) -> None:
        self.detector = detector
        """What says whether it has its fill; seats are learned whatever it is."""
        self._waiting = 0
        """Of the last scrape, like `_kv_used`; nothing once that is too old."""
        self._kv_used = 0.0
        self.seats: float | None = None
        """Sequences that it runs at once, above 0; None: nobody knows of any engine of the pool."""
        self._most = 0
        """Sequences it was seen to run at once, at most."""
        self._queued = 0
        """Scrapes in a row that showed a queue."""

    @property
    def open(self) -> bool:
        """Whether it has room for everybody, however many are there."""
        return self.seats is None and self.detector.type == "Learned"

    def scraped(self, running: int, waiting: int, kv_used: float | None = None) -> None:
        """Its own count of both, and the used part of its KV cache; None: it does not tell."""
        self._waiting = waiting
        self._kv_used = 0.0 if kv_used is None else kv_used
        seats = self.seats
        self._most = max(self._most, running)
        if not waiting:
            self._queued = 0
            if seats is not None and running >= seats:
                self.seats = max(running, seats + 1.0, seats * GROWTH)
            return
        self._queued += 1
        if not running:
            return
        if seats is not None and running > seats:
            self.seats = float(running)
        elif self._queued >= PERSISTENT:
            self.seats = float(running) if seats is None else seats + SHRINK * (running - seats)

    def forget_scrape(self) -> None:
        """The last scrape is too old to be believed."""
        self._waiting = 0
        self._kv_used = 0.0

    def guess(self, seats: float) -> None:
        """Others of the pool have so many."""
        if self.seats is None:
            self.seats = max(seats, float(self._most))

    def pressure(self) -> float:
        """How near metrics are to saying that it has its fill, 1: they do; 0: they are not asked."""
        detector = self.detector
        if detector.type != "Utilization":
            return 0.0
        return max(self._waiting / detector.queue_depth, self._kv_used / detector.kv_cache)

    def most(self) -> float:
        """Requests that run there at once in a full load; infinity while nobody knows."""
        if self.detector.type == "Concurrency":
            return float(self.detector.max_concurrency)
        if self.detector.type == "Utilization" or self.seats is None:
            return inf
        return self.seats

    def full(self, there: int, silent: int, share: float = 1.0) -> bool:
        """Whether it has its fill with *there* requests, of which *silent* have shown no token yet.

        *share*: so much of a full load it may take, above 0 and up to 1.
        """
        detector = self.detector
        if detector.type == "Concurrency":
            return there >= detector.max_concurrency * share
        if detector.type == "Utilization":
            return self._waiting >= detector.queue_depth or self._kv_used >= detector.kv_cache
        if self.seats is None:
            return False
        seats = self.seats * share
        spare = max(1.0, SPARE * seats)
        return there >= seats + spare and silent >= spare
