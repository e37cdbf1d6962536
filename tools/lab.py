"""Headgate as Pods on a real Kubernetes API: the lab of KUBE_LAB, or the cluster of KUBECONFIG.

The lab (../shared/kube-lab unless KUBE_LAB says otherwise) runs Pods as local processes in network
namespaces; the images of the chart stand for the programs of this checkout. It needs root and `ip`, `nft`,
`nsenter`; building it from nothing needs Go and some ten minutes, once.
"""

import contextlib
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Self

from tools import render_chart

ROOT = Path(__file__).parents[1]
NAMESPACE = render_chart.NAMESPACE
GATEWAY_CLASS = "headgate"

PATIENCE = "--timeout=120s"

FORMER = "sigs.k8s.io/gateway-api-inference-extension@v0.3.0"
"""Its CRDs are those of InferencePools of v1alpha2."""

PROGRAMS = ("etcd", "kube-apiserver", "kube-controller-manager", "kubectl", "lwepp", "echo-basic")


class LabError(Exception):
    """What is missing, or did not work, and what to do."""


def folder() -> Path:
    """Where the lab's scripts are. Raises LabError."""
    told = os.environ.get("KUBE_LAB")
    found = [Path(told)] if told else [each / "shared" / "kube-lab" for each in ROOT.parents]
    for each in found:
        if (each / "up.sh").exists():
            return each.resolve()
    raise LabError(f"there is no lab in {found[0]}: set KUBE_LAB to its folder, or KUBECONFIG to a cluster")


def programs() -> Path:
    """Where the lab keeps what it built."""
    home = os.environ.get("KLAB_HOME")
    return (Path(home) if home else Path.home() / ".cache" / "kubelab") / "bin"


def go_module(name: str) -> Path:
    """A Go module, `path@version`, in Go's cache; it is fetched where it is not there. Raises LabError."""
    if shutil.which("go") is None:
        raise LabError(f"the Go module {name} cannot be found without go")
    done = subprocess.run(["go", "env", "GOMODCACHE"], capture_output=True, text=True, check=False)
    at = Path(done.stdout.strip()) / name
    if done.returncode == 0 and not at.is_dir():
        done = subprocess.run(["go", "mod", "download", name], capture_output=True, text=True, check=False)
    if done.returncode or not at.is_dir():
        raise LabError(f"the Go module {name} is not there: {done.stderr.strip()}")
    return at


def own_images(picker: str | None = None) -> dict[str, dict[str, object]]:
    """Part of an image's name → the program of this checkout that stands for it.

    *picker*: another image, such as `/lwepp:`, that our picker stands for too.
    """
    from headgate.io.envoy.binary import find_envoy

    at = where_pods_see_it(ROOT)

    def seen(program: Path) -> str:
        return str(at / program.relative_to(ROOT) if program.is_relative_to(ROOT) else program)

    python = seen(Path(sys.executable))
    headgate = [seen(Path(sys.executable).parent / "headgate")]
    found: dict[str, dict[str, object]] = {
        "/headgate-controller:": {"command": headgate},
        "/headgate-picker:": {"command": headgate},
        "/headgate-fleet:": {"command": [*headgate, "fleet"]},
        "/envoyproxy/envoy:": {"command": [python, seen(ROOT / "tools/lab_envoy.py"), seen(find_envoy())]},
    }
    if picker is not None:
        found[picker] = {"command": [*headgate, "picker", "--conformance-headers"]}
    return found


HIDDEN = (Path("/tmp"), Path("/run"))  # noqa: S108 - where Pods have file systems of their own
"""Folders of this machine whose content no Pod sees."""


def where_pods_see_it(checkout: Path) -> Path:
    """The checkout, or what its programs need of it, at a place that Pods see: links to the same files."""
    if not any(checkout.is_relative_to(each) for each in HIDDEN):
        return checkout
    name = f"lab-{hashlib.sha256(str(checkout).encode()).hexdigest()[:12]}"
    copy = Path.home() / ".cache" / "headgate" / name
    shutil.rmtree(copy, ignore_errors=True)
    copy.mkdir(parents=True)
    for each in (".venv", "src", "tools"):
        shutil.copytree(checkout / each, copy / each, symlinks=True, copy_function=_linked)
    venv = copy / ".venv"
    packages = next(venv.glob("lib/python*/site-packages"))
    for file in (*(venv / "bin").iterdir(), *packages.glob("*.pth"), *packages.glob("__editable__*.py")):
        if file.is_symlink() or not file.is_file():
            continue
        content = file.read_bytes()
        if str(checkout).encode() in content:
            mode = file.stat().st_mode
            file.unlink()  # a link: what is at its other end stays as it is
            file.write_bytes(content.replace(str(checkout).encode(), str(copy).encode()))
            file.chmod(mode)
    return copy


