"""What a simulated fleet is made of."""

import msgspec

from headgate.io.fleet.faults import Fault
from headgate.sim.presets import PRESETS, Preset


class FleetSettings(msgspec.Struct, frozen=True, kw_only=True):
    """A fleet of equal replicas. None means the preset's own value."""

    replicas: int = 3
    port_base: int = 0
    """Replica *i* listens on `port_base + i`; 0: any free ports."""
    host: str = "127.0.0.1"
    control_port: int | None = None
    """Where faults are set even while a replica is down; None: `port_base - 1`, or any; 0: any."""
    preset: str = "8b-h100"
    """A name in `sim.presets.PRESETS`."""
    model: str | None = None
    loras: tuple[str, ...] = ()
    """Adapters known from the start; more by `/v1/load_lora_adapter`."""
    max_loras: int = 4
    """Adapters on the GPU at a time; 0: the server takes none."""
    speed: float = 1.0
    """Virtual seconds per wall second."""
    seed: int = 0
    kv_tokens: int | None = None
    max_num_seqs: int | None = None
    max_model_len: int | None = None
    answer_tokens: float = 150.0
    """Median length of an answer that nothing cuts short."""
    drain_s: float = 10.0
    """How long running answers may go on after the fleet was told to stop, wall seconds."""
    faults: tuple[tuple[int, Fault], ...] = ()
    """Faults in force from the start: replica number and fault."""


def engine_preset(settings: FleetSettings) -> Preset:
    """The preset with the user's changes. Raises ValueError for settings that cannot work."""
    preset = PRESETS.get(settings.preset)
    if preset is None:
        raise ValueError(f"no preset {settings.preset!r}; there are {', '.join(sorted(PRESETS))}")
    if settings.replicas < 1 or settings.speed <= 0:
        raise ValueError("a fleet has at least one replica and a speed above 0")
    if any(replica not in range(settings.replicas) for replica, _ in settings.faults):
        raise ValueError(f"a fault names a replica that is not in 0..{settings.replicas - 1}")
    kv_tokens = settings.kv_tokens or preset.kv_tokens
    if kv_tokens < preset.block_tokens:
        raise ValueError(f"the KV cache must hold at least one block of {preset.block_tokens} tokens")
    whole_blocks = kv_tokens // preset.block_tokens * preset.block_tokens
    return msgspec.structs.replace(
        preset,
        model=settings.model or preset.model,
        kv_tokens=kv_tokens,
        max_seqs=settings.max_num_seqs or preset.max_seqs,
        max_model_len=min(settings.max_model_len or preset.max_model_len, whole_blocks),
    )
