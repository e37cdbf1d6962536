"""`headgate export k8s`: what it prints, what it says, and that the reader takes it as it took the files."""

import subprocess
from pathlib import Path

import pytest
import yaml
from tests import manifests as manifest
from tests.live.harness.processes import run_headgate

from headgate.manifests.decode import decode

pytestmark = pytest.mark.live

ROOT = Path(__file__).parents[2]


def exported(*args: str) -> subprocess.CompletedProcess[str]:
    return run_headgate("export", "k8s", *args)


def test_the_quickstart_becomes_manifests_of_a_cluster() -> None:
    done = exported("-f", str(ROOT / "examples" / "quickstart"))
    assert done.returncode == 0, done.stderr
    found = list(yaml.safe_load_all(done.stdout))
    assert [problem for each in found for problem in decode(each, "", lambda _: 0).problems] == []
    assert {each["metadata"]["namespace"] for each in found} == {"default"}
    [pool] = [each for each in found if each["kind"] == "InferencePool"]
    assert pool["spec"]["endpointPickerRef"]["name"] == "headgate-picker"
    assert done.stderr.count("LoopbackAddress") == 3


def test_keys_of_clients_and_of_servers_become_secrets(tmp_path: Path) -> None:
    server = manifest.model_server("s", "https://gpu.example:8000", "a")
    (tmp_path / "key").write_text("sk-of-the-server\n")
    server["spec"]["apiKey"] = {"file": str(tmp_path / "key")}
    manifest.write(tmp_path / "m.yaml", manifest.gateway(), server)
    clients = tmp_path / "clients"
    clients.write_text("team-a: sk-of-team-a\n")
    done = exported("-f", str(tmp_path / "m.yaml"), "--client-keys", str(clients))
    assert done.returncode == 0, done.stderr
    secrets = [each["stringData"] for each in yaml.safe_load_all(done.stdout) if each["kind"] == "Secret"]
    assert secrets == [{"key": "sk-of-the-server"}, {"team-a": "sk-of-team-a"}]
    assert "sk-" not in done.stderr


def test_nothing_is_printed_of_files_with_errors(tmp_path: Path) -> None:
    manifest.write(tmp_path / "m.yaml", manifest.gateway(), {"kind": "HTTPRoute"})
    done = exported(str(tmp_path / "m.yaml"))
    assert (done.returncode, done.stdout) == (1, "")
    assert "apiVersion is missing" in done.stderr
    done = exported(str(tmp_path / "nowhere"))
    assert done.returncode == 2 and "there is no" in done.stderr
