"""What the picker costs with each wire, in units of what Envoy spends on the bare hop in the same run.

Drives an endpoint-picker harness that stands outside this repository: HEADGATE_EPP_BENCH names its folder (with
`bench.py`), LAB, BIN and VENV are its own. Modes: `lean` is a BUFFERED request without the response phase, `duplex`
what foreign gateways use. One unit is Envoy's CPU per request on the bare hop; medians over rounds. Compare only
figures of one run, and only where nothing else used the processors.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path
from statistics import median
from typing import Any

from rich.table import Table

from headgate.io.terminal.console import PlainConsole

FOLDER = "HEADGATE_EPP_BENCH"
LEAN = {
    "request_body_mode": "BUFFERED",
    "response_header_mode": "SKIP",
    "response_body_mode": "NONE",
    "request_trailer_mode": "SKIP",
    "response_trailer_mode": "SKIP",
}
MODES: dict[str, dict[str, str]] = {"lean": LEAN, "duplex": {}}
SCENARIOS = "closed-1k-shared,closed-16k-shared,closed-128k-shared,stream-1k-shared,open-1k-shared"


VARIANTS = {"": "", "-no-flow": " --no-flow-control"}
"""What follows a wire's name in `--wires` → further options of its picker."""


def _command(wire: str, policy: str) -> str:
    """The picker as the harness starts it: plain text, fixed endpoints, scraping as always."""
    name, dash, variant = wire.partition("-")
    return (
        f"HEADGATE_WIRE={name} exec {Path(sys.executable).parent / 'headgate'} picker"
        f" --endpoints $EPP_ENDPOINTS --grpc-port $EPP_GRPC_PORT --grpc-health-port -1"
        f" --metrics-port $EPP_METRICS_PORT --no-secure-serving --host 127.0.0.1 --policy {policy}"
        f" --log-level warning{VARIANTS[dash + variant]}"
    )


def _run(bench: Path, wire: str, mode: str, asked: argparse.Namespace, folder: Path) -> list[dict[str, Any]]:
    out = folder / f"{wire}-{mode}.jsonl"
    sets = [part for key, value in MODES[mode].items() for part in ("--set", f"{key}={value}")]
    command = [sys.executable, str(bench), f"{wire}-{mode}", "--cmd", _command(wire, asked.policy), *sets]
    command += [
        "--scenarios",
        asked.scenarios,
        "--rounds",
        str(asked.rounds),
        "--duration",
        str(asked.seconds),
    ]
    command += [
        "--endpoints",
        str(asked.endpoints),
        "--pick",
        "override_host",
        "--port-base",
        str(asked.port_base),
    ]
    # The dummy servers must not look saturated: refused requests would be no measure of routed ones.
    command += ["--max-num-seqs", "100000", "--warm", "1", "--out", str(out)]
    found = subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, check=False)
    if found.returncode:
        raise SystemExit(f"{wire} {mode}: the harness failed\n{found.stderr[-2000:]}")
    return [row for row in map(json.loads, out.read_text().splitlines()) if "meta" not in row]


def _cpu(rows: Iterable[dict[str, Any]], process: str) -> float:
    return float(median(row["cpu"][process]["cpu_us_per_req"] for row in rows))


def _rows(wire: str, mode: str, rows: list[dict[str, Any]]) -> Iterable[list[str]]:
    for scenario in dict.fromkeys(row["scenario"] for row in rows):
        bare = [row for row in rows if row["scenario"] == scenario and row["path"] == "bare"]
        picked = [row for row in rows if row["scenario"] == scenario and row["path"] == "ext"]
        unit = _cpu(bare, "envoy")

        def added(name: str, bare: list[Any] = bare, picked: list[Any] = picked) -> float:
            return float(median(row[name] for row in picked) - median(row[name] for row in bare))

        yield [
            wire,
            mode,
            scenario,
            f"{unit:.0f}",
            f"{median(row['rps'] for row in picked):,.0f}",
            f"{_cpu(picked, 'epp') / unit:.2f}",
            f"{(_cpu(picked, 'envoy') - unit) / unit:.2f}",
            f"{added('p50_ms'):.2f}",
            f"{added('p99_ms'):.2f}",
        ]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--wires", default="native,portable", help="-no-flow after a name: that one without flow control"
    )
    parser.add_argument("--modes", default="lean,duplex")
    parser.add_argument("--scenarios", default=SCENARIOS)
    parser.add_argument("--endpoints", type=int, default=8)
    parser.add_argument("--policy", default="default")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=6)
    parser.add_argument("--port-base", type=int, default=28000)
    asked = parser.parse_args()
    if FOLDER not in os.environ:
        raise SystemExit(f"{FOLDER} must name the folder of the harness")
    bench = Path(os.environ[FOLDER]) / "bench.py"
    heads = (
        "wire",
        "mode",
        "load",
        "unit µs",
        "req/s",
        "picker units",
        "Envoy + units",
        "p50 + ms",
        "p99 + ms",
    )
    table = Table(title=f"wires: {asked.policy} policy, {asked.endpoints} endpoints, {asked.rounds} rounds")
    for head in heads:
        table.add_column(head, justify="left" if head in ("wire", "mode", "load") else "right")
    with tempfile.TemporaryDirectory() as folder:
        for mode in asked.modes.split(","):
            for wire in asked.wires.split(","):
                for row in _rows(wire, mode, _run(bench, wire, mode, asked, Path(folder))):
                    table.add_row(*row)
    PlainConsole(width=120).print(table)


if __name__ == "__main__":
    main()
