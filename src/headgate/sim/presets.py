"""Constants of the engine model for models and GPUs people serve.

Step constants and KV sizes are fitted to published kernel profiles and to published end-to-end prefill
calibrations; KV tokens follow from GPU memory at 0.9 utilisation less weights, over bytes per token. The
constants are good for the order of policies and for shapes of curves, not for capacity promises.
"""

import msgspec


class Preset(msgspec.Struct, frozen=True, kw_only=True):
    """One model on one server. A step of the engine takes
    `step_s + prefill_s·prefill_tokens + decode_s·decoding_sequences + context_s·their_context_tokens`.
    """

    name: str
    model: str
    """Name served when the user gives none."""
    gpu: str
    step_s: float
    """A: seconds of an empty step (weights are read once)."""
    prefill_s: float
    """PF: seconds per prompt token computed."""
    decode_s: float
    """DB: seconds per decoding sequence."""
    context_s: float
    """CT: seconds per token of context that decoding sequences attend to."""
    kv_tokens: int
    """Tokens the KV cache holds."""
    max_model_len: int = 131_072
    """Longest prompt plus answer, tokens."""
    max_batched_tokens: int = 8_192
    """Token budget of one step: one per decoding sequence, the rest for prefill chunks."""
    max_seqs: int = 1_024
    """Most sequences in the running batch."""
    block_tokens: int = 16
    """Tokens per KV block."""
    overhead_s: float = 0.03
    """HTTP, tokenizer and scheduling time before a request enters the engine's queue."""
    jitter: float = 0.1
    """Step times are spread evenly over ± this fraction."""
    adapter_load_s: float = 0.15
    """Time a step is held up by bringing one LoRA adapter onto the GPU."""

    @property
    def blocks(self) -> int:
        """KV blocks in all."""
        return self.kv_tokens // self.block_tokens


PRESETS: dict[str, Preset] = {
    preset.name: preset
    for preset in (
        Preset(
            name="8b-h100", model="meta-llama/Llama-3.1-8B-Instruct", gpu="1x H100",
            step_s=6.5e-3, prefill_s=33e-6, decode_s=20e-6, context_s=49e-9, kv_tokens=434_000,
        ),
        Preset(
            name="8b-a100", model="meta-llama/Llama-3.1-8B-Instruct", gpu="1x A100 80GB",
            step_s=11e-3, prefill_s=75e-6, decode_s=30e-6, context_s=80e-9, kv_tokens=434_000,
            max_batched_tokens=2_048, max_seqs=256,
        ),
        Preset(
            name="32b-tp2-h100", model="Qwen/Qwen3-32B", gpu="2x H100",
            step_s=14e-3, prefill_s=62.8e-6, decode_s=20e-6, context_s=48e-9, kv_tokens=307_328,
            max_model_len=40_960,
        ),
        Preset(
            name="70b-tp4-h100", model="meta-llama/Llama-3.1-70B-Instruct", gpu="4x H100",
            step_s=22e-3, prefill_s=72e-6, decode_s=30e-6, context_s=30e-9, kv_tokens=460_000,
        ),
        Preset(
            name="70b-tp8-h100", model="meta-llama/Llama-3.1-70B-Instruct", gpu="8x H100",
            step_s=15e-3, prefill_s=46e-6, decode_s=30e-6, context_s=15e-9, kv_tokens=1_350_000,
        ),
        Preset(
            name="gpt-oss-120b-h100", model="openai/gpt-oss-120b", gpu="1x H100",
            step_s=7e-3, prefill_s=25.6e-6, decode_s=20e-6, context_s=20e-9, kv_tokens=125_000,
        ),
    )
}  # fmt: skip
"""By name, e.g. `8b-h100`."""
