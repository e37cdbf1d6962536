"""What the demo runs: size of the caches and rate of requests, from workload and preset. Pure."""

import math

import msgspec

from headgate.io.load.workloads import WORKLOADS, Workload
from headgate.scheduling.profiles import PROFILES
from headgate.sim.presets import PRESETS, Preset

PRESSURE = 1.15
"""Offered prompt work, were nothing cached, over what the fleet can prefill: it has to reuse to keep up."""
EASE = 0.65
"""The same where little can be reused, or where bursts are well above the mean."""
CACHE_ROOM = 1.5
"""KV tokens per replica over its even share of what is worth keeping: it fits once, not everywhere."""
SLOWER = 4.0
"""How many times slower the slow servers are."""
FEWEST_PROMPTS = 6
"""A replica's cache holds at least so many mean prompts."""


class DemoSettings(msgspec.Struct, frozen=True, kw_only=True):
    """The command line of `headgate demo`. None: chosen from workload and preset."""

    load: str = "shared-prefix"
    replicas: int = 4
    preset: str = "8b-h100"
    policies: tuple[str, ...] = ("default", "round-robin")
    duration_s: float = 20.0
    """Wall seconds of load per policy."""
    speed: float = 1.0
    """How much faster than real time the simulated servers run."""
    rate: float | None = None
    """Requests per second of the servers' time."""
    kv_tokens: int | None = None
    """KV tokens per replica."""
    max_num_seqs: int | None = None
    """Sequences a replica runs at once."""
    slow: int = 0
    """So many of the replicas, the last ones, are `SLOWER`."""
    scrape_interval_s: float = 0.5
    flow_control: bool = True
    """Requests wait in the gateway while every replica is full."""
    port: int = 8080
    keep: bool = False
    seed: int = 0


class Scene(msgspec.Struct, frozen=True, kw_only=True):
    """Settings with every choice made."""

    settings: DemoSettings
    workload: Workload
    preset: Preset
    rate: float
    """Requests per second of the servers' time."""
    kv_tokens: int

    @property
    def model(self) -> str:
        """The model that the fleet serves."""
        return self.preset.model


def set_scene(settings: DemoSettings) -> Scene:
    """Make the choices that the user left open.

    Raises:
        ValueError: an unknown name, or a number that cannot work.
    """
    workload, preset = WORKLOADS.get(settings.load), PRESETS.get(settings.preset)
    if workload is None:
        raise ValueError(f"no load {settings.load!r}; there are {', '.join(WORKLOADS)}")
    if preset is None:
        raise ValueError(f"no preset {settings.preset!r}; there are {', '.join(PRESETS)}")
    if settings.replicas < 1 or settings.duration_s <= 0 or settings.speed <= 0 or not settings.policies:
        raise ValueError("replicas, duration and speed must be above 0, and there must be a policy")
    if not 0 <= settings.slow <= settings.replicas:
        raise ValueError(f"slow is the number of slow servers, 0 to {settings.replicas}")
    if unknown := [policy for policy in settings.policies if policy not in PROFILES]:
        raise ValueError(f"no policy {unknown[0]!r}; there are {', '.join(PROFILES)}")
    rate = settings.rate or pressing_rate(workload, preset, settings.replicas)
    return Scene(
        settings=settings,
        workload=workload,
        preset=preset,
        rate=rate,
        kv_tokens=settings.kv_tokens or scarce_cache(workload, preset, settings.replicas, rate),
    )


def pressing_rate(workload: Workload, preset: Preset, replicas: int) -> float:
    """Requests per second that are `PRESSURE`, or `EASE`, of what a fleet without caches can do."""
    reuses = workload.groups > 0 and workload.bursts is None
    seconds_each = workload.prompt_tokens * preset.prefill_s + workload.answer_tokens.mean * preset.decode_s
    return (PRESSURE if reuses and not workload.fillers else EASE) * replicas / seconds_each


def scarce_cache(workload: Workload, preset: Preset, replicas: int, rate: float) -> int:
    """KV tokens per replica: the fleet together can keep what will be asked for again, one replica cannot.

    With fillers: so many that these fill the caches twice.
    """
    if workload.fillers:
        half = workload.fillers * workload.filler_tokens / replicas / 2
        return min(preset.kv_tokens, math.ceil(half / preset.block_tokens) * preset.block_tokens)
    shared = workload.groups * workload.system_tokens
    private = workload.prompt_tokens - workload.system_tokens + workload.answer_tokens.mean
    live = rate * (workload.think_s.mean + 1.0) * private if workload.turns[1] > 1 else 0.0
    if not shared and not live:
        return preset.kv_tokens
    wanted = CACHE_ROOM * (shared + live) / replicas
    least = FEWEST_PROMPTS * workload.prompt_tokens
    blocks = math.ceil(max(wanted, least) / preset.block_tokens)
    return min(preset.kv_tokens, blocks * preset.block_tokens)
