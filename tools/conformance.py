"""Runs an upstream conformance suite against Headgate, installed as users install it.

Usage: python -m tools.conformance gie|gateway [options] [-- flags of the suite]

In the lab, or with KUBECONFIG set in that cluster (see tools/lab.py). The last lines are `passed: N` and
`failed: N`; the exit code is 0 when the suite is content. A whole run's report is written into
docs/conformance/.
"""

import argparse
import re
import sys
import tempfile
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

_DONE = re.compile(r"^\s*--- (PASS|FAIL|SKIP): TestConformance/([A-Za-z0-9]+) \((.*)\)")
_STARTED = re.compile(r"^=== RUN\s+TestConformance/([A-Za-z0-9]+)$")


class Count:
    """What a suite's output says so far."""

    def __init__(self) -> None:
        self.results: dict[str, str] = {}
        """Test → PASS, FAIL or SKIP."""

    def read(self, line: str) -> str | None:
        """What to say of a line, if anything."""
        if (started := _STARTED.match(line)) is not None:
            return f"  {started[1]} ..."
        if (done := _DONE.match(line)) is None:
            return None
        if not line.startswith("    ---"):
            return None  # a part of a test
        self.results[done[2]] = done[1]
        return f"  {done[1]}  {done[2]} ({done[3]})"

    def of(self, result: str) -> list[str]:
        """Tests with that result, ordered."""
        return sorted(test for test, each in self.results.items() if each == result)


def arguments(given: Sequence[str]) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m tools.conformance")
    parser.add_argument("suite", choices=("gie", "gateway"))
    parser.add_argument("--fast", action="store_true", help="short timeouts, no report: while developing")
    parser.add_argument("--core", action="store_true", help="gateway: no extended features; no report")
    parser.add_argument("--own-picker", action="store_true", help="gie: our picker in place of the suite's")
    parser.add_argument("--keep", action="store_true", help="the lab stays up")
    parser.add_argument("--no-report", action="store_true")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="value of the chart")
    at = given.index("--") if "--" in given else len(given)
    told = parser.parse_args(given[:at])
    told.flags = list(given[at + 1 :])
    return told


def flags_of(told: argparse.Namespace, report: Path | None, *, in_lab: bool) -> list[str]:
    """The suite's flags."""
    found: list[str] = []
    if told.suite == "gateway":
        found.append(f"--conformance-profiles={PROFILES}")
        if told.core:
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


def run(told: argparse.Namespace) -> int:
    """Everything. Raises LabError."""
    began = time.monotonic()
    images = own_images("/lwepp:" if told.own_picker else None)
    whole = not (told.fast or told.core or told.own_picker or told.no_report or told.flags)
    with tempfile.TemporaryDirectory() as folder, Lab("headgate", images, keep=told.keep) as lab:
        report = Path(folder) / NAMES[told.suite] if whole else None
        lab.install(*(LWEPP if told.suite == "gie" and not told.own_picker else ()), *told.set)
        lab.kubectl("wait", "--for=condition=Accepted", f"gatewayclass/{GATEWAY_CLASS}", "--timeout=60s")
        say(f"running the suite {told.suite} ...")
        flags = flags_of(told, report, in_lab=lab.cluster is None)
        count = Count()
        log: list[str] = []
        with lab.suite(told.suite, *flags, env=ABOUT) as suite:
            assert suite.stdout is not None
            for line in suite.stdout:
                log.append(line)
                if (said := count.read(line)) is not None and not said.endswith("..."):
                    say(said)
        failed = count.of("FAIL")
        if failed or suite.returncode:
            logs = Path(tempfile.gettempdir()) / f"headgate-conformance-{told.suite}.log"
            logs.write_text("".join(log) + lab.logs("headgate-controller", 500))
            say(f"the suite's whole output: {logs}")
        if report is not None and report.exists():
            REPORTS.mkdir(exist_ok=True)
            (REPORTS / report.name).write_text(report.read_text())
            say(f"report: docs/conformance/{report.name}")
    say(f"took {time.monotonic() - began:.0f} s")
    if skipped := count.of("SKIP"):
        say(f"skipped: {len(skipped)}")
    say(f"passed: {len(count.of('PASS'))}")
    say(f"failed: {len(failed)}")
    return suite.returncode or (1 if failed or not count.of("PASS") else 0)


def main() -> int:
    """Run it."""
    try:
        return run(arguments(sys.argv[1:]))
    except LabError as error:
        say(f"conformance: {error}")
        return 2


if __name__ == "__main__":
    sys.exit(main())
