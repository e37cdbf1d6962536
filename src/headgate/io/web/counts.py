"""What the picker counts of requests, for its metrics page; every request passes here twice."""

from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Sequence

from headgate.model.decisions import Decision
from headgate.model.ids import PoolKey, StreamId
from headgate.model.requests import InferenceRequest, Outcome
from headgate.picker.choice import Choice

LATENCY = (0.005, 0.025, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 1, 1.25, 1.5, 2, 3, 4, 5, 6, 8, 10, 15, 20, 30, 45, 60, 120, 300, 600, 1200, 3600)  # fmt: skip  # noqa: E501
TTFT = (0.005, 0.01, 0.025, 0.05, 0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 12.8, 30, 60, 300)
SIZES = tuple(4.0**power for power in range(3, 16))
TOKENS = tuple(2.0**power for power in range(0, 21, 2))
SCHEDULER = (0.0001, 0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1)

SERIES_LIMIT = 250
"""Triples of pool, model name and target with labels of their own, 20 KB of a page each; later ones are of no
pool and `other`."""

OTHER = "other"
"""Label of every name that is neither configured nor listed by an endpoint: clients may invent any."""

CLIENTS_FAULT = frozenset(
    {
        "bad-request",
        "deadline",
        "displaced",
        "evicted",
        "over-quota",
        "queue-full",
        "saturated",
        "too-large",
        "ttl-expired",
        "unknown-model",
    }
)
"""Reasons of refusals that are answered with a status of the class 4xx; all others with one of 5xx."""

Key = tuple[str, str, str]
"""Pool, model name, target."""

Shed = tuple[str, int, str, str]
"""Pool, priority, objective (`OTHER` when it is not configured, empty when none was asked for), reason."""


class Histogram:
    """Counts between bounds; adding a value costs a quarter of what the library's own class takes."""

    __slots__ = ("bounds", "counts", "total")

    def __init__(self, bounds: Sequence[float]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0.0

    def observe(self, value: float) -> None:
        """One more."""
        self.counts[bisect_left(self.bounds, value)] += 1
        self.total += value


class Series:
    """What was counted in one pool of one model name and its target."""

    __slots__ = (
        "cached_tokens",
        "duration",
        "ended",
        "errors",
        "input_tokens",
        "output_tokens",
        "prompt_tokens",
        "refused",
        "reused_tokens",
        "routed",
        "running",
        "sizes",
        "statuses",
        "ttft",
    )

    def __init__(self) -> None:
        self.routed = 0
        self.refused = 0
        self.running = 0
        self.errors: Counter[str] = Counter()
        """As the Inference Extension has them: reasons of refusals, and `ModelServerError` for all else."""
        self.ended: Counter[str] = Counter()
        """Refusals and failures by our own reasons."""
        self.statuses: Counter[str] = Counter()
        """Requests that have ended, by class of the answer's status."""
        self.prompt_tokens = 0
        self.reused_tokens = 0
        self.duration = Histogram(LATENCY)
        self.sizes = Histogram(SIZES)
        self.input_tokens = Histogram(TOKENS)
        self.output_tokens = Histogram(TOKENS)
        self.cached_tokens = Histogram(TOKENS)
        self.ttft = Histogram(TTFT)


class Counts:
    """Counters and histograms by pool, model name and target."""

    def __init__(
        self,
        knows: Callable[[PoolKey, str], bool],
        knows_objective: Callable[[PoolKey, str], bool],
    ) -> None:
        """*knows* says whether a model name is configured in a pool or listed by one of its endpoints.

        *knows_objective* says whether an objective is configured for a pool.
        """
        self._knows = knows
        self._knows_objective = knows_objective
        self._running: dict[StreamId, Series] = {}
        """Where the requests that run are counted, until they are concluded."""
        self.series: dict[Key, Series] = {}
        self.shed: Counter[Shed] = Counter()
        """Refused requests."""
        self.sessions: Counter[tuple[str, str]] = Counter()
        """Routed requests that name a session, by pool and by what became of it."""
        self.priors: Counter[tuple[str, str]] = Counter()
        """The same of those that go on with a kept answer."""
        self.scheduler = Histogram(SCHEDULER)
        self.cycles = Histogram(SCHEDULER)
        """Seconds that an event took which came while a request waited: who may go was asked."""
        """Seconds the machine needed for a decision."""

    def _of(self, decision: Choice | Decision) -> Series:
        model = decision.model or ""
        target = decision.target_model or model
        key = (str(decision.pool), model, target)
        found = self.series.get(key)
        if found is not None:
            return found
        if not all(not name or self._knows(decision.pool, name) for name in (model, target)):
            key = (str(decision.pool), OTHER, OTHER)
        if key not in self.series and len(self.series) >= SERIES_LIMIT:
            key = ("", OTHER, OTHER)
        return self.series.setdefault(key, Series())

    def decided(
        self, stream: StreamId, request: InferenceRequest, decision: Choice | Decision, took_s: float
    ) -> None:
        """A request was routed or refused; *took_s*: seconds the machine needed."""
        series = self._of(decision)
        series.sizes.observe(request.body_bytes)
        self.scheduler.observe(took_s)
        if decision.chosen:
            series.running += 1
            series.routed += 1
            self._running[stream] = series
            if decision.session is not None:
                self.sessions[str(decision.pool), decision.session] += 1
            if decision.prior is not None:
                self.priors[str(decision.pool), decision.prior] += 1
        else:
            reason = decision.refused or "unknown"
            series.refused += 1
            series.errors[reason] += 1
            series.ended[reason] += 1
            series.statuses["4xx" if reason in CLIENTS_FAULT else "5xx"] += 1
            self._count_shed(decision, reason)

    def _count_shed(self, decision: Choice | Decision, reason: str) -> None:
        objective = decision.objective or ""
        if objective and not self._knows_objective(decision.pool, objective):
            objective = OTHER
        key = (str(decision.pool), decision.priority, objective, reason)
        if key not in self.shed and len(self.shed) >= SERIES_LIMIT:
            key = ("", 0, OTHER, OTHER)
        self.shed[key] += 1

    def concluded(self, stream: StreamId, outcome: Outcome) -> None:
        """What became of a routed request; nothing for one that is not running."""
        series = self._running.pop(stream, None)
        if series is None:
            return
        series.running -= 1
        if outcome.duration_s is not None:
            series.duration.observe(outcome.duration_s)
        if outcome.ttft_s is not None:
            series.ttft.observe(outcome.ttft_s)
        usage = outcome.usage
        if usage is not None:
            series.input_tokens.observe(usage.prompt_tokens)
            series.output_tokens.observe(usage.completion_tokens)
            if usage.cached_tokens is not None:
                series.cached_tokens.observe(usage.cached_tokens)
                series.prompt_tokens += usage.prompt_tokens
                series.reused_tokens += usage.cached_tokens
        status = outcome.status or 0
        series.statuses[f"{status // 100}xx" if 100 <= status < 600 else "none"] += 1
        if outcome.ending == "failed" or (status >= 400 and outcome.ending != "evicted"):
            series.errors["ModelServerError"] += 1
        if outcome.ending != "complete":
            series.ended[outcome.ending] += 1
        elif status >= 400:
            series.ended["server-4xx" if status < 500 else "server-5xx"] += 1
