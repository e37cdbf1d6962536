"""What an operator may tune about a pool's machine. Times are in seconds."""

import msgspec

from headgate.flow.settings import FlowSettings
from headgate.scheduling.costs import H100_8B, StepCosts


class HealthSettings(msgspec.Struct, frozen=True, kw_only=True):
    """When an endpoint stops being chosen, and how it comes back."""

    error_streak: int = 3
    """Consecutive requests answered with a 5xx until the endpoint counts as erroring."""
    first_backoff_s: float = 1.0
    """Rest before the first trial request; doubles with every trial that fails."""
    longest_backoff_s: float = 30.0
    cool_down_s: float = 0.5
    """Rest after a 429, or after another endpoint had to serve in its place."""
    patience_s: float = 0.5
    """A request that waits longer than this, and than one and a half times its predicted time, is overdue."""
    quiet_s: float = 0.75
    """An endpoint with an overdue request and no sign of life for so long is hanging."""
    blind_factor: float = 3.0
    blind_patience_s: float = 2.0
    """Without a progress counter a request is overdue after factor times its prediction plus this."""
    stall_s: float = 5.0
    """Answers under way while the progress counter stands still for so long: the engine is hanging."""
    latest: float = 32.0
    """An endpoint's first tokens are believed to come so many times later than predicted, at most."""
    first_sight_s: float = 5.0
    """A new endpoint of which nobody can say whether it is alive is tried after so long."""
    doubt_s: float = 1.0
    """After an answer that broke off nobody who can wait is sent there before a scrape, but for so long."""
    trial_s: float = 5.0
    """A trial request that was not refused for so long was taken by somebody."""
    ramp_s: float = 10.0
    """Length of a slow start."""
    ramp_start: float = 0.1
    """Share of the mean load at which a slow start begins."""
    blip_s: float = 5.0
    """A suspicion that ends sooner than this needs no slow start."""


class AdmissionSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Who is refused when the pool is saturated; saturation 1: all healthy endpoints have their fill."""

    waiting_limit: float = 5.0
    """Waiting requests at which an endpoint counts as full."""
    kv_limit: float = 0.95
    """KV-cache use at which an endpoint counts as full, 0..1."""
    refuse_negative_from: float = 1.0
    """Saturation from which requests of negative priority are refused; those without a priority never are."""
    refuse_zero_from: float = 4.0
    """Saturation from which requests of priority 0 are refused; positive priorities never are."""
    step_tokens: int = 8192
    """Prompt tokens that an engine takes up in one step; more than that has to wait."""


class MachineSettings(msgspec.Struct, frozen=True, kw_only=True):
    """All of them; the defaults are what `headgate run` uses, but for `flow`."""

    health: HealthSettings = HealthSettings()
    admission: AdmissionSettings = AdmissionSettings()
    flow: FlowSettings | None = None
    """Who waits while every endpoint has its fill; None: nobody does, and `admission` refuses instead."""
    hold_empty_s: float = 0.0
    """With `flow`: so long a request waits for a pool without endpoints to get one."""
    trusted: frozenset[str] = frozenset({"fairness", "objective", "slo"})
    """What is believed of requests' headers: fairness id, objective, deadlines."""
    most_sessions: int = 100_000
    """Sessions whose endpoints are remembered; each takes some 300 bytes."""
    session_idle_s: float = 3600.0
    """A session that sent nothing for so long is forgotten."""
    most_answers: int = 100_000
    """Kept answers whose endpoints are remembered; each takes some 300 bytes."""
    answer_idle_s: float = 86400.0
    """One that nobody asked for so long is forgotten."""
    costs: StepCosts = H100_8B
    """For predictions; the default profile's scorers carry the same constants."""
    stale_s: float = 5.0
    """A scrape older than this is not believed."""
    tick_s: float = 0.1
    """How often time alone is looked at."""
    longest_request_s: float = 3600.0
    """A request nobody told the end of is given up after this."""
    idle_s: float = 30.0
    """A pool without a decision for so long takes a new endpoint in without slow start."""
    no_endpoints_retry_s: int = 5
    story: int = 200
    """Events remembered for failure reports."""
