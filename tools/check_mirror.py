"""Every module of the package has a unit test in the mirrored place, or stands below with what tests it.

`src/headgate/a/b.py` is tested by `tests/unit/a/test_b.py` (or `test_a_b.py`, where names would be confused);
the plugins of a folder `a/b/` may share `tests/unit/a/test_b.py`; modules of values only need no test.
Prints what is missing and exits 1.
"""

import ast
import sys
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).parents[1]

GOLDEN = "tests/golden/test_golden_translate.py"

ELSEWHERE = {
    "app/cluster/source.py": ("tests/live/test_cluster.py", "puts the parts together"),
    "model/pickers.py": ("tests/unit/model/test_topology.py", "who picks for the pools that it resolves"),
    "model/own_answers.py": ("tests/unit/wire/test_wire_accesslog.py", "values that it reads"),
    "app/processes/parent.py": (
        "tests/live/test_fleet.py",
        "a process that ends with the one that started it",
    ),
    "app/run/supervisor.py": ("tests/live/test_run.py", "starts processes"),
    "cli/commands/controller.py": ("tests/live/test_run.py", "one of the processes of `run`"),
    "cli/commands/demo.py": ("tests/live/test_demo.py", "options of a whole process"),
    "cli/commands/fleet.py": ("tests/live/test_fleet.py", "options of a whole process"),
    "cli/commands/picker.py": ("tests/live/test_picker_process.py", "options of a whole process"),
    "cli/manifests.py": ("tests/unit/cli/test_manifest_paths.py", "named for what it tests: the paths of -f"),
    "engines/plugins/vllm.py": ("tests/unit/engines/test_engines_reader.py", "read from saved pages"),
    "flow/api.py": ("tests/unit/flow/test_fairness.py", "what fairness and ordering are given"),
    "flow/tally.py": ("tests/unit/io/web/test_queue_metrics.py", "what metrics show"),
    "flow/lanes.py": ("tests/unit/flow/test_control.py", "where flow control keeps what waits"),
    "gateway/plan/": (GOLDEN, "its decisions are the golden files"),
    "gateway/plan/results/": (GOLDEN, "golden files hold every object's result"),
    "gateway/plan/advice.py": ("tests/golden/test_golden_check.py", "its words are golden lines"),
    "gateway/ir.py": (GOLDEN, "values, and what follows from them"),
    "gateway/resources.py": ("tests/unit/gateway/test_half.py", "followed by it"),
    "gateway/virtual_hosts.py": ("tests/unit/gateway/test_half.py", "parts of the resources that it follows"),
    "gateway/backends/": ("tests/unit/gateway/plan/test_backend_refs.py", "resolved by it"),
    "gateway/envoy/": (GOLDEN, "its output is the golden files"),
    "gateway/envoy/extra_types.py": ("tests/unit/gateway/envoy/test_protos.py", "types that protos.py adds"),
    "gateway/envoy/header_options.py": ("tests/unit/gateway/test_filters.py", "what header modifiers write"),
    "gateway/envoy/replies.py": ("tests/live/test_envoy_config.py", "only Envoy can say that they fit"),
    "gateway/provision/bootstrap.py": (
        "tests/live/test_provisioned_envoy.py",
        "only Envoy can say that it fits",
    ),
    "gateway/provision/desired.py": (
        "tests/unit/gateway/provision/test_provision_objects.py",
        "leads to the objects",
    ),
    "gateway/xds/events.py": ("tests/unit/gateway/xds/test_session.py", "what a session is told and says"),
    "gateway/xds/subscription.py": ("tests/unit/gateway/xds/test_session.py", "a session's parts"),
    "io/extproc/service.py": ("tests/unit/io/extproc/test_extproc_server.py", "the server's only service"),
    "io/kube/client.py": ("tests/unit/io/kube/test_kube_source.py", "what the source asks by"),
    "io/kube/kinds.py": ("tests/unit/io/kube/test_kube_source.py", "what the source follows"),
    "io/kube/reflector.py": ("tests/unit/io/kube/test_kube_source.py", "one of the source's parts"),
    "io/kube/wanted.py": ("tests/unit/io/kube/test_kube_source.py", "what the source keeps"),
    "cli/commands/export.py": ("tests/live/test_export.py", "a whole command"),
    "io/sources/export.py": ("tests/live/test_export.py", "a whole command"),
    "io/sources/worker.py": ("tests/unit/io/sources/test_sources_reader.py", "the process at the other end"),
    "io/load/stream.py": ("tests/unit/io/load/test_load_generator.py", "the generator's requests"),
    "model/tls_material.py": ("tests/unit/gateway/plan/test_certificates.py", "read by listeners"),
    "model/objects/parameters.py": (
        "tests/unit/gateway/provision/test_provision_objects.py",
        "what they change",
    ),
    "model/flow_rules.py": ("tests/unit/model/test_flow_policies.py", "values, read from policies"),
    "model/objects/flow.py": ("tests/unit/model/test_flow_policies.py", "what a policy says"),
    "model/indexes.py": ("tests/unit/model/test_topology.py", "what look-ups go by"),
    "model/absent.py": ("tests/golden/test_golden_check.py", "its words are golden lines"),
    "model/objects/kubernetes.py": ("tests/unit/model/test_topology.py", "readiness of pods"),
    "model/objects/inference.py": ("tests/unit/manifests/test_decode.py", "both generations of a pool"),
    "manifests/route_rules.py": ("tests/unit/manifests/test_rules.py", "asked for by rules.py"),
    "manifests/schema.py": ("tests/unit/manifests/test_decode.py", "unknown fields and kinds"),
    "picker/epp/fields.py": ("tests/unit/picker/epp/test_epp_config.py", "how its fields are read"),
    "picker/epp/flow.py": ("tests/unit/picker/epp/test_epp_config.py", "one of its sections"),
    "picker/epp/labels.py": ("tests/unit/picker/epp/test_epp_config.py", "what its filters require"),
    "picker/epp/plugins.py": ("tests/unit/picker/epp/test_epp_config.py", "the table that it goes by"),
    "picker/case.py": ("tests/unit/picker/test_machine.py", "a request while the machine decides it"),
    "scheduling/api.py": ("tests/unit/scheduling/test_scheduler.py", "what the scheduler works on"),
}
"""Module, or folder of modules → what tests it, and why that is not in the mirrored place."""


