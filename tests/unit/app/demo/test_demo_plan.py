"""The demo's choices."""

import pytest

from headgate.app.demo.plan import DemoSettings, pressing_rate, scarce_cache, set_scene
from headgate.io.load.workloads import WORKLOADS
from headgate.sim.presets import PRESETS


@pytest.mark.parametrize("load", WORKLOADS)
@pytest.mark.parametrize("preset", PRESETS)
def test_a_scene_is_within_the_preset(load: str, preset: str) -> None:
    scene = set_scene(DemoSettings(load=load, preset=preset))
    assert 0 < scene.kv_tokens <= scene.preset.kv_tokens
    assert scene.kv_tokens % scene.preset.block_tokens == 0 or scene.kv_tokens == scene.preset.kv_tokens
    assert scene.model == scene.preset.model


def test_the_caches_hold_everything_together_and_none_holds_it_alone() -> None:
    workload, preset = WORKLOADS["shared-prefix"], PRESETS["8b-h100"]
    shared = workload.groups * workload.system_tokens
    tokens = scarce_cache(workload, preset, 4, 20.0)
    assert tokens < shared / 2
    assert 4 * tokens > shared


def test_the_rate_grows_with_the_fleet_and_its_speed_of_prefill() -> None:
    workload = WORKLOADS["shared-prefix"]
    assert pressing_rate(workload, PRESETS["8b-h100"], 8) == 2 * pressing_rate(
        workload, PRESETS["8b-h100"], 4
    )
    assert pressing_rate(workload, PRESETS["8b-h100"], 4) > pressing_rate(workload, PRESETS["8b-a100"], 4)


def test_what_the_user_says_counts() -> None:
    scene = set_scene(DemoSettings(rate=3.0, kv_tokens=5_000))
    assert (scene.rate, scene.kv_tokens) == (3.0, 5_000)


def test_nothing_shared_needs_no_scarce_cache() -> None:
    assert set_scene(DemoSettings(load="unique")).kv_tokens == PRESETS["8b-h100"].kv_tokens


def test_fillers_fill_the_caches_twice() -> None:
    workload = WORKLOADS["hot-prefix"]
    scene = set_scene(DemoSettings(load="hot-prefix"))
    assert 2 * 4 * scene.kv_tokens == workload.fillers * workload.filler_tokens
    assert scene.kv_tokens > 10 * workload.prompt_tokens


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        (DemoSettings(replicas=2, slow=3), "number of slow servers, 0 to 2"),
        (DemoSettings(slow=-1), "number of slow servers"),
        (DemoSettings(load="heavy"), "shared-prefix"),
        (DemoSettings(preset="9b"), "8b-h100"),
        (DemoSettings(replicas=0), "above 0"),
        (DemoSettings(duration_s=0), "above 0"),
        (DemoSettings(policies=()), "a policy"),
        (DemoSettings(policies=("default", "best")), "no policy 'best'; there are default"),
    ],
)
def test_nonsense_is_refused_with_what_there_is(settings: DemoSettings, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        set_scene(settings)
