"""The real `headgate run` over simulated model servers: start, crash, conflict, drain, refusal."""

import http.client
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import psutil
import pytest
from tests.live.gateway_process import GatewayProcess, gateway, started

from headgate.app.parent import end_with_parent

pytestmark = pytest.mark.live


@pytest.fixture(scope="module")
def fleet() -> Iterator[list[str]]:
    """URLs of two simulated replicas."""
    command = [sys.executable, "-m", "headgate", "fleet", "--replicas", "2", "--port-base", "0"]
    process = subprocess.Popen(
        [*command, "--control-port", "0", "--speed", "5", "--output", "json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        preexec_fn=end_with_parent(os.getpid()),
    )
    assert process.stdout is not None
    urls: list[str] = []
    while len(urls) < 2:
        line = process.stdout.readline()
        assert line, "the fleet ended"
        urls += _urls(msgspec.json.decode(line))
    yield urls
    process.terminate()
    process.wait(10)
    process.stdout.close()


def _urls(event: Any) -> list[str]:
    replicas = event.get("replicas", [event]) if isinstance(event, dict) else event
    return [str(each["url"]) for each in replicas if isinstance(each, dict) and "url" in each]


@pytest.fixture
def running(fleet: list[str]) -> Iterator[GatewayProcess]:
    with gateway(*fleet, "--host", "127.0.0.1") as process:
        yield process


def ask(base: str, model: str, max_tokens: int = 3, **headers: str) -> tuple[int, dict[str, str], bytes]:
    body = {"model": model, "prompt": "once upon", "max_tokens": max_tokens}
    request = urllib.request.Request(
        f"{base}/v1/completions",
        data=msgspec.json.encode(body),
        headers={"content-type": "application/json", **headers},
    )
    with urllib.request.urlopen(request, timeout=20) as answer:
        return answer.status, {k.lower(): v for k, v in answer.headers.items()}, answer.read()


def headgate(*arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "headgate", *arguments], capture_output=True, text=True, timeout=60
    )


def test_it_answers_explains_and_stops(running: GatewayProcess, fleet: list[str]) -> None:
    assert [r["ok"] for r in running.events[0]["replicas"]] == [True, True]
    status, headers, _ = ask(running.url, running.info["model"])
    assert status == 200
    assert f"http://{headers['x-headgate-endpoint']}" in fleet

    shown = headgate("explain", headers["x-request-id"], "--admin", running.admin, "--output", "json")
    assert shown.returncode == 0, shown.stderr
    record = msgspec.json.decode(shown.stdout)
    assert record["decision"]["chosen"][0] == headers["x-headgate-endpoint"]
    assert len(record["decision"]["candidates"]) == 2
    text = headgate("explain", "--last", "--admin", running.admin)
    assert "chosen" in text.stdout
    assert "COST" in text.stdout
    unknown = headgate("explain", "nobody", "--admin", running.admin)
    assert unknown.returncode == 1
    assert "x-request-id" in unknown.stderr

    shown = headgate("status", "--admin", running.admin)
    assert shown.returncode == 0, shown.stderr
    assert "ready" in shown.stdout
    assert "default/default" in shown.stdout

    folder = {Path(p) for p in _envoy_arguments(running) if p.endswith("envoy.json")}
    assert running.stop() == 0
    assert not any(path.exists() for path in folder)
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", running.info["ports"]["gateway"]), 1)


def _envoy_arguments(running: GatewayProcess) -> list[str]:
    return psutil.Process(running.child_pid("envoy")).cmdline()


def test_a_model_server_that_does_not_answer_is_reported_and_picked_up_later(fleet: list[str]) -> None:
    with socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))
        late = f"http://127.0.0.1:{reserved.getsockname()[1]}"
    with gateway(late, fleet[0], "--host", "127.0.0.1") as running:
        [probed] = [event for event in running.events if event["event"] == "probed"]
        assert [(r["url"], r["ok"]) for r in probed["replicas"]] == [(late, False), (fleet[0], True)]
        assert ask(running.url, running.info["model"])[0] == 200


