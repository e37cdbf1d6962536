"""After any chaos, healthy endpoints get their traffic back: no condition is for ever."""

import random

import pytest
from tests.unit.picker.picker_builders import (
    a_machine,
    a_pool,
    arrives,
    ends,
    letter,
    no_scrape,
    routed,
    scrape,
    starts,
    token,
)

from headgate.picker.actions import Route
from headgate.picker.events import Event, Woken
from headgate.picker.machine import PoolMachine

NAMES = "abcd"
ERRORS = ["refused", "unreachable", "timeout", "reset", "http-404", "tls", "not-sent"]
METRICS = ["live", "still", "none"]
"""A progress counter that moves, one that never does, and no metrics page at all."""


class Pool:
    """A machine under virtual time with a model server behind every name."""

    def __init__(self, seed: int, metrics: str, unseen: bool) -> None:
        self.dice = random.Random(seed)
        self.machine: PoolMachine = a_machine(NAMES)
        self.metrics = metrics
        self.unseen = unseen
        self.now = 0.0
        self.progress = 0.0
        self.stream = 0
        self.running: list[tuple[int, str]] = []

    def feed(self, event: Event) -> None:
        self.machine.handle(event, self.now)

    def arrive(self) -> tuple[int, str]:
        self.stream += 1
        prompt = "".join(self.dice.choices("xyz", k=self.dice.choice([2, 20, 300])))
        streaming = self.dice.random() < 0.6
        event = arrives(self.stream, prompt, streaming=streaming, unseen=self.unseen)
        route: Route = routed(self.machine, event, self.now)
        return self.stream, letter(route.endpoints[0])

    def scrape(self, name: str, running: int) -> None:
        if self.metrics == "none":
            self.feed(no_scrape(name, "http-404"))
            return
        self.progress += self.metrics == "live"
        self.feed(scrape(name, running=running, progress=self.progress))

    def chaos(self, steps: int) -> None:
        dice = self.dice
        for _ in range(steps):
            self.now += dice.choice([0.01, 0.1, 0.3, 2.0])
            name = dice.choice(NAMES)
            stream = dice.choice(self.running)[0] if self.running else 0
            match dice.choice(
                ["in", "in", "in", "scrape", "no", "start", "token", "end", "end", "pool", "wake"]
            ):
                case "in":
                    self.running.append(self.arrive())
                case "scrape":
                    self.scrape(name, dice.choice([0, 1, 5]))
                case "no":
                    self.feed(no_scrape(name, dice.choice(ERRORS)))
                case "start":
                    status = dice.choice([200, 429, 500, 503, 504])
                    served = dice.choice([None, name])
                    self.feed(starts(stream, status, served, local=status > 500 and dice.random() < 0.5))
                case "token":
                    self.feed(token(stream))
                case "end":
                    ending = dice.choice(["complete", "aborted", "failed", "lost"])
                    told = dice.choice([None, 200, 500])
                    self.feed(ends(stream, ending, told))  # type: ignore[arg-type]
                    self.running = [each for each in self.running if each[0] != stream]
                case "pool":
                    self.feed(a_pool(NAMES if dice.random() < 0.7 else NAMES[: dice.randint(1, 4)]))
                case _:
                    self.feed(Woken())
        self.machine.check()

    def good_times(self, seconds: int) -> list[str]:
        """Every endpoint works, some requests at a time; where those of the last third went."""
        self.feed(a_pool(NAMES))
        for stream, _ in self.running:
            self.feed(ends(stream, "aborted", None))
        picks = []
        for step in range(seconds * 2):
            self.now += 0.4
            for name in NAMES:
                self.scrape(name, 1)
            sent = [self.arrive() for _ in range(2 * len(NAMES))]
            self.now += 0.1  # long enough for their prompts to be computed
            for stream, name in sent:
                if not self.unseen:
                    self.feed(starts(stream))
                    self.feed(token(stream))
                self.feed(ends(stream, "lost" if self.unseen else "complete", None if self.unseen else 200))
                if step > seconds * 4 / 3:
                    picks.append(name)
        self.machine.check()
        return picks


@pytest.mark.parametrize("metrics", METRICS)
@pytest.mark.parametrize("unseen", [False, True])
@pytest.mark.parametrize("seed", range(6))
def test_everyone_comes_back(seed: int, unseen: bool, metrics: str) -> None:
    pool = Pool(seed, metrics, unseen)
    pool.chaos(400)
    picks = pool.good_times(80)
    view = pool.machine.view(pool.now)
    told = [(letter(one.endpoint), one.condition, one.reason, one.ramp) for one in view.endpoints]
    assert [(condition, ramp) for _, condition, _, ramp in told] == [("up", 1.0)] * len(NAMES), told
    assert view.in_flight == 0
    assert set(picks) == set(NAMES)
