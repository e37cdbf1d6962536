"""What routing is worth: TTFT, goodput and reuse of the default policy against round robin and least-requests.

Each policy gets the same load (same seed) over a fresh simulated fleet, through the real gateway: the demo's own
runs, for several loads. Goodput is the share of arrivals with TTFT < 2 s and TPOT < 50 ms.
With `--flow-control pairs`, the default policy alone, with flow control and without it by turns, several seeds;
with `--flow-control virtual` the same under virtual time, where other work on the machine makes no difference.
"""

import argparse
import json
import subprocess
import sys
from typing import Any

import msgspec
from rich.table import Table
from tests.live.harness.processes import HEADGATE

from benchmarks import virtual_routing
from headgate.app.demo.plan import DemoSettings
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


def pairs(asked: argparse.Namespace) -> None:
    """The default policy with flow control on and off, by turns; what the seeds add up to, and their ratio."""
    table = Table(
        title=f"flow control, {asked.replicas} simulated replicas (8b-h100), {asked.seeds} seeds of {asked.seconds:g} s"
        + (", virtual time" if asked.flow_control == "virtual" else "")
    )
    for head in ("load", "flow control", "TTFT p50 ms", "p90 ms", "goodput", "tok/s", "answered"):
        table.add_column(head, justify="left" if head in ("load", "flow control") else "right")
    for load in asked.loads.split(","):
        if asked.flow_control == "virtual":
            _add(table, load, _virtual(load, asked))
            continue
        found: dict[str, list[Any]] = {"on": [], "off": []}
        for seed in range(asked.seed, asked.seed + asked.seeds):
            for name, said in (("on", "--flow-control"), ("off", "--no-flow-control"))[
                :: 1 if seed % 2 else -1
            ]:
                told = compare(load, ("default",), asked.seconds, asked.replicas, seed, said)
                found[name].append(told["default"])
        _add(table, load, {name: _means(reports) for name, reports in found.items()})
    PlainConsole(width=130).print(table)


def _add(table: Table, load: str, columns: dict[str, tuple[float, ...]]) -> None:
    """Rows of one load: `on`, `off`, and their ratio."""
    for name, (p50, p90, goodput, tokens, answered) in columns.items():
        table.add_row(load, name, ms(p50), ms(p90), f"{goodput:.3f}", f"{tokens:,.0f}", f"{answered:.4f}")
    ratios = [on / off if off else 1.0 for on, off in zip(columns["on"], columns["off"], strict=True)]
    table.add_row(load, "on / off", *(f"{each:.3f}" for each in ratios))
    table.add_section()


def _virtual(load: str, asked: argparse.Namespace) -> dict[str, tuple[float, ...]]:
    """The same means, from runs under virtual time."""
    found: dict[str, tuple[float, ...]] = {}
    for name in ("on", "off"):
        rows = [
            msgspec.structs.astuple(virtual_routing.run(scene(load, asked, seed), flow=name == "on"))
            for seed in range(asked.seed, asked.seed + asked.seeds)
        ]
        found[name] = tuple(sum(column) / len(rows) for column in zip(*rows, strict=True))
    return found


def scene(load: str, asked: argparse.Namespace, seed: int) -> DemoSettings:
    """The options of `LOADS` as settings."""
    words = dict(zip(LOADS[load][::2], LOADS[load][1::2], strict=True))
    seats, rate = words.get("--max-num-seqs"), words.get("--rate")
    return DemoSettings(
        load=words["--load"],
        replicas=asked.replicas,
        policies=("default",),
        duration_s=asked.seconds,
        rate=None if rate is None else float(rate),
        max_num_seqs=None if seats is None else int(seats),
        slow=int(words.get("--slow", "0")),
        seed=seed,
    )


def _means(reports: list[Any]) -> tuple[float, ...]:
    """TTFT p50 and p90 in seconds, goodput, tokens/s, share answered: means over the seeds."""
    rows = [
        (
            report["ttft"]["p50"] or 0.0,
            report["ttft"]["p90"] or 0.0,
            report["goodput"],
            report["tokens_per_s"],
            report["ok"] / (report["requests"] + report["not_sent"]),
        )
        for report in reports
    ]
    return tuple(sum(column) / len(rows) for column in zip(*rows, strict=True))


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
    parser.add_argument(
        "--flow-control",
        choices=("on", "pairs", "virtual"),
        default="on",
        help="pairs: beside the same without it; virtual: so, under virtual time",
    )
    parser.add_argument("--seeds", type=int, default=4, help="of pairs")
    asked = parser.parse_args()
    if unknown := set(asked.loads.split(",")) - LOADS.keys():
        parser.error(f"no load {', '.join(sorted(unknown))}; there are {', '.join(LOADS)}")
    if asked.flow_control != "on":
        pairs(asked)
        return
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