@pytest.mark.parametrize("name", ["envoy", "picker", "controller"])
def test_a_killed_child_comes_back_by_itself(running: GatewayProcess, name: str) -> None:
    others = {"envoy", "picker", "controller"} - {name}
    before = {other: running.child_pid(other) for other in others}
    pid = running.child_pid(name)
    assert pid is not None
    os.kill(pid, signal.SIGKILL)

    def is_back() -> bool:
        return running.child_pid(name) not in (None, pid) and running.ready()

    running.wait_until(is_back)
    assert {other: running.child_pid(other) for other in others} == before
    process = next(p for p in running.status()["processes"] if p["name"] == name)
    assert process["restarts"] == 1
    assert process["last_exit"] == -signal.SIGKILL
    assert ask(running.url, running.info["model"])[0] == 200


def test_children_die_with_the_supervisor(running: GatewayProcess) -> None:
    pids = [running.child_pid(name) for name in ("envoy", "picker", "controller")]
    running.process.kill()
    running.process.wait(5)
    running.wait_until(lambda: not any(psutil.pid_exists(pid) for pid in pids if pid), 5)


def test_a_taken_port_names_the_flag() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        shown = headgate("run", "http://127.0.0.1:1", "--host", "127.0.0.1", "--xds-port", str(port))
    assert shown.returncode == 1
    assert "--xds-port" in shown.stderr
    assert str(port) in shown.stderr
    assert "Traceback" not in shown.stderr


def test_nothing_to_serve_and_a_bad_url_are_said_in_words() -> None:
    nothing = headgate("run")
    assert nothing.returncode == 2
    assert "headgate run http://" in nothing.stderr
    bad = headgate("run", "http://host:8000/a/path", "--port", "0")
    assert bad.returncode == 1
    assert "a/path" in bad.stderr
    assert "Traceback" not in bad.stderr


class Streaming:
    """A streamed completion read in a thread."""

    def __init__(self, running: GatewayProcess, max_tokens: int) -> None:
        self.connection = http.client.HTTPConnection(
            "127.0.0.1", running.info["ports"]["gateway"], timeout=60
        )
        body = {"model": running.info["model"], "prompt": "long", "max_tokens": max_tokens, "stream": True}
        self.connection.request(
            "POST",
            "/v1/completions",
            body=msgspec.json.encode({**body, "ignore_eos": True}),
            headers={"content-type": "application/json"},
        )
        self.answer = self.connection.getresponse()
        self.first = self.answer.readline()
        self.rest = b""
        self.error: Exception | None = None
        self.thread = threading.Thread(target=self._read, daemon=True)
        self.thread.start()

    def _read(self) -> None:
        try:
            self.rest = self.answer.read()
        except (http.client.HTTPException, OSError) as error:
            self.error = error
        finally:
            self.connection.close()


def test_a_running_stream_is_finished_before_the_end(running: GatewayProcess) -> None:
    stream = Streaming(running, max_tokens=1000)
    running.process.send_signal(signal.SIGTERM)
    note = running.wait_event("note", 5)
    assert "1 request is running" in note["text"]
    assert running.process.poll() is None
    time.sleep(0.3)
    with pytest.raises(OSError):  # nobody new is let in
        socket.create_connection(("127.0.0.1", running.info["ports"]["gateway"]), 1)
    assert not running.ready()
    stream.thread.join(30)
    assert stream.error is None
    assert stream.rest.rstrip().endswith(b"data: [DONE]")
    assert running.process.wait(10) == 0


def test_a_second_signal_ends_at_once(running: GatewayProcess) -> None:
    stream = Streaming(running, max_tokens=100_000)
    running.process.send_signal(signal.SIGINT)
    running.wait_event("note", 5)
    asked = time.monotonic()
    running.process.send_signal(signal.SIGINT)
    assert running.process.wait(5) == 130
    assert time.monotonic() - asked < 2
    stream.thread.join(5)
    assert not stream.rest.rstrip().endswith(b"[DONE]")


