"""Runs an upstream conformance suite against Headgate, installed as users install it.

Usage: python -m tools.conformance gie|gateway|core [options] [-- flags of the suite]

In the lab, or with KUBECONFIG set in that cluster (see tools/lab.py). The last lines are `passed: N` and
`failed: N`; the exit code is 0 when the suite is content. A whole run's report is written into
docs/conformance/.
"""

import argparse
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path

from tools.lab import GATEWAY_CLASS, ROOT, Lab, LabError, own_images, say

from headgate import __version__

REPORTS = ROOT / "docs" / "conformance"

NAMES = {"gie": "gie-v1.6.0-report.yaml", "gateway": "gateway-api-v1.6.1-report.yaml"}

LWEPP = ("controller.extraArgs={--picker-body-mode=streamed}",)
"""What the picker of the suite GIE v1.6.0 needs; see docs/decisions/pickers-body-modes.md."""

PROFILES = "GATEWAY-HTTP,GATEWAY-GRPC"

LAB_ADDRESSES = ("--usable-address=10.97.200.1", "--unusable-address=192.0.2.1")

ABOUT = {
    "ORGANIZATION": "headgate",
    "PROJECT": "headgate",
    "PROJECT_URL": "https://github.com/headgate/headgate",
    "PROJECT_VERSION": f"v{__version__}",
    "CONTACT": "https://github.com/headgate/headgate/issues",
}

NEEDS = (
    "needs root, for network namespaces and mounts; ip, nft, nsenter; the lab of KUBE_LAB, whose programs "
    "are built once (ten minutes, with Go); then three minutes, mostly of waiting. Or KUBECONFIG."
)

LUCK = "GatewayWeightedAcrossTwoInferencePools"
"""It wants to meet the pool of 30 % three times in a row in 300 tries, for each of three pods. One run in a
hundred does not."""

BESIDE = (
    "tests/lab",
    *(f"--ignore=tests/lab/{each}" for each in ("disturbing", "faults", "foreign")),
)
"""Those of our tests that may run beside the suites. Faults under load cost work and are for `make lab`; what
needs other vendors' gateways is for `make istio`."""

_DONE = re.compile(r"^\s*--- (PASS|FAIL|SKIP): TestConformance/([A-Za-z0-9]+) \((.*)\)")


class Count:
    """What a suite's output says so far."""

    def __init__(self) -> None:
        self.results: dict[str, str] = {}
        """Test → PASS, FAIL or SKIP."""

    def read(self, line: str) -> str | None:
        """What to say of a line, if anything."""
        done = _DONE.match(line)
        if done is None or not line.startswith("    ---"):
            return None  # nothing, or a part of a test
        self.results[done[2]] = done[1]
        return f" {done[1]}  {done[2]} ({done[3]})"

    def of(self, result: str) -> list[str]:
        """Tests with that result, ordered."""
        return sorted(test for test, each in self.results.items() if each == result)


def arguments(given: Sequence[str]) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m tools.conformance")
    parser.add_argument("suite", choices=("gie", "gateway", "core"), help="core: both, nothing extended")
    parser.add_argument("--fast", action="store_true", help="short timeouts, no report: while developing")
    parser.add_argument("--own-picker", action="store_true", help="gie: our picker in place of the suite's")
    parser.add_argument("--keep", action="store_true", help="the lab stays up")
    parser.add_argument("--no-report", action="store_true")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="value of the chart")
    at = given.index("--") if "--" in given else len(given)
    told = parser.parse_args(given[:at])
    told.flags = list(given[at + 1 :])
    return told


def flags_of(told: argparse.Namespace, suite: str, report: Path | None, *, in_lab: bool) -> list[str]:
    """The flags of one of the suites."""
    found: list[str] = []
    if suite == "gateway":
        found.append(f"--conformance-profiles={PROFILES}")
        if told.suite == "core":
            found.append("--supported-features=Gateway,HTTPRoute,ReferenceGrant,GRPCRoute")
        elif in_lab:
            found += LAB_ADDRESSES
    if told.fast:
        found.append("--fast")
    if report is not None and in_lab:
        found += ["--report", str(report)]
    elif report is not None:
        keys = ("ORGANIZATION", "PROJECT", "PROJECT_URL", "PROJECT_VERSION", "CONTACT")
        names = ("organization", "project", "url", "version", "contact")
        found += [f"--report-output={report}"]
        found += [f"--{name}={ABOUT[key]}" for key, name in zip(keys, names, strict=True)]
    return [*found, *told.flags]


