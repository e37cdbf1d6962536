"""The real `headgate run` over simulated model servers: start, crash, conflict, drain, refusal."""

import http.client
import os
import signal
import socket
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import msgspec
import psutil
import pytest
from tests import manifests as manifest
from tests.live.harness.fleet import replicas
from tests.live.harness.gateway import Gateway, gateway, starting
from tests.live.harness.processes import eventually, run_headgate
from tests.manifests import Manifest

pytestmark = pytest.mark.live


@pytest.fixture(scope="module")
def fleet() -> Iterator[list[str]]:
    """URLs of two simulated replicas."""
    with replicas(2, "--speed", "5") as started:
        yield started.urls


@pytest.fixture
def running(fleet: list[str]) -> Iterator[Gateway]:
    with gateway(*fleet) as process:
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


def test_it_answers_explains_and_stops(running: Gateway, fleet: list[str]) -> None:
    probed = next(event for event in running.events if event["event"] == "probed")
    assert [replica["ok"] for replica in probed["replicas"]] == [True, True]
    status, headers, _ = ask(running.url, running.info["model"])
    assert status == 200
    assert f"http://{headers['x-headgate-endpoint']}" in fleet

    shown = run_headgate("explain", headers["x-request-id"], "--admin", running.admin, "--output", "json")
    assert shown.returncode == 0, shown.stderr
    record = msgspec.json.decode(shown.stdout)
    assert record["decision"]["chosen"][0] == headers["x-headgate-endpoint"]
    assert len(record["decision"]["candidates"]) == 2
    text = run_headgate("explain", "--last", "--admin", running.admin)
    assert "chosen" in text.stdout
    assert "COST" in text.stdout
    unknown = run_headgate("explain", "nobody", "--admin", running.admin)
    assert unknown.returncode == 1
    assert "x-request-id" in unknown.stderr

    shown = run_headgate("status", "--admin", running.admin)
    assert shown.returncode == 0, shown.stderr
    assert "ready" in shown.stdout
    assert "default/default" in shown.stdout

    folder = {Path(p) for p in _envoy_arguments(running) if p.endswith("envoy.json")}
    assert running.child.stop(20) == 0
    assert not any(path.exists() for path in folder)
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", running.info["ports"]["gateway"]), 1)


def _envoy_arguments(running: Gateway) -> list[str]:
    return psutil.Process(running.pid("envoy")).cmdline()


def test_a_model_server_that_does_not_answer_is_reported_and_picked_up_later(fleet: list[str]) -> None:
    with socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))
        late = f"http://127.0.0.1:{reserved.getsockname()[1]}"
    with gateway(late, fleet[0]) as running:
        [probed] = [event for event in running.events if event["event"] == "probed"]
        assert [(r["url"], r["ok"]) for r in probed["replicas"]] == [(late, False), (fleet[0], True)]
        assert ask(running.url, running.info["model"])[0] == 200


@pytest.mark.parametrize("name", ["envoy", "picker", "controller"])
def test_a_killed_child_comes_back_by_itself(running: Gateway, name: str) -> None:
    others = {"envoy", "picker", "controller"} - {name}
    before = {other: running.pid(other) for other in others}
    pid = running.pid(name)
    assert pid is not None
    os.kill(pid, signal.SIGKILL)

    def is_back() -> bool:
        return running.pid(name) not in (None, pid) and running.ready()

    eventually(is_back, 20)
    assert {other: running.pid(other) for other in others} == before
    process = next(p for p in running.status()["processes"] if p["name"] == name)
    assert process["restarts"] == 1
    assert process["last_exit"] == -signal.SIGKILL
    assert ask(running.url, running.info["model"])[0] == 200


def test_children_die_with_the_supervisor(running: Gateway) -> None:
    pids = [running.pid(name) for name in ("envoy", "picker", "controller")]
    running.child.process.kill()
    running.child.process.wait(5)
    eventually(lambda: not any(psutil.pid_exists(pid) for pid in pids if pid), 5)


def test_a_taken_port_names_the_flag() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        shown = run_headgate("run", "http://127.0.0.1:1", "--host", "127.0.0.1", "--admin-port", str(port))
    assert shown.returncode == 1
    assert "--admin-port" in shown.stderr
    assert str(port) in shown.stderr
    assert "Traceback" not in shown.stderr


def test_nothing_to_serve_and_a_bad_url_are_said_in_words() -> None:
    nothing = run_headgate("run")
    assert nothing.returncode == 2
    assert "headgate run http://" in nothing.stderr
    bad = run_headgate("run", "http://host:8000/a/path", "--port", "0")
    assert bad.returncode == 2
    assert "a/path" in bad.stderr
    assert "Traceback" not in bad.stderr


def test_the_admin_api_is_for_loopback_names_and_read_only(running: Gateway) -> None:
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


def served(url: str, match: dict[str, str]) -> list[Manifest]:
    """A pool of one server behind this path match."""
    return [
        manifest.gateway(),
        manifest.route(manifest.rule("pool", matches=[{"path": match}])),
        manifest.pool("pool", "FailOpen"),
        manifest.model_server("one", url, app="pool"),
    ]


def test_files_are_served_followed_and_a_refusal_by_envoy_is_shown(fleet: list[str], tmp_path: Path) -> None:
    file = tmp_path / "all.yaml"
    manifest.write(file, *served(fleet[0], {"type": "PathPrefix", "value": "/"}))
    with gateway("-f", str(tmp_path)) as running:
        assert [(each["gateway"], each["name"]) for each in running.info["listeners"]] == [
            ("default/gate", "http")
        ]
        assert ask(running.url, running.info["model"])[0] == 200

        broken = {"type": "RegularExpression", "value": "/v1/[[:foo:]]"}  # a class that RE2 does not know
        manifest.write(file, *served(fleet[0], broken))
        eventually(lambda: running.problems(), 20)
        [problem] = running.problems()
        assert problem["reason"] == "RefusedByEnvoy"
        assert problem["place"]["object"] == "HTTPRoute default/routes"
        assert problem["place"]["file"] == str(file)
        assert "[:foo:]" in problem["message"], problem
        eventually(lambda: [each for each in running.events if each["event"] == "problem"])
        assert ask(running.url, running.info["model"])[0] == 200  # what was served before is served on

        manifest.write(file, *served(fleet[0], {"type": "PathPrefix", "value": "/v1"}))
        eventually(lambda: not running.problems(), 20)


def test_files_without_a_gateway_start_and_say_so(tmp_path: Path) -> None:
    with gateway("-f", str(tmp_path)) as running:
        assert running.info["listeners"] == []
        assert running.info["model"] is None


def test_a_signal_while_starting_ends_it(fleet: list[str]) -> None:
    with starting(fleet[0]) as running:
        time.sleep(0.7)
        assert running.child.stop(10) == 0
