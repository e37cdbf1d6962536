"""The metrics page, read back by a Prometheus parser and by our own engine reader."""

import random

import pytest
from prometheus_client.parser import text_string_to_metric_families

from headgate.engines.reader import read_load
from headgate.io.fleet.metrics import Histogram, Instruments
from headgate.sim.engine import EngineModel, EngineRequest
from headgate.sim.presets import PRESETS


def samples(page: str) -> dict[tuple[str, ...], float]:
    """By name and the labels that are not always the same."""
    found = {}
    for family in text_string_to_metric_families(page):
        for sample in family.samples:
            labels = sorted(f"{k}={v}" for k, v in sample.labels.items() if k not in ("model_name", "engine"))
            found[sample.name, *labels] = sample.value
    return found


@pytest.fixture
def busy() -> EngineModel:
    """Two requests run, one of them with an adapter, and one waits."""
    engine = EngineModel(PRESETS["8b-h100"], random.Random(0), max_adapters=1)
    for number, adapter in ((1, "sql"), (2, None), (3, "legal")):
        engine.submit(EngineRequest(id=number, prompt_tokens=1_600, output_tokens=100, adapter=adapter), 0.0)
    engine.advance(0.5)
    return engine


def test_the_page_says_what_the_engine_does(busy: EngineModel) -> None:
    page = samples(Instruments(1_699_999_000.25).page(busy, "m", 1_700_000_000.5))
    assert page["vllm:num_requests_running",] == 2
    assert page["vllm:num_requests_waiting",] == 1
    assert page["vllm:kv_cache_usage_perc",] == pytest.approx(busy.cache.usage)
    assert page["vllm:prompt_tokens_total",] == 3_200
    assert page["vllm:generation_tokens_total",] == busy.totals.generated_tokens > 0
    assert page["vllm:request_success_total", "finished_reason=stop"] == 0
    series = (
        "vllm:lora_requests_info",
        "max_lora=1",
        "running_lora_adapters=sql",
        "waiting_lora_adapters=legal",
    )
    assert page[series] == 1_700_000_000.5


def test_our_own_reader_understands_it(busy: EngineModel) -> None:
    load = read_load(Instruments(1_699_999_000.25).page(busy, 'odd "name"\\', 1_700_000_000.0).encode())
    assert load is not None
    assert (load.engine, load.running, load.waiting) == ("vllm", 2, 1)
    assert (load.block_tokens, load.kv_blocks) == (16, 27_125)
    assert load.started == 1_699_999_000.25
    assert (load.loras_running, load.loras_waiting, load.lora_limit) == (("sql",), ("legal",), 1)


def test_adapters_are_absent_until_one_was_used_and_old_series_stay_behind(busy: EngineModel) -> None:
    instruments = Instruments(1_699_999_000.25)
    idle = EngineModel(PRESETS["8b-h100"], random.Random(0), max_adapters=1)
    assert "lora_requests_info" not in instruments.page(idle, "m", 1.0)
    instruments.page(busy, "m", 2.0)
    busy.advance(1e6)
    page = samples(instruments.page(busy, "m", 3.0))
    values = sorted(value for key, value in page.items() if key[0] == "vllm:lora_requests_info")
    assert values == [2.0, 3.0]


def test_histograms_count_up_to_their_bounds() -> None:
    histogram = Histogram("h", "About.", (0.1, 1.0))
    histogram.observe(0.1)
    histogram.observe(0.5, times=3)
    histogram.observe(7.0)
    page = samples("\n".join(histogram.lines('engine="0"')) + "\n")
    assert [page["h_bucket", f"le={bound}"] for bound in ("0.1", "1.0", "+Inf")] == [1, 4, 5]
    assert page["h_count",] == 5
    assert page["h_sum",] == pytest.approx(8.6)
