"""The mapping contract on small pages."""

import pytest

from headgate.engines.api import EngineMetrics, Metric
from headgate.model.load import Load

ENGINE = EngineMetrics(
    name="toy",
    waiting=(Metric("toy_queue", where=("kind", "all")),),
    running=(Metric("toy_running_new"), Metric("toy_running")),
    kv_used=(Metric("toy_kv"),),
    block_tokens=(Metric("toy_info", label="block"),),
    kv_blocks=(Metric("toy_info", label="blocks"),),
    progress=(Metric("toy_in"), Metric("toy_out")),
)


def load(page: str) -> Load | None:
    return ENGINE.load(ENGINE.extractor().samples(page.encode()))


QUEUE = 'toy_queue{kind="all"} 2\n'


@pytest.mark.parametrize(
    ("page", "expected"),
    [
        ("toy_running 1\n", None),
        ('toy_queue{kind="other"} 9\n', None),
        (QUEUE, Load(engine="toy", waiting=2, running=0)),
        (QUEUE + QUEUE, Load(engine="toy", waiting=4, running=0)),
        (QUEUE + "toy_running 3\n", Load(engine="toy", waiting=2, running=3)),
        (QUEUE + "toy_running 3\ntoy_running_new 4\n", Load(engine="toy", waiting=2, running=4)),
        (QUEUE + "toy_kv +Inf\n", Load(engine="toy", waiting=2, running=0)),
        (QUEUE + "toy_kv NaN\n", Load(engine="toy", waiting=2, running=0)),
        (QUEUE + "toy_kv 1.5\n", Load(engine="toy", waiting=2, running=0, kv_used=1.0)),
        (QUEUE + "toy_running -1\n", Load(engine="toy", waiting=2, running=0)),
        (
            QUEUE + 'toy_info{block="16",blocks="None"} 1\n',
            Load(engine="toy", waiting=2, running=0, block_tokens=16),
        ),
        (QUEUE + 'toy_info{block="0",blocks="7"} 1\n', Load(engine="toy", waiting=2, running=0, kv_blocks=7)),
        (QUEUE + "toy_in 5\ntoy_out 6\n", Load(engine="toy", waiting=2, running=0, progress=11.0)),
        (QUEUE + "toy_out 0\n", Load(engine="toy", waiting=2, running=0, progress=0.0)),
    ],
)
def test_load(page: str, expected: Load | None) -> None:
    assert load(page) == expected


def test_names_are_each_named_once() -> None:
    assert ENGINE.names() == (
        "toy_queue",
        "toy_running_new",
        "toy_running",
        "toy_kv",
        "toy_info",
        "toy_in",
        "toy_out",
    )
