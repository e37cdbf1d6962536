"""How long the picker's event loop stands still when a pod changes."""

import gc
import time

from benchmarks.controlplane import objects
from headgate.app.picker.followed import Followed
from headgate.model.change import Change
from headgate.model.snapshot import Difference, Snapshot, difference


def longest_step_ms(pools: int, changes: int) -> float:
    """The longest of all steps in which the picker takes in so many changed pods, one after the other."""
    found = objects.pods(pools)
    followed = Followed()
    for _ in followed.steps(difference(Snapshot(), Snapshot(tuple(found)))):
        pass
    gc.collect()
    gc.freeze()
    longest = 0.0
    for number in range(changes):
        changed = objects.pod(number % pools, number % objects.ENDPOINTS, changed=f"c{number}")
        steps = followed.steps(Difference((Change(changed.identity, changed),)))
        told = 0
        while True:
            before = time.perf_counter()
            news = next(steps, None)
            longest = max(longest, time.perf_counter() - before)
            if news is None:
                break
            told += len(news.pools)
        assert told == 1, "one pool has another endpoint"
    return longest * 1000