def test_the_drain_has_an_end(fleet: list[str]) -> None:
    with gateway(fleet[0], "--host", "127.0.0.1", "--drain-timeout", "0.5") as running:
        stream = Streaming(running, max_tokens=100_000)
        assert running.stop(10) == 0
        stream.thread.join(5)
        assert any("cut off" in event.get("text", "") for event in running.events)


def test_the_admin_api_is_for_loopback_names_and_read_only(running: GatewayProcess) -> None:
    port = running.info["ports"]["admin"]

    def status_of(method: str, path: str, host: str) -> int:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
        connection.request(method, path, headers={"host": host})
        with connection.getresponse() as answer:
            answer.read()
            status = answer.status
        connection.close()
        return status

    assert status_of("GET", "/healthz", f"localhost:{port}") == 200
    assert status_of("GET", "/v1/status", "evil.example") == 403
    assert status_of("POST", "/v1/status", f"127.0.0.1:{port}") == 405
    assert status_of("GET", "/nothing", f"127.0.0.1:{port}") == 404
    assert status_of("GET", "/v1/decisions/nobody", f"127.0.0.1:{port}") == 404


MANIFESTS = """
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: g}
spec:
  gatewayClassName: headgate
  listeners: [{name: http, port: 80, protocol: HTTP}]
---
apiVersion: inference.networking.k8s.io/v1
kind: InferencePool
metadata: {name: p}
spec:
  selector: {matchLabels: {app: sim}}
  targetPorts: [{number: 8000}]
  endpointPickerRef: {name: picker, port: {number: 9002}, failureMode: FailOpen}
---
apiVersion: headgate.dev/v1alpha1
kind: ModelServer
metadata: {name: one, labels: {app: sim}}
spec: {url: "%s"}
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: r}
spec:
  parentRefs: [{name: g}]
  rules:
  - matches: [%s]
    backendRefs: [{group: inference.networking.k8s.io, kind: InferencePool, name: p}]
"""


def test_files_are_served_followed_and_a_refusal_by_envoy_is_shown(fleet: list[str], tmp_path: Path) -> None:
    file = tmp_path / "all.yaml"
    file.write_text(MANIFESTS % (fleet[0], "{path: {type: PathPrefix, value: /}}"))
    with gateway("-f", str(tmp_path), "--host", "127.0.0.1") as running:
        assert [(each["gateway"], each["name"]) for each in running.info["listeners"]] == [
            ("default/g", "http")
        ]
        assert ask(running.url, running.info["model"])[0] == 200

        broken = "{path: {type: RegularExpression, value: '/v1/(a{900}){900}'}}"  # more than RE2 repeats
        file.write_text(MANIFESTS % (fleet[0], broken))
        running.wait_until(lambda: running.status()["gateway"]["problems"])
        [problem] = running.status()["gateway"]["problems"]
        assert problem["reason"] == "RefusedByEnvoy"
        assert problem["place"]["object"].startswith("route ")
        assert "{900}" in problem["message"], problem
        assert problem["text"].split(":")[0] in running.stderr
        assert ask(running.url, running.info["model"])[0] == 200  # what was served before is served on

        file.write_text(MANIFESTS % (fleet[0], "{path: {type: PathPrefix, value: /v1}}"))
        running.wait_until(lambda: not running.status()["gateway"]["problems"])


def test_files_without_a_gateway_start_and_say_so(tmp_path: Path) -> None:
    with gateway("-f", str(tmp_path), "--host", "127.0.0.1") as running:
        assert running.info["listeners"] == []
        assert running.info["model"] is None


def test_a_signal_while_starting_ends_it(fleet: list[str]) -> None:
    with started(fleet[0], "--host", "127.0.0.1") as running:
        time.sleep(0.7)
        assert running.stop(10) == 0
