"""`headgate check`: lines for people, JSON for programs, exit codes."""

import json
from pathlib import Path

from typer.testing import CliRunner

from headgate.cli.commands.check import app

POOL = """
apiVersion: inference.networking.k8s.io/v1
kind: InferencePool
metadata: {name: llm}
spec:
  selector: {matchLabels: {app: llm}}
  targetPorts: [{number: PORT}]
"""


def test_an_error_is_told_with_its_place_and_exits_with_1(tmp_path: Path) -> None:
    file = tmp_path / "pool.yaml"
    file.write_text(POOL.replace("PORT", "0"))
    result = CliRunner().invoke(app, ["-f", str(file)])
    assert result.exit_code == 1
    first, summary = result.stdout.splitlines()
    assert first.startswith(f"{file}:7 InferencePool default/llm spec.targetPorts[0].number: error: ")
    assert summary == ("0 objects, 0 listeners, 0 routes, 0 pools: 1 error, 0 warnings")


def test_warnings_fail_only_when_strict(tmp_path: Path) -> None:
    file = tmp_path / "pool.yaml"
    file.write_text(POOL.replace("PORT", "80"))
    assert CliRunner().invoke(app, ["-f", str(file)]).exit_code == 0
    assert CliRunner().invoke(app, ["-f", str(file), "--strict"]).exit_code == 1
    result = CliRunner().invoke(app, ["-f", str(file), "--output", "json"])
    found = json.loads(result.stdout)
    assert (found["errors"], found["warnings"], found["pools"]) == (0, 1, {"default/llm": 0})
    assert found["problems"][0]["reason"] == "NoEndpoints"


def test_nothing_to_check_does_not_pass(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["-f", str(tmp_path)])
    assert result.exit_code == 1
    assert "no objects in" in result.stdout
    assert CliRunner().invoke(app, ["-f", str(tmp_path / "nowhere")]).exit_code == 2


def test_paths_are_taken_as_people_type_them(tmp_path: Path) -> None:
    file = tmp_path / "pool.yaml"
    file.write_text(POOL.replace("PORT", "80"))
    (tmp_path / "README.md").write_text("# no: [manifest")
    (tmp_path / "more").mkdir()
    (tmp_path / "more" / "other.yml").write_text(POOL.replace("PORT", "81").replace("llm", "other"))
    everything = [str(each) for each in sorted(tmp_path.iterdir())]

    def pools(*args: str) -> set[str]:
        result = CliRunner().invoke(app, [*args, "-o", "json"])
        assert result.exit_code == 0, result.output
        return set(json.loads(result.stdout)["pools"])

    assert pools(str(file)) == pools("-f", str(file)) == {"default/llm"}
    assert pools(*everything) == pools(str(tmp_path)) == {"default/llm", "default/other"}
    assert pools(str(file), "-f", str(tmp_path / "more")) == {"default/llm", "default/other"}


def test_a_file_that_is_named_alone_is_read_whatever_it_is_called(tmp_path: Path) -> None:
    file = tmp_path / "manifest.txt"
    file.write_text(POOL.replace("PORT", "0"))
    assert "InvalidValue" in CliRunner().invoke(app, [str(file)]).stdout


def test_no_path_is_a_usage_error() -> None:
    result = CliRunner().invoke(app, [])
    assert result.exit_code == 2
    assert "manifests/" in result.output


def test_a_note_is_no_reason_to_fail(tmp_path: Path) -> None:
    file = tmp_path / "pool.yaml"
    picker = "  endpointPickerRef: {name: llm-epp, port: {number: 9002}}\n"
    server = (
        "---\napiVersion: headgate.dev/v1alpha1\nkind: ModelServer\nmetadata: {name: a, labels: {app: llm}}\n"
    )
    file.write_text(POOL.replace("PORT", "80") + picker + server + "spec: {url: 'http://10.0.0.1:80'}\n")
    result = CliRunner().invoke(app, [str(file), "--strict"])
    assert result.exit_code == 0
    line, summary = result.stdout.splitlines()
    assert "note: there is no Service default/llm-epp in the files" in line
    assert summary.endswith("1 pool: 0 errors, 0 warnings, 1 note")
