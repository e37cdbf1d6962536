"""Saved pages of every engine, read."""

import math
from pathlib import Path

import hypothesis.strategies as st
import msgspec
import pytest
from hypothesis import given

from headgate.engines import LoadReader, read_load
from headgate.engines.api import MOST_BLOCK_TOKENS, MOST_KV_TOKENS, MOST_REQUESTS
from headgate.engines.exposition import MOST_LINES
from headgate.engines.plugins.vllm import MOST_ADAPTERS
from headgate.engines.reader import ENGINES
from headgate.model.load import Load

DATA = Path(__file__).parent / "data"

EXPECTED = {
    "vllm.txt": Load(
        engine="vllm",
        waiting=3,
        running=7,
        kv_used=0.25,
        block_tokens=16,
        kv_blocks=27125,
        loras_running=("food-review-1", "sql-helper"),
        loras_waiting=("food-review-2",),
        lora_limit=4,
        progress=481516 + 15162,
    ),
    "vllm_data_parallel.txt": Load(
        engine="vllm",
        waiting=4,
        running=12,
        kv_used=0.5,
        block_tokens=16,
        kv_blocks=27125,
        progress=481516 + 15162 + 2342 + 342,
    ),
    "vllm_v0.txt": Load(engine="vllm", waiting=3, running=7, kv_used=0.375, progress=481516 + 15162),
    "sglang.txt": Load(
        engine="sglang",
        waiting=4,
        running=12,
        kv_used=0.2,
        block_tokens=16,
        kv_blocks=19200,
        progress=3128902 + 5000000 + 7557612,
    ),
    "trtllm.txt": Load(
        engine="trtllm-serve", waiting=2, running=9, kv_used=0.4375, block_tokens=32, kv_blocks=13000
    ),
    "triton_tensorrt_llm.txt": Load(
        engine="triton", waiting=6, running=11, kv_used=0.0625, block_tokens=64, kv_blocks=6248
    ),
    "triton.txt": Load(engine="triton", waiting=5, running=0),
}


@pytest.mark.parametrize("name", sorted(EXPECTED))
def test_a_saved_page(name: str) -> None:
    assert read_load((DATA / name).read_bytes()) == EXPECTED[name]


def test_tokens_counted_at_the_end_of_requests_are_no_progress() -> None:
    page = (DATA / "sglang.txt").read_bytes()
    older = b"\n".join(line for line in page.split(b"\n") if not line.startswith(b"sglang:realtime"))
    load = read_load(older)
    assert load is not None
    assert (load.progress, load.running) == (None, 12)


def test_every_saved_page_is_expected_and_every_engine_has_one() -> None:
    assert {path.name for path in DATA.glob("*.txt")} == set(EXPECTED)
    assert {load.engine for load in EXPECTED.values()} == {engine.name for engine in ENGINES}


@pytest.mark.parametrize(
    "page",
    [b"", b"\n", b"<html>not metrics</html>", b"http_requests_total 5\n", b"vllm:num_requests_waiting"],
)
def test_a_foreign_page_is_no_load(page: bytes) -> None:
    assert read_load(page) is None


def test_a_reader_follows_an_endpoint_that_changes_its_engine() -> None:
    reader = LoadReader()
    for name in ("vllm.txt", "sglang.txt", "vllm.txt", "trtllm.txt"):
        assert reader.read((DATA / name).read_bytes()) == EXPECTED[name]


def test_a_load_that_did_not_change_is_the_same_one_whatever_else_moved() -> None:
    reader = LoadReader()
    page = (DATA / "vllm.txt").read_bytes()
    load = reader.read(page)
    assert reader.read(page.replace(b"1.0737418e+09", b"1.0737420e+09")) is load
    moved = reader.read(page.replace(b" 15162.0", b" 15163.0"))
    assert moved is not None
    assert load is not None
    assert moved.progress == (load.progress or 0) + 1


@pytest.mark.parametrize(
    ("line", "started"),
    [
        (b"process_start_time_seconds 1.75e+09", 1.75e9),
        (b"process_start_time_seconds nan", None),
        (b"process_start_time_seconds_of_others 7", None),
        (b"", None),
    ],
)
@pytest.mark.parametrize("name", ["vllm.txt", "sglang.txt", "trtllm.txt"])
@pytest.mark.parametrize("first", [True, False])
def test_when_the_process_began(name: str, line: bytes, started: float | None, first: bool) -> None:
    page = b"".join(
        each
        for each in (DATA / name).read_bytes().splitlines(keepends=True)
        if not each.startswith(b"process_start_time_seconds")
    )
    page = line + b"\n" + page if first else page + line + b"\n"
    load, before = LoadReader().read(page), EXPECTED[name]
    assert load == msgspec.structs.replace(before, started=started)


