"""CPU microseconds that flow control spends on a request while thousands wait.

    python -m benchmarks.flow [--queued 10000] [--flows 1000] [--rounds 20000]

Every round one request arrives, one goes, and one in ten of those that wait leaves. `slowest` shows stalls: the
longest is when a heap of 20,000 entries drops the half that waits no more, once in 10,000 requests.
"""

import argparse
import random
import statistics
import time

from headgate.app.processes.garbage import set_garbage_collection
from headgate.compiled import in_use
from headgate.flow.control import FlowControl
from headgate.flow.fairness.round_robin import RoundRobin
from headgate.flow.ordering.earliest_deadline import EarliestDeadline
from headgate.flow.queue import Ticket
from headgate.flow.settings import BandSettings, FlowSettings

POLICIES = {
    "weighted-tokens, fcfs": BandSettings(most_requests=100_000),
    "round-robin, earliest-deadline": BandSettings(
        fairness=RoundRobin(), ordering=EarliestDeadline(), most_requests=100_000
    ),
}


def measure(band: BandSettings, queued: int, flows: int, rounds: int) -> dict[str, list[float]]:
    """Seconds of every call, by what it did."""
    dice = random.Random(1)
    flow = FlowControl(FlowSettings(other_bands=band, most_requests=2 * queued, most_accounts=2 * flows))
    names = [f"tenant-{number}" for number in range(flows)]
    spent: dict[str, list[float]] = {"arrive": [], "next": [], "forget": [], "ended": []}
    tickets: list[Ticket] = []
    now = 0.0

    def timed(what: str, began: float) -> None:
        spent[what].append(time.thread_time() - began)

    def come(number: int) -> None:
        deadline = now + 1000.0 + dice.random() if dice.random() < 0.5 else None
        ticket = Ticket(number, dice.choice((-10, 0, 5)), dice.uniform(50, 2000), 4096, None, None, deadline)
        who = dice.choice(names)
        began = time.thread_time()
        flow.arrive(ticket, who, now, room=False)
        timed("arrive", began)
        tickets.append(ticket)

    for number in range(queued):
        come(number)
    for every in spent.values():
        every.clear()
    running: list[Ticket] = []
    for number in range(rounds):
        now += 0.001
        come(queued + number)
        began = time.thread_time()
        ticket = flow.next(now, lambda kind: True)
        timed("next", began)
        assert ticket is not None
        running.append(ticket)
        if number % 10 == 0:
            place = dice.randrange(len(tickets))
            tickets[place], tickets[-1] = tickets[-1], tickets[place]
            one = tickets.pop()
            if one.waiting:
                began = time.thread_time()
                flow.forget(one, now)
                timed("forget", began)
                come(queued + rounds + number)
        if len(running) > 64:
            over = running.pop(dice.randrange(64))
            began = time.thread_time()
            flow.ended(over, dice.uniform(10, 3000), now)
            timed("ended", began)
    flow.check()
    return spent


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--queued", type=int, default=10_000)
    parser.add_argument("--flows", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=20_000)
    options = parser.parse_args()
    print(f"{options.queued} queued in {options.flows} flows, {in_use()} core; µs")
    set_garbage_collection()
    for name, band in POLICIES.items():
        for what, times in measure(band, options.queued, options.flows, options.rounds).items():
            p99 = statistics.quantiles(times, n=100)[98]
            print(
                f"{name:>31} {what:>7}: mean {statistics.fmean(times) * 1e6:5.1f}  p99 {p99 * 1e6:6.1f}"
                f"  slowest {max(times) * 1e6:7.0f}",
                flush=True,
            )


if __name__ == "__main__":
    main()
