"""Settings to a preset."""

import pytest

from headgate.io.fleet.faults import Fault
from headgate.io.fleet.settings import FleetSettings, engine_preset
from headgate.sim.presets import PRESETS


def test_what_the_user_does_not_say_is_the_presets() -> None:
    assert engine_preset(FleetSettings(preset="70b-tp4-h100")) == PRESETS["70b-tp4-h100"]


def test_what_the_user_says_wins() -> None:
    preset = engine_preset(FleetSettings(model="m", kv_tokens=1_000, max_num_seqs=5))
    assert (preset.model, preset.kv_tokens, preset.max_seqs) == ("m", 1_000, 5)


def test_the_context_is_never_longer_than_the_cache() -> None:
    assert engine_preset(FleetSettings(kv_tokens=1_000)).max_model_len == 992
    assert engine_preset(FleetSettings(max_model_len=500)).max_model_len == 500


@pytest.mark.parametrize(
    "settings",
    [
        FleetSettings(preset="900b-abacus"),
        FleetSettings(replicas=0),
        FleetSettings(speed=0.0),
        FleetSettings(kv_tokens=15),
        FleetSettings(replicas=2, faults=((2, Fault(kind="hang")),)),
    ],
)
def test_settings_that_cannot_work_are_refused(settings: FleetSettings) -> None:
    with pytest.raises(ValueError, match=r"."):
        engine_preset(settings)