class Running:
    """A suite that runs: its output is read by a thread, so that several may run side by side."""

    def __init__(self, lab: Lab, suite: str, flags: Sequence[str], *, prefix: str = "") -> None:
        self.suite = suite
        self.count = Count()
        self._prefix = prefix
        self._log: list[str] = []
        self._process = lab.suite(suite, *flags, env=ABOUT)
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._log.append(line)
            if (said := self.count.read(line)) is not None:
                say(f"{self._prefix}{said}")

    def wait(self, lab: Lab) -> bool:
        """Whether it is content; otherwise its whole output is put into a file, which is named."""
        self._reader.join()
        code = self._process.wait()
        if code == 0 and self.count.of("PASS") and not self.count.of("FAIL"):
            return True
        file = Path(tempfile.gettempdir()) / f"headgate-conformance-{self.suite}.log"
        file.write_text("".join(self._log) + lab.logs("headgate-controller", 500))
        say(f"the whole output of the suite {self.suite}: {file}")
        return False


class OwnTests:
    """Our own tests on a cluster, as a process in the lab's network."""

    def __init__(self, lab: Lab, *which: str) -> None:
        args = lab.command(sys.executable, "-m", "pytest", "-q", "-n0", *which)
        self._out = tempfile.TemporaryFile("w+")  # noqa: SIM115 - `wait` closes it
        self._process = subprocess.Popen(
            args, cwd=ROOT, env=lab.env, stdout=self._out, stderr=subprocess.STDOUT, text=True
        )

    def wait(self) -> bool:
        """Whether all passed; what they said is told."""
        code = self._process.wait()
        self._out.seek(0)
        lines = self._out.read().splitlines()
        self._out.close()
        for line in lines if code else lines[-1:]:
            say(f"lab: {line}")
        return code == 0


def run(told: argparse.Namespace) -> int:
    """Everything. Raises LabError."""
    began = time.monotonic()
    say(NEEDS)
    suites = ("gie", "gateway") if told.suite == "core" else (told.suite,)
    images = own_images("/lwepp:" if told.own_picker else None)
    whole = told.suite != "core" and not (told.fast or told.own_picker or told.no_report or told.flags)
    name = f"headgate-{os.getpid()}"
    with tempfile.TemporaryDirectory() as folder, Lab(name, images, keep=told.keep) as lab:
        lab.install(*(LWEPP if "gie" in suites and not told.own_picker else ()), *told.set)
        lab.kubectl("wait", "--for=condition=Accepted", f"gatewayclass/{GATEWAY_CLASS}", "--timeout=60s")
        say(f"running {' and '.join(suites)} ...")
        report = Path(folder) / NAMES[told.suite] if whole else None
        running = [
            Running(lab, each, flags_of(told, each, report, in_lab=lab.cluster is None), prefix=f"{each}:")
            for each in suites
        ]
        beside = OwnTests(lab, *BESIDE) if told.suite == "core" else None
        content = [each.wait(lab) for each in running]
        for at, each in enumerate(running):
            if not content[at] and each.count.of("FAIL") == [LUCK]:
                say(f"{LUCK} is a matter of luck: once more")
                again = Running(lab, each.suite, [f"--run-test={LUCK}"], prefix=f"{each.suite}:")
                content[at] = again.wait(lab)
                each.count.results |= {LUCK: "PASS" if content[at] else "FAIL"}
        if beside is not None:
            content.append(beside.wait())
            content.append(OwnTests(lab, "tests/lab/disturbing").wait())
        if report is not None and report.exists():
            REPORTS.mkdir(exist_ok=True)
            (REPORTS / report.name).write_text(report.read_text())
            say(f"report: docs/conformance/{report.name}")
    say(f"took {time.monotonic() - began:.0f} s")
    for result, word in (("SKIP", "skipped"), ("PASS", "passed"), ("FAIL", "failed")):
        number = sum(len(each.count.of(result)) for each in running)
        if number or result != "SKIP":
            say(f"{word}: {number}")
    return 0 if all(content) else 1


def main() -> int:
    """Run it."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # the lab is taken down then, too
    try:
        return run(arguments(sys.argv[1:]))
    except LabError as error:
        say(f"conformance: {error}")
        return 2


if __name__ == "__main__":
    sys.exit(main())
