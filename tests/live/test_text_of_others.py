"""What model servers, clients and files say reaches terminals and logs as text, never as commands."""

import re
import urllib.request
from pathlib import Path

import pytest
from tests import manifests as manifest
from tests.live.harness.fleet import replicas
from tests.live.harness.processes import HEADGATE, Child, get_json, run_headgate
from tests.live.test_run import ask

pytestmark = pytest.mark.live

HOSTILE = "[/oops] \x1b[2J\x1b]0;owned\x07\u202e"
SHOWN = r"[/oops] \x1b[2J\x1b]0;owned\x07\u202e"


def calm(text: str) -> bool:
    """Nothing in *text* steers a terminal."""
    return all(each.isprintable() for each in text.split("\n"))


def test_a_model_name_is_shown_by_run_status_and_explain(tmp_path: Path) -> None:
    spec = {"gatewayClassName": HOSTILE, "listeners": [{"name": "x", "port": 80, "protocol": HOSTILE}]}
    manifest.write(tmp_path / "odd.yaml", manifest.manifest("Gateway", "odd", spec))
    manifest.write(tmp_path / "named.yaml", manifest.manifest("Gateway", HOSTILE, spec))
    ports = [f"--{name}port" for name in ("", "metrics-", "admin-")]
    zeros = [part for port in ports for part in (port, "0")]
    with replicas(1, "--model", HOSTILE) as fleet:
        options = ("--host", "127.0.0.1", "-f", str(tmp_path), "--log-level", "debug")
        child = Child([*HEADGATE, "run", *fleet.urls, *options, *zeros])
        try:
            child.wait_for(lambda line: line.startswith("Stop with"), 60)
            said = "\n".join(child.out)
            admin = re.search(r"Admin API on (\S+)", said)
            url = re.search(r"Listening on (\S+)", said)
            assert admin is not None
            assert url is not None
            _, headers, _ = ask(url[1].replace("localhost", "127.0.0.1"), HOSTILE)
            status = run_headgate("status", "--admin", admin[1])
            explained = run_headgate("explain", headers["x-request-id"], "--admin", admin[1])
            port = get_json(admin[1] + "/v1/status")["ports"]["metrics"]
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
                page = answer.read().decode()
        finally:
            child.stop()
    log = "\n".join(child.err)
    for text in (said, status.stdout, explained.stdout, log, page):
        assert calm(text)
    assert SHOWN in said
    assert SHOWN in explained.stdout
    assert SHOWN in status.stdout
    assert f"such as HTTP or HTTPS, not '{SHOWN}'" in log