def _linked(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:  # another file system
        shutil.copy2(source, target)


class Lab:
    """A lab, or a cluster that is there. To be used as a context: it is down at the end."""

    def __init__(
        self, name: str = "headgate", images: Mapping[str, object] | None = None, *, keep: bool = False
    ) -> None:
        """*name*: of its network namespace; labs of different names do not meet. *images*: see `own_images`.
        *keep*: it stays up at the end."""
        self.cluster = os.environ.get("KUBECONFIG") or None
        """A cluster that is there; None: the lab."""
        self._keep = keep
        self._folder = Path() if self.cluster else folder()
        self._temporary = tempfile.TemporaryDirectory(prefix="headgate-lab-")
        self.env = dict(os.environ)
        if self.cluster is None:
            file = Path(self._temporary.name) / "images.json"
            file.write_text(json.dumps(own_images() if images is None else images))
            theirs = os.environ.get("KLAB_IMAGES", str(self._folder / "images.json"))
            self.env |= {
                "HEADGATE_IN_LAB": "1",
                "KLAB_NS": os.environ.get("KLAB_NS", name),
                "KLAB_IMAGES": f"{theirs}:{file}",
            }

    def __enter__(self) -> Self:
        """Up. Raises LabError."""
        try:
            self._start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def _start(self) -> None:
        if self.cluster is None:
            missing_rights()
            if not all((programs() / each).exists() for each in PROGRAMS):
                say("building the lab (about ten minutes, once) ...")
                self._script("build.sh", "building the lab failed")
            with contextlib.suppress(LabError):  # who needs it says so
                go_module(FORMER)  # in the lab nothing can be fetched
            say("starting the lab ...")
            self._script("up.sh", "the lab did not come up", quiet=True)

    def __exit__(self, *_: object) -> None:
        if self.cluster is None and not self._keep:
            subprocess.run([str(self._folder / "down.sh")], env=self.env, check=False)
        self._temporary.cleanup()

    def _script(self, name: str, failed: str, *, quiet: bool = False) -> None:
        done = subprocess.run(
            [str(self._folder / name)], env=self.env, capture_output=quiet, text=True, check=False
        )
        if done.returncode:
            raise LabError(f"{failed}: {done.stderr or ''}")

    def command(self, *args: str) -> list[str]:
        """A command as it is to be run, where the cluster can be reached."""
        return list(args) if self.cluster else [str(self._folder / "exec.sh"), *args]

    def run(self, *args: str, text: str | None = None, check: bool = True) -> str:
        """Run a command there and return what it says. Raises LabError."""
        done = subprocess.run(
            self.command(*args), env=self.env, input=text, capture_output=True, text=True, check=False
        )
        if check and done.returncode:
            raise LabError(f"{' '.join(args)}: {done.stderr or done.stdout}")
        return done.stdout

    def kubectl(self, *args: str, text: str | None = None, check: bool = True) -> str:
        """Ask or change the cluster. Raises LabError."""
        program = "kubectl"
        if self.cluster and shutil.which(program) is None:
            program = str(programs() / program)
        return self.run(program, *args, text=text, check=check)

    def suite(self, which: str, *flags: str, env: Mapping[str, str] | None = None) -> subprocess.Popen[str]:
        """A conformance suite of the lab's, `gie` or `gateway`, as a process whose output is piped."""
        args = [str(self._folder / "run-conformance.sh"), which, "--gateway-class", GATEWAY_CLASS, *flags]
        if self.cluster:
            found = sorted(programs().glob(f"{which}-conformance-*.test"))
            if not found:
                raise LabError(f"the suite is not built: run {folder()}/build.sh")
            args = [str(found[-1]), "-test.v", "-test.timeout", "3h", "-test.run", "^TestConformance$"]
            args += [f"--gateway-class={GATEWAY_CLASS}", *flags]
        return subprocess.Popen(
            args, env={**self.env, **(env or {})}, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )

    def install(self, *values: str) -> None:
        """Install the chart, with Helm where it is or can be built, and wait until all is ready. *values*:
        `name=value`, as for `--set`. Raises LabError."""
        say("installing Headgate ...")
        try:
            helm = render_chart.find_helm()
        except LookupError:
            if values:
                raise LabError("values of the chart need helm, or go to build it") from None
            self.kubectl("apply", "--server-side", "-f", str(render_chart.PLAIN))
        else:
            sets = [part for each in values for part in ("--set", each)]
            chart = ("headgate", str(render_chart.CHART), "-n", NAMESPACE, "--create-namespace")
            self.run(str(helm), "upgrade", "--install", *chart, *sets)
        self.kubectl("-n", NAMESPACE, "wait", "--for=condition=Available", "deployment", "--all", PATIENCE)

    def logs(self, deployment: str, lines: int = 50) -> str:
        """The last lines of a Deployment of ours."""
        told = ("logs", f"deployment/{deployment}", f"--tail={lines}")
        return self.kubectl("-n", NAMESPACE, *told, check=False)


def missing_rights() -> None:
    """Raises LabError where no lab can run, and says why."""
    lacking = [each for each in ("ip", "nft", "nsenter", "unshare", "openssl") if shutil.which(each) is None]
    if lacking:
        what = ", ".join(lacking)
        raise LabError(f"the lab needs {what} (Debian: apt-get install nftables iproute2 util-linux openssl)")
    if os.geteuid() != 0:
        raise LabError("the lab makes network namespaces and mounts, which needs root")
    tried = subprocess.run(
        ["unshare", "--net", "--mount", "true"], capture_output=True, text=True, check=False
    )
    if tried.returncode:
        raise LabError(f"namespaces cannot be made here: {tried.stderr.strip()}")


def say(line: str) -> None:
    """Progress."""
    print(line, flush=True)


def run_in_lab(command: Sequence[str]) -> int:
    """`python -m tools.lab COMMAND…`: with Headgate installed, run a command there, then take all down."""
    with Lab(f"headgate-{os.getpid()}") as lab:
        lab.install()
        return subprocess.run(lab.command(*command), env=lab.env, check=False).returncode


if __name__ == "__main__":
    try:
        sys.exit(run_in_lab(sys.argv[1:] or ["bash"]))
    except LabError as error:
        sys.exit(f"lab: {error}")
