"""`headgate translate`: both formats say the same, problems go to stderr."""

import json
from pathlib import Path

import yaml
from typer.testing import CliRunner

from headgate.cli.commands.translate import app

GATEWAY = """
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: gw}
spec:
  gatewayClassName: headgate
  listeners:
  - {name: http, port: 80, protocol: HTTP}
"""


def test_yaml_and_json_say_the_same(tmp_path: Path) -> None:
    file = tmp_path / "gw.yaml"
    file.write_text(GATEWAY)
    as_json = CliRunner().invoke(app, ["-f", str(file), "--output", "json", "--port", "9999"])
    as_yaml = CliRunner().invoke(app, ["-f", str(file), "--output", "yaml", "--port", "9999"])
    assert as_json.exit_code == as_yaml.exit_code == 0
    found = json.loads(as_json.stdout)
    assert found == yaml.safe_load(as_yaml.stdout)
    assert list(found["listener"]) == ["port-9999"]


def test_what_is_right_is_printed_beside_what_is_wrong(tmp_path: Path) -> None:
    file = tmp_path / "gw.yaml"
    file.write_text(GATEWAY + "  - {name: tls, port: 443, protocol: HTTPS}\n")
    result = CliRunner().invoke(app, ["-f", str(file), "--output", "json"])
    assert result.exit_code == 1
    assert list(json.loads(result.stdout)["listener"]) == ["port-8080"]
    assert "InvalidCertificateRef" in result.stderr
