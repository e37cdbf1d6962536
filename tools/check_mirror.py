"""Every module of the package has a unit test in the mirrored place, or stands below with what tests it.

`src/headgate/a/b.py` is tested by `tests/unit/a/test_b.py` (or `test_a_b.py`, where names would be confused);
the plugins of a folder `a/b/` may share `tests/unit/a/test_b.py`; modules of values only need no test.
Prints what is missing and exits 1.
"""

import ast
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]

GOLDEN = "tests/golden/test_golden_translate.py"

ELSEWHERE = {
    "app/demo.py": ("tests/live/test_demo.py", "starts processes"),
    "app/parent.py": ("tests/live/test_fleet.py", "a process that ends with the one that started it"),
    "app/picker.py": ("tests/live/test_picker_process.py", "a whole process"),
    "app/run.py": ("tests/live/test_run.py", "starts processes"),
    "cli/commands/controller.py": ("tests/live/test_run.py", "one of the processes of `run`"),
    "cli/commands/demo.py": ("tests/live/test_demo.py", "options of a whole process"),
    "cli/commands/fleet.py": ("tests/live/test_fleet.py", "options of a whole process"),
    "cli/commands/picker.py": ("tests/live/test_picker_process.py", "options of a whole process"),
    "cli/commands/status.py": ("tests/live/test_run.py", "asks a running gateway"),
    "cli/main.py": ("tests/unit/tools/test_generated_docs.py", "finds the commands whose help is generated"),
    "cli/manifests.py": ("tests/unit/cli/test_manifest_paths.py", "named for what it tests: the paths of -f"),
    "engines/plugins/vllm.py": ("tests/unit/engines/test_engines_reader.py", "read from saved pages"),
    "gateway/backends/inference_pool.py": ("tests/unit/gateway/test_backend_refs.py", "resolved by it"),
    "gateway/backends/model_server.py": ("tests/unit/gateway/test_backend_refs.py", "resolved by it"),
    "gateway/backends/service.py": ("tests/unit/gateway/test_backend_refs.py", "resolved by it"),
    "gateway/envoy/clusters.py": (GOLDEN, "its output is the golden files"),
    "gateway/envoy/endpoints.py": (GOLDEN, "its output is the golden files"),
    "gateway/envoy/extra_types.py": ("tests/unit/gateway/envoy/test_protos.py", "types that protos.py adds"),
    "gateway/envoy/header_options.py": ("tests/unit/gateway/test_filters.py", "what header modifiers write"),
    "gateway/envoy/listeners.py": (GOLDEN, "its output is the golden files"),
    "gateway/envoy/names.py": (GOLDEN, "its output is the golden files"),
    "gateway/envoy/replies.py": ("tests/live/test_envoy_config.py", "only Envoy can say that they fit"),
    "gateway/envoy/routes.py": (GOLDEN, "its output is the golden files"),
    "io/extproc/service.py": ("tests/unit/io/extproc/test_extproc_server.py", "the server's only service"),
    "io/load/stream.py": ("tests/unit/io/load/test_load_generator.py", "the generator's requests"),
    "model/core.py": ("tests/unit/model/test_topology.py", "readiness of pods"),
    "model/inference.py": ("tests/unit/model/test_decode.py", "both generations of a pool"),
    "model/schema.py": ("tests/unit/model/test_decode.py", "unknown fields and kinds"),
    "scheduling/api.py": ("tests/unit/scheduling/test_scheduler.py", "what the scheduler works on"),
}
"""Module → what tests it, and why that is not in the mirrored place."""


def missing(root: Path) -> list[str]:
    """One line for each module without a test, and for each line of ELSEWHERE that no longer holds."""
    package, unit = root / "src" / "headgate", root / "tests" / "unit"
    found: list[str] = []
    for path in sorted(package.rglob("*.py")):
        module = path.relative_to(package).as_posix()
        folder, name = unit / Path(module).parent, path.stem
        if name.startswith("__") or not _does_something(path):
            continue
        mirrored = any(folder.glob(f"test_{name}.py")) or any(folder.glob(f"test_*_{name}.py"))
        shared = (folder.parent / f"test_{folder.name}.py").is_file()
        test, _ = ELSEWHERE.get(module, ("", ""))
        if module in ELSEWHERE and (mirrored or shared or not (root / test).is_file()):
            found.append(f"{module}: {test} is gone or no longer needed here")
        elif module not in ELSEWHERE and not (mirrored or shared):
            found.append(f"{module}: no {(folder / f'test_{name}.py').relative_to(root)}")
    return found


def _does_something(path: Path) -> bool:
    """False for a module of values: no function in it has more than a docstring and `...`."""
    return any(
        not (isinstance(line, ast.Expr) and isinstance(line.value, ast.Constant))
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        for line in node.body
    )


if __name__ == "__main__":
    sys.exit("\n".join(missing(ROOT)))
