"""What batch requests cost interactive ones that share a pool, on simulated engines under virtual time.

    python -m benchmarks.sharing [--seats 4,16,256] [--interactive 0.3,0.7] [--ceilings none,0.75,0.5]

Interactive requests come at random times and are so large a part of what the engines can do; twice as many batch
clients as there are seats ask without a pause, at priority -10. Runs: interactive alone; both without flow control,
where everything goes to an engine at once; both with it, for each ceiling of the batch; both with a ceiling of 1 for
either, so that nobody waits in an engine; both with it, where batch requests, which are not streamed, may be ended
for others (`evict`), once each, and come again a second later. Ratios are to interactive
alone (TTFT) and to no flow control (tokens). Nothing depends on the speed of the machine: equal seeds, equal figures.
"""

import argparse
import json
import random
import statistics
from typing import Any

import msgspec
from rich.table import Table
from tests.simulation import ENGINE, Answer, Simulation, text

from headgate.flow.settings import BandSettings, FlowSettings
from headgate.io.terminal.console import PlainConsole

PROMPT_TOKENS = 400
INTERACTIVE_TOKENS = 120
SECONDS = 160.0
WARM_S = 60.0
"""Nothing that was asked or ended before counts."""


def engine_s(seats: int, tokens: int) -> float:
    """Seconds of an engine that one request costs while all its seats are taken: prefill and its part of steps."""
    a_step_s = ENGINE.step_s + seats * (ENGINE.decode_s + (PROMPT_TOKENS + tokens / 2) * ENGINE.context_s)
    return PROMPT_TOKENS * ENGINE.prefill_s + tokens * a_step_s / seats


def run(
    seats: int,
    share: float,
    *,
    batch: bool,
    flow: bool,
    ceiling: float | None = None,
    others: float | None = None,
    evict: bool = False,
    seed: int = 3,
) -> list[Answer]:
    """All answers of one run; *ceiling* is the batch's, *others* the interactive requests'."""
    engine = msgspec.structs.replace(ENGINE, max_seqs=seats)
    replicas = 4 if seats < 100 else 1
    simulation = Simulation(
        "default",
        [engine] * replicas,
        seed,
        flow=FlowSettings(
            bands={-10: BandSettings(ceiling=ceiling, evict=evict)}, other_bands=BandSettings(ceiling=others)
        )
        if flow
        else None,
        objectives={"batch": -10 if flow else 1},  # without flow control a negative one would be refused
    )
    arrivals, prompts, batches = random.Random(seed), random.Random(seed + 1), random.Random(seed + 2)
    rate = share * replicas / engine_s(seats, INTERACTIVE_TOKENS)

    def interactive() -> None:
        tokens = max(8, int(prompts.lognormvariate(4.6, 0.6)))
        simulation.ask(text(prompts, PROMPT_TOKENS), tokens, objective=None)

    def client() -> None:
        tokens = max(16, int(batches.lognormvariate(5.1, 0.6)))
        simulation.ask(text(batches, PROMPT_TOKENS), tokens, client, objective="batch", streaming=not evict)

    at = 0.0
    while (at := at + arrivals.expovariate(rate)) < SECONDS:
        simulation.at(at, interactive)
    if batch:
        for _ in range(2 * seats * replicas):
            client()
    simulation.run(SECONDS)
    return simulation.answers


def figures(answers: list[Answer]) -> dict[str, float]:
    """TTFT of interactive requests, seconds, and the tokens of each kind, a second."""
    seen = [answer for answer in answers if answer.asked_at >= WARM_S and answer.objective is None]
    first = [a.first_at - a.asked_at for a in seen if a.first_at is not None]
    first += [SECONDS - a.asked_at for a in seen if a.first_at is None and SECONDS - a.asked_at > max(first)]

    def tokens_per_s(objective: str | None) -> float:
        done = [a for a in answers if a.objective == objective and (a.ended_at or 0) >= WARM_S]
        return sum(a.output_tokens for a in done) / (SECONDS - WARM_S)

    return {
        "ttft_p50_s": statistics.median(first),
        "ttft_p95_s": statistics.quantiles(first, n=20)[-1],
        "interactive_tokens_per_s": tokens_per_s(None),
        "batch_tokens_per_s": tokens_per_s("batch"),
        "evicted": sum(answer.evicted for answer in answers),
    }


def compare(seats: int, share: float, ceilings: list[float | None]) -> list[dict[str, Any]]:
    """A row for each run."""
    alone = figures(run(seats, share, batch=False, flow=True))
    free = figures(run(seats, share, batch=True, flow=False))
    rows: list[dict[str, Any]] = [{"run": "alone", **alone}, {"run": "no flow control", **free}]
    for ceiling in ceilings:
        name = "flow control" if ceiling is None else f"ceiling {ceiling:g}"
        rows.append({"run": name, **figures(run(seats, share, batch=True, flow=True, ceiling=ceiling))})
    rows.append({"run": "ceiling 1 for all", **figures(run(seats, share, batch=True, flow=True, others=1.0))})
    rows.append({"run": "evict", **figures(run(seats, share, batch=True, flow=True, evict=True))})
    most = free["interactive_tokens_per_s"] + free["batch_tokens_per_s"]
    for row in rows:
        tokens = row["interactive_tokens_per_s"] + row["batch_tokens_per_s"]
        row["ttft_p95_ratio"] = row["ttft_p95_s"] / alone["ttft_p95_s"]
        row["tokens_ratio"] = tokens / most
        row["seats"], row["interactive"] = seats, share
    return rows


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seats", default="4,16,256", help="of one engine")
    parser.add_argument("--interactive", default="0.3,0.7", help="its part of what the engines can do")
    parser.add_argument("--ceilings", default="none,0.75,0.5")
    parser.add_argument("--output", choices=("table", "json"), default="table")
    asked = parser.parse_args()
    ceilings = [None if each == "none" else float(each) for each in asked.ceilings.split(",")]
    rows = [
        row
        for seats in asked.seats.split(",")
        for share in asked.interactive.split(",")
        for row in compare(int(seats), float(share), ceilings)
    ]
    if asked.output == "json":
        print(json.dumps(rows))
        return
    table = Table()
    for head in (
        "seats",
        "interactive",
        "run",
        "TTFT p50 ms",
        "p95 ms",
        "p95 to alone",
        "tokens/s",
        "to no flow",
    ):
        table.add_column(head, justify="right")
    for row in rows:
        table.add_row(
            str(row["seats"]),
            f"{row['interactive']:.0%}",
            row["run"],
            f"{1000 * row['ttft_p50_s']:,.0f}",
            f"{1000 * row['ttft_p95_s']:,.0f}",
            f"{row['ttft_p95_ratio']:.2f}x",
            f"{row['interactive_tokens_per_s'] + row['batch_tokens_per_s']:,.0f}",
            f"{row['tokens_ratio']:.3f}",
        )
    PlainConsole().print(table)


if __name__ == "__main__":
    main()
