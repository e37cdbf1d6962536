"""Presets: published calibrations come out of the constants."""

import pytest

from headgate.sim.presets import PRESETS


@pytest.mark.parametrize(
    ("name", "tokens_per_s"),
    [("32b-tp2-h100", 15_928), ("gpt-oss-120b-h100", 39_065)],
)
def test_prefill_throughput_is_the_published_one(name: str, tokens_per_s: float) -> None:
    preset = PRESETS[name]
    chunk = preset.max_batched_tokens
    modelled = chunk / (preset.step_s + preset.prefill_s * chunk)
    assert modelled == pytest.approx(tokens_per_s, rel=0.1)


@pytest.mark.parametrize("preset", PRESETS.values(), ids=lambda preset: preset.name)
def test_a_request_of_full_length_fits_into_the_cache(preset) -> None:  # type: ignore[no-untyped-def]
    longest_blocks = -(-preset.max_model_len // preset.block_tokens)
    assert longest_blocks <= preset.blocks or preset.name == "gpt-oss-120b-h100"


def test_a_bigger_gpu_share_is_faster() -> None:
    assert PRESETS["70b-tp8-h100"].step_s < PRESETS["70b-tp4-h100"].step_s
    assert PRESETS["8b-h100"].prefill_s < PRESETS["8b-a100"].prefill_s
