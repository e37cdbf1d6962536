"""The access log of a running gateway: every request is a line, and nothing secret is in any."""

import json
import os
import re
import signal
import socket
import subprocess
import urllib.request
from pathlib import Path
from typing import Any

import pytest
from tests.live.harness.fleet import replicas
from tests.live.harness.gateway import PORTS, Gateway, gateway
from tests.live.harness.processes import HEADGATE, eventually, get_json

from headgate.app.processes.parent import end_with_parent

pytestmark = pytest.mark.live

CHAT = b'{"model":"m","messages":[{"role":"user","content":"pa55phrase"}]}'


ERRORS = r'^headgate_gateway_errors_total\{listener="port-\d+",reason="([a-z-]+)"\} ([\d.]+)$'


def ask(gate: Gateway, request: bytes) -> int:
    """The status of the answer to the raw bytes *request*."""
    host, _, port = gate.url.removeprefix("http://").partition(":")
    with socket.create_connection((host, int(port)), timeout=30) as connection:
        connection.sendall(request)
        return int(connection.recv(4096).split()[1])


def counted(gate: Gateway) -> dict[str, int]:
    """Errors that no server gave, by reason, as the admin API's metrics page says."""
    with urllib.request.urlopen(f"{gate.admin}/metrics", timeout=30) as answer:
        page = answer.read().decode()
    found = re.findall(ERRORS, page, re.MULTILINE)
    return {reason: int(float(count)) for reason, count in found}


def post(path: str, body: bytes, *more: bytes) -> bytes:
    """A POST of *body* that ends its connection."""
    head = [
        f"POST {path} HTTP/1.1".encode(),
        b"host: gate.example",
        b"connection: close",
        b"content-type: application/json",
        b"content-length: %d" % len(body),
        *more,
    ]
    return b"\r\n".join(head) + b"\r\n\r\n" + body


def test_every_request_is_one_line_that_says_what_happened_and_no_secret() -> None:
    secrets = (b"authorization: Bearer s3cr3t", b"cookie: s3cr3t", b"x-api-key: s3cr3t")
    odd = b'user-agent: \xc2\x9b31m\x9b5m\xe2\x80\xae"\\'
    with replicas(1) as fleet:
        model = "meta-llama/Llama-3.1-8B-Instruct"
        chat = CHAT.replace(b'"m"', json.dumps(model).encode())
        with gateway(*fleet.urls, "--access-log", "on", "--body-limit", "1KB") as gate:
            id_ = b"x-request-id: the-one"
            assert ask(gate, post("/v1/chat/completions?key=s3cr3t", chat, odd, id_, *secrets)) == 200
            assert ask(gate, post("/v1/chat/completions?key=s3cr3t", b"x" * 4096)) == 413
            assert ask(gate, post("/v1/x?key=s3cr3t#f", chat, *secrets)) == 400
            assert ask(gate, b"NONSENSE s3cr3t\r\n\r\n") == 400
            assert ask(gate, b"GET /headgate/healthz HTTP/1.1\r\nhost: x\r\n\r\n") == 200

            def lines() -> list[Any]:
                events = [json.loads(line) for line in gate.child.out]
                return [
                    each for each in events if each["event"] == "request" and each["path"] != "/v1/models"
                ]

            eventually(lambda: len(lines()) >= 4, within_s=30)
            assert not any("s3cr3t" in line or "pa55phrase" in line for line in gate.child.out)
            served, large, broken, nonsense = lines()
            assert counted(gate) == {"too-large": 1, "bad-path": 1, "bad-http": 1}
            endpoint = fleet.urls[0].removeprefix("http://")
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", served["time"])
    assert (served["request_id"], served["status"], served["method"]) == ("the-one", 200, "POST")
    assert (served["path"], served["host"]) == ("/v1/chat/completions", "gate.example")
    assert (served["endpoint"], served["attempts"], served["cluster"]) == (
        endpoint,
        1,
        "pool/default/default",
    )
    assert served["bytes_in"] == len(chat)
    assert served["bytes_out"] > 0
    assert 0 <= served["first_byte_ms"] <= served["duration_ms"]
    assert served["user_agent"].endswith('"\\')
    assert (large["status"], large["reason"], large["endpoint"]) == (413, "too-large", None)
    assert (broken["status"], broken["path"]) == (400, "/v1/x")
    assert (nonsense["status"], nonsense["details"]) == (400, "http1.codec_error")
    raw = [line for line in gate.child.out if '"request"' in line]
    assert all(line.isascii() and line.isprintable() for line in raw)


def test_a_file_has_the_requests_that_met_no_route(tmp_path: Path) -> None:
    (tmp_path / "gate.yaml").write_text(
        "apiVersion: gateway.networking.k8s.io/v1\nkind: Gateway\nmetadata: {name: g}\n"
        "spec: {gatewayClassName: headgate, listeners: [{name: http, port: 80, protocol: HTTP}]}\n"
    )
    path = tmp_path / "requests.log"
    with gateway("-f", str(tmp_path / "gate.yaml"), "--access-log", str(path)) as gate:
        before = counted(gate).get("no-route", 0)  # its own questions at the start
        assert ask(gate, post("/nowhere?key=s3cr3t", CHAT)) == 404

        def lines() -> list[Any]:
            return [json.loads(line) for line in path.read_text().splitlines() if "/nowhere" in line]

        eventually(lines, within_s=30)
        (line,) = lines()
        assert counted(gate) == {"no-route": before + 1}
        assert (line["status"], line["reason"], line["path"]) == (404, "no-route", "/nowhere")
        assert not any('"request"' in said for said in gate.child.out)


def test_a_reader_of_standard_output_that_reads_no_more_holds_nobody_up() -> None:
    zeros = [part for port in PORTS for part in (port, "0")]
    run = subprocess.Popen(
        [*HEADGATE, "run", "http://127.0.0.1:3", "--host", "127.0.0.1", "--output", "json", *zeros],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        preexec_fn=end_with_parent(os.getpid()),
    )
    assert run.stdout is not None
    try:
        events = (json.loads(line) for line in run.stdout)
        info = next(event for event in events if event["event"] == "ready")
        request = b"GET /x HTTP/1.1\r\nhost: x\r\nuser-agent: %s\r\n\r\n" % (b"x" * 200)
        with socket.create_connection(("127.0.0.1", info["ports"]["gateway"]), timeout=60) as connection:
            for _ in range(300):  # more than the pipes hold
                connection.sendall(request)
                while b"\r\n\r\n" not in connection.recv(65536):
                    pass
        os.kill(info["pids"]["controller"], signal.SIGKILL)  # an event more, and work for the supervisor

        def restarted() -> bool:
            found = get_json(info["admin"] + "/v1/status")["processes"]
            return any(each["name"] == "controller" and each["restarts"] and each["pid"] for each in found)

        eventually(restarted, within_s=60)
        run.send_signal(signal.SIGTERM)
        assert run.wait(60) == 0
    finally:
        run.kill()
        run.stdout.close()
