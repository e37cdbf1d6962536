"""`headgate fleet` as users start it, asked by the real `openai` client."""

import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

import openai
import psutil
import pytest
from tests.live.harness.fleet import Replicas, replicas
from tests.live.harness.processes import HEADGATE, Child, eventually, run_headgate

pytestmark = pytest.mark.live


@pytest.fixture(scope="module")
def fleet() -> Iterator[Replicas]:
    with replicas(3, "--speed", "20", "--model", "m", "--lora", "sql") as started:
        yield started


def asking(fleet: Replicas) -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{fleet.urls[0]}/v1", api_key="none", max_retries=0)


@pytest.fixture
def client(fleet: Replicas) -> Iterator[openai.OpenAI]:
    with asking(fleet) as made:
        yield made


MESSAGES: list[Any] = [{"role": "user", "content": "What is a headgate?"}]


def test_chat_whole_and_streamed_say_the_same(client: openai.OpenAI) -> None:
    whole = client.chat.completions.create(model="m", messages=MESSAGES, max_tokens=40)
    stream = client.chat.completions.create(
        model="m", messages=MESSAGES, max_tokens=40, stream=True, stream_options={"include_usage": True}
    )
    chunks = list(stream)
    assert chunks[0].choices[0].delta.role == "assistant"
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert text == whole.choices[0].message.content
    assert [c.choices[0].finish_reason for c in chunks if c.choices][-1] == whole.choices[0].finish_reason
    assert whole.usage is not None
    assert chunks[-1].usage is not None
    assert chunks[-1].usage.completion_tokens == whole.usage.completion_tokens <= 40


def test_completions_whole_and_streamed_say_the_same(client: openai.OpenAI) -> None:
    whole = client.completions.create(model="sql", prompt=["one", "two"], max_tokens=30, n=2)
    assert [choice.index for choice in whole.choices] == [0, 1, 2, 3]
    texts = ["", "", "", ""]
    for chunk in client.completions.create(
        model="sql", prompt=["one", "two"], max_tokens=30, n=2, stream=True
    ):
        texts[chunk.choices[0].index] += chunk.choices[0].text
    assert texts == [choice.text for choice in whole.choices]


def test_a_stop_string_is_honoured(client: openai.OpenAI) -> None:
    whole = client.completions.create(model="m", prompt="x", max_tokens=60).choices[0].text
    word = whole[20:24]
    cut = client.completions.create(model="m", prompt="x", max_tokens=60, stop=word).choices[0]
    assert cut.text == whole[: whole.index(word)]
    assert cut.finish_reason == "stop"


def test_models_and_errors(client: openai.OpenAI) -> None:
    assert [model.id for model in client.models.list()] == ["m", "sql"]
    with pytest.raises(openai.NotFoundError, match="does not exist"):
        client.completions.create(model="nobody", prompt="x")
    with pytest.raises(openai.BadRequestError, match="maximum context length"):
        client.completions.create(model="m", prompt="x" * 600_000)


def test_an_idle_fleet_costs_next_to_nothing(fleet: Replicas) -> None:
    process = psutil.Process(fleet.child.process.pid)
    before = process.cpu_times()
    time.sleep(1.0)
    after = process.cpu_times()
    assert after.user + after.system - before.user - before.system < 0.05


def test_sigterm_drains_and_exits_cleanly() -> None:
    with replicas(1, "--speed", "2", "--model", "m", "--drain-s", "30") as fleet:
        with asking(fleet) as client:
            stream = client.completions.create(
                model="m", prompt="x", max_tokens=150, stream=True, extra_body={"ignore_eos": True}
            )
            text = next(stream).choices[0].text
            fleet.child.signal(signal.SIGTERM)
            text += "".join(chunk.choices[0].text for chunk in stream)
        assert len(text) == 600
        assert fleet.child.end(5) == 0


def test_told_to_end_it_may_take_requests_for_a_while() -> None:
    with replicas(1, "--model", "m", "--speed", "50", "--drain-delay", "60s") as fleet:
        fleet.child.signal(signal.SIGTERM)
        time.sleep(0.5)
        with asking(fleet) as client:
            assert client.completions.create(model="m", prompt="x", max_tokens=2).choices
        fleet.child.signal(signal.SIGTERM)
        assert fleet.child.end(2) == -signal.SIGTERM


def test_a_second_signal_ends_it_at_once() -> None:
    with (
        replicas(1, "--model", "m", "--drain-s", "30") as fleet,
        asking(fleet) as client,
    ):
        stream = client.completions.create(
            model="m", prompt="x", max_tokens=10_000, stream=True, extra_body={"ignore_eos": True}
        )
        next(stream)
        fleet.child.signal(signal.SIGINT)
        time.sleep(0.3)
        assert fleet.child.process.poll() is None
        fleet.child.signal(signal.SIGINT)
        assert fleet.child.end(2) == -signal.SIGINT
        stream.close()


def test_it_ends_with_its_parent() -> None:
    options = ["fleet", "--replicas", "1", "--port-base", "0", "--output", "json", "--die-with-parent"]
    script = (
        "import subprocess, sys\n"
        f"child = subprocess.Popen({[*HEADGATE, *options]!r}, stdout=subprocess.PIPE, text=True)\n"
        "assert child.stdout.readline(), 'it did not start'\n"
        "print(child.pid, flush=True)\n"
    )
    told = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=20, check=True
    )
    pid = int(told.stdout)
    eventually(lambda: not _alive(pid), 5)


def _alive(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def test_a_taken_port_and_nonsense_are_clear_errors() -> None:
    with replicas(1) as fleet:
        port = fleet.urls[0].rpartition(":")[2]
        taken = run_headgate("fleet", "--replicas", "1", "--port-base", port, "--control-port", "0")
    assert taken.returncode == 1
    assert f"cannot listen on http://127.0.0.1:{port}" in taken.stderr
    assert "Traceback" not in taken.stderr
    for options, word in (
        (("--preset", "none"), "no preset"),
        (("--fault", "1:explode"), "--fault 1:explode"),
    ):
        wrong = run_headgate("fleet", "--port-base", "0", *options)
        assert (wrong.returncode, word in wrong.stderr) == (1, True), wrong.stderr


def test_the_text_output_is_ready_to_copy() -> None:
    options = ("--replicas", "2", "--port-base", "0", "--fault", "1:error-500")
    child = Child([*HEADGATE, "fleet", *options], env={"COLUMNS": "80"})
    try:
        child.wait_for(lambda line: "headgate run" in line)
        said = "".join(f"{line}\n" for line in child.out)
    finally:
        child.stop()
    urls = re.findall(r"replica-\d +(http://127\.0\.0\.1:\d+) ", said)
    assert f"headgate run {' '.join(urls)}\n" in said
    assert len(urls) == 2
    assert "error-500" in said
    assert f"curl {urls[0]}/v1/completions" in said
