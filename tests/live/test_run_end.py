"""How the real `headgate run` ends: streams first, whoever sends the signals and however slow Envoy's admin is."""

import http.client
import os
import signal
import socket
import time
from collections.abc import Iterator
from functools import partial

import psutil
import pytest
from tests.live.harness.fleet import replicas
from tests.live.harness.gateway import Gateway, gateway
from tests.live.harness.processes import eventually
from tests.live.harness.streaming import Streaming

pytestmark = pytest.mark.live

CHILDREN = ("controller", "picker", "envoy")


@pytest.fixture(scope="module")
def fleet() -> Iterator[list[str]]:
    """URLs of two simulated replicas."""
    with replicas(2, "--speed", "5") as started:
        yield started.urls


@pytest.fixture
def running(fleet: list[str]) -> Iterator[Gateway]:
    with gateway(*fleet) as process:
        yield process


def pids(running: Gateway) -> dict[str, int]:
    """Process ids of the three children."""
    found = {name: running.pid(name) for name in CHILDREN}
    return {name: pid for name, pid in found.items() if pid is not None}


def health(balancer: http.client.HTTPConnection) -> int:
    """What a load balancer is told on a connection that it keeps."""
    balancer.request("GET", "/headgate/healthz")
    with balancer.getresponse() as answer:
        answer.read()
        return answer.status


def test_a_running_stream_is_finished_before_the_end(running: Gateway) -> None:
    stream = Streaming(running, max_tokens=1000)
    balancer = http.client.HTTPConnection("127.0.0.1", running.info["ports"]["gateway"], timeout=10)
    assert health(balancer) == 200
    running.child.signal(signal.SIGTERM)
    note = running.wait_event("drain", 5)
    assert "1 request is running" in note["text"]
    assert health(balancer) == 503
    assert running.child.process.poll() is None
    time.sleep(0.3)
    with pytest.raises(OSError):  # nobody new is let in
        socket.create_connection(("127.0.0.1", running.info["ports"]["gateway"]), 1)
    assert not running.ready()
    stream.thread.join(30)
    assert stream.error is None
    assert stream.rest.rstrip().endswith(b"data: [DONE]")
    assert running.child.end(10) == 0


def test_a_second_signal_ends_at_once(running: Gateway) -> None:
    stream = Streaming(running, max_tokens=100_000)
    running.child.signal(signal.SIGINT)
    running.wait_event("drain", 5)
    asked = time.monotonic()
    running.child.signal(signal.SIGINT)
    assert running.child.end(5) == 130
    assert time.monotonic() - asked < 2
    stream.thread.join(5)
    assert not stream.rest.rstrip().endswith(b"[DONE]")


def test_the_drain_has_an_end(fleet: list[str]) -> None:
    with gateway(fleet[0], "--drain-timeout", "0.5") as running:
        stream = Streaming(running, max_tokens=100_000)
        assert running.child.stop(10) == 0
        stream.thread.join(5)
        assert any("cut off" in event.get("text", "") for event in running.events)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_to_every_process_of_the_service_finishes_the_streams(
    running: Gateway, number: signal.Signals
) -> None:
    streams = [Streaming(running, max_tokens=1000) for _ in range(6)]
    children = pids(running)
    assert set(children) == set(CHILDREN)
    for pid in (*children.values(), running.child.process.pid):
        os.kill(pid, number)
    if number == signal.SIGTERM:  # and what a wrapper in the same service passes on
        running.wait_event("drain", 20)
        running.child.signal(number)
    assert sum(stream.whole() for stream in streams) == 6
    assert running.child.end(20) == 0
    assert not any(psutil.pid_exists(pid) for pid in children.values())


def test_a_slow_answer_of_envoys_admin_does_not_end_the_drain(running: Gateway) -> None:
    stream = Streaming(running, max_tokens=4000)
    running.child.signal(signal.SIGTERM)
    running.wait_event("drain", 20)
    envoy = pids(running)["envoy"]
    os.kill(envoy, signal.SIGSTOP)
    try:
        time.sleep(3)  # the supervisor asks it, and hears nothing for longer than it waits
        assert running.child.process.poll() is None
    finally:
        os.kill(envoy, signal.SIGCONT)
    assert stream.whole()
    assert running.child.end(20) == 0


def test_an_envoy_that_dies_in_the_drain_ends_it(running: Gateway) -> None:
    stream = Streaming(running, max_tokens=100_000)
    running.child.signal(signal.SIGTERM)
    running.wait_event("drain", 20)
    os.kill(pids(running)["envoy"], signal.SIGKILL)
    assert running.child.end(20) == 0
    assert not stream.whole()


def test_a_child_that_ran_well_is_started_again_at_once(running: Gateway) -> None:
    for name in (*CHILDREN, *CHILDREN):
        eventually(partial(running.served_well, name), 60)
        os.kill(pids(running)[name], signal.SIGKILL)
    eventually(running.ready, 60)
    again = [each["text"] for each in running.events if each["event"] == "process"]
    assert len(again) == 6
    assert all("at once" in line for line in again), again