NUMBERS = ["NaN", "+Inf", "-Inf", "-5", "0", "3", "1e30", "1.7e308", "1e300", "1e-300", "9" * 400, "x"]
LABELS = ["16", "0", "-1", "1e300", "inf", "nan", "", "9" * 400, "None"]


@given(data=st.data())
def test_whatever_numbers_a_page_has_the_load_is_bounded(data: st.DataObject) -> None:
    engine = data.draw(st.sampled_from(ENGINES))
    lines = []
    for name in engine.names():
        for _ in range(data.draw(st.integers(0, 2))):
            label = data.draw(st.sampled_from(LABELS))
            labels = ",".join(
                f'{key}="{label}"'
                for key in ("block_size", "num_gpu_blocks", "page_size", "num_pages", "max_lora")
            )
            kinds = 'request_type="waiting",kv_cache_block_type="max",'
            lines.append(f"{name}{{{kinds}{labels}}} {data.draw(st.sampled_from(NUMBERS))}")
    load = read_load("\n".join(["#", *lines]).encode())
    if load is None:
        return
    assert 0 <= load.waiting <= MOST_REQUESTS
    assert 0 <= load.running <= MOST_REQUESTS
    assert load.kv_used is None or 0.0 <= load.kv_used <= 1.0
    assert load.block_tokens is None or 1 <= load.block_tokens <= MOST_BLOCK_TOKENS
    assert load.kv_blocks is None or 1 <= load.kv_blocks * (load.block_tokens or 1) <= MOST_KV_TOKENS
    assert load.progress is None or math.isfinite(load.progress)


def test_what_one_page_may_list_is_bounded() -> None:
    gauge = "vllm:lora_requests_info"
    series = [
        f'{gauge}{{max_lora="{"9" * 6000}",running_lora_adapters="{names}"}} 5'
        for names in ("a," * 20_000, "a" * 2000)
    ]
    many = ",".join(f"a{number}" for number in range(2000))
    series.append(f'{gauge}{{max_lora="2",running_lora_adapters="{many},{"b" * 600}"}} 7')
    load = read_load("\n".join(["#", "vllm:num_requests_waiting 1", *series]).encode())
    assert load is not None
    assert len(load.loras_running) == MOST_ADAPTERS
    assert max(map(len, load.loras_running)) < 600
    waiting = "vllm:num_requests_waiting 1\n" * (MOST_LINES + 5)
    load = read_load(b"#\n" + waiting.encode())
    assert load is not None
    assert load.waiting == MOST_LINES


def vllm_page(*lines: str) -> bytes:
    return "\n".join(["vllm:num_requests_waiting 0.0", *lines, ""]).encode()


def test_the_block_count_of_all_ranks_is_not_added_up_again() -> None:
    page = vllm_page(
        'vllm:cache_config_info{block_size="16",engine="0",num_gpu_blocks="1000"} 1.0',
        'vllm:cache_config_info{block_size="16",engine="1",num_gpu_blocks="1000"} 1.0',
        'vllm:cache_config_info{block_size="16",engine="2",num_gpu_blocks="None"} 1.0',
    )
    load = read_load(page)
    assert load is not None
    assert load.kv_blocks == 1000


def test_adapters_of_equally_new_series_are_merged() -> None:
    name = "vllm:lora_requests_info"
    page = vllm_page(
        f'{name}{{max_lora="2",running_lora_adapters="old",waiting_lora_adapters=""}} 1.763599e+09',
        f'{name}{{max_lora="2",running_lora_adapters="sql",waiting_lora_adapters="legal, code"}} 1.7636e+09',
        f'{name}{{max_lora="4",running_lora_adapters="legal",waiting_lora_adapters=""}} 1.7636e+09',
    )
    load = read_load(page)
    assert load is not None
    assert (load.loras_running, load.loras_waiting, load.lora_limit) == (
        ("legal", "sql"),
        ("code", "legal"),
        4,
    )


@pytest.mark.parametrize(
    ("states", "asleep"),
    [
        ({"awake": 1, "weights_offloaded": 0, "discard_all": 0}, False),
        ({"awake": 0, "weights_offloaded": 1, "discard_all": 0}, True),
        ({"awake": 0, "weights_offloaded": 0, "discard_all": 1}, True),
        ({}, False),
    ],
)
def test_an_engine_that_sleeps_is_asleep(states: dict[str, int], asleep: bool) -> None:
    series = [
        f'vllm:engine_sleep_state{{engine="0",model_name="m",sleep_state="{state}"}} {value}.0'
        for state, value in states.items()
    ]
    load = read_load(vllm_page(*series))
    assert load is not None
    assert load.asleep is asleep
