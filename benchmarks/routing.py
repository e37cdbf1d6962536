"""What routing is worth: TTFT, goodput and reuse of the default policy against round robin and least-requests.

Each policy gets the same load (same seed) over a fresh simulated fleet, through the real gateway: the demo's own
runs, for several loads. Goodput is the share of arrivals with TTFT < 2 s and TPOT < 50 ms.
"""

import argparse
import json
import subprocess
import sys
from typing import Any

from rich.table import Table
from tests.live.harness.processes import HEADGATE

from headgate.io.terminal.console import PlainConsole

POLICIES = ("default", "least-requests", "round-robin")

LOADS = {
    "shared-prefix": ("--load", "shared-prefix"),
    "multi-turn": ("--load", "multi-turn"),
    "bursty": ("--load", "bursty"),
    "hot-prefix": ("--load", "hot-prefix", "--max-num-seqs", "4", "--rate", "30"),
    "slow-half": ("--load", "multi-turn", "--slow", "2", "--rate", "24"),
}
"""Name → options of the demo. `slow-half` is for an even number of replicas."""


def compare(
    load: str, policies: tuple[str, ...], duration_s: float, replicas: int, seed: int, *more: str
) -> Any:
    """The demo's comparison as JSON; *more* are further options of it."""
    args = ["demo", *LOADS[load], "--policy", ",".join(policies), "--duration", str(duration_s)]
    args += ["--replicas", str(replicas), "--seed", str(seed), "--port", "0", "--output", "json", *more]
    run = subprocess.run([*HEADGATE, *args], stdout=subprocess.PIPE, text=True, check=False)
    if run.returncode:
        sys.exit(f"the demo ended with {run.returncode}")
    return json.loads(run.stdout.splitlines()[-1])["reports"]


def ms(seconds: float | None) -> str:
    """Milliseconds, rounded."""
    return "-" if seconds is None else f"{seconds * 1000:,.0f}"


def rows(load: str, reports: Any, table: Table) -> None:
    """A row per policy; ratios are to the default policy."""
    ours = reports["default"]["ttft"]["p50"] or 1.0
    for policy, report in reports.items():
        hit = report["cached_tokens"] / max(report["prompt_tokens"], 1)
        p50, p90 = report["ttft"]["p50"], report["ttft"]["p90"]
        table.add_row(
            load,
            policy,
            ms(p50),
            ms(p90),
            f"{(p50 or 0) / ours:.1f}x",
            ms(report["tpot"]["p90"]),
            f"{report['goodput']:.2f}",
            f"{hit:.0%}",
            f"{report['tokens_per_s']:,.0f}",
            f"{report['ok']}/{report['requests'] + report['not_sent']}",
        )


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--loads", default=",".join(LOADS), help=f"of {', '.join(LOADS)}")
    parser.add_argument("--policies", default=",".join(POLICIES))
    parser.add_argument("--seconds", type=float, default=20, help="length of one load")
    parser.add_argument("--replicas", type=int, default=4)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--scrape-interval", default="500ms")
    asked = parser.parse_args()
    if unknown := set(asked.loads.split(",")) - LOADS.keys():
        parser.error(f"no load {', '.join(sorted(unknown))}; there are {', '.join(LOADS)}")
    table = Table(
        title=f"routing, {asked.replicas} simulated replicas (8b-h100), {asked.seconds:g} s a run, seed {asked.seed}"
    )
    for head in (
        "load",
        "policy",
        "TTFT p50 ms",
        "p90 ms",
        "p50 ratio",
        "TPOT p90 ms",
        "goodput",
        "hits",
        "tok/s",
        "answered",
    ):
        table.add_column(head, justify="left" if head in ("load", "policy") else "right")
    for load in asked.loads.split(","):
        pace = ("--scrape-interval", asked.scrape_interval)
        policies = tuple(asked.policies.split(","))
        reports = compare(load, policies, asked.seconds, asked.replicas, asked.seed, *pace)
        rows(load, reports, table)
        table.add_section()
    PlainConsole(width=130).print(table)


if __name__ == "__main__":
    main()