def missing(root: Path, elsewhere: Mapping[str, tuple[str, str]]) -> list[str]:
    """One line for each module without a test, and for each line of *elsewhere* that does not hold."""
    package, unit = root / "src" / "headgate", root / "tests" / "unit"
    used = {
        path.relative_to(package).as_posix(): _mirrored(path, package, unit) for path in _modules(package)
    }
    found = [
        f"{module}: no tests/unit/{Path(module).parent / f'test_{Path(module).stem}.py'}"
        for module, mirrored in used.items()
        if not mirrored and module not in elsewhere and f"{Path(module).parent}/" not in elsewhere
    ]
    return found + [
        f"{place}: it or {test} is gone, or it has a mirrored test now"
        for place, (test, _) in elsewhere.items()
        if used.get(place) or not (package / place).exists() or not (root / test).is_file()
    ]


def _modules(package: Path) -> list[Path]:
    files = (path for path in sorted(package.rglob("*.py")) if not path.stem.startswith("__"))
    return [path for path in files if _does_something(path)]


def _mirrored(path: Path, package: Path, unit: Path) -> bool:
    folder = unit / path.parent.relative_to(package)
    own = [*folder.glob(f"test_{path.stem}.py"), *folder.glob(f"test_*_{path.stem}.py")]
    return bool(own) or (folder.parent / f"test_{folder.name}.py").is_file()


def _does_something(path: Path) -> bool:
    """False for a module of values: no function in it has more than a docstring and `...`."""
    return any(
        not (isinstance(line, ast.Expr) and isinstance(line.value, ast.Constant))
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        for line in node.body
    )


if __name__ == "__main__":
    sys.exit("\n".join(missing(ROOT, ELSEWHERE)))
