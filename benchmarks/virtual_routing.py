"""The loads of `benchmarks.routing` under virtual time: the picker's machine before simulated engines, no process.

What a gateway adds (hops, serialisation) takes no time here and nothing else on the machine disturbs, so that
the same seed gives the same figures and a difference of 1 % can be seen.
"""

import random
from collections.abc import Sequence
from functools import partial

import msgspec
from tests.simulation import ENGINE, Answer, Simulation, slower, text

from headgate.app.demo.plan import SLOWER, DemoSettings, set_scene
from headgate.flow.settings import FlowSettings
from headgate.io.load.workloads import Conversation, make_plan

FILL_S = 0.05
"""Between two prompts that only fill the caches."""
DRAIN_S = 15.0
"""After the last arrival requests have so long to end."""


class Figures(msgspec.Struct, frozen=True):
    """What one run came to. Times in seconds."""

    ttft_p50: float
    ttft_p90: float
    goodput: float
    """Share of arrivals with a first token within 2 s and later ones within 50 ms each."""
    tokens_per_s: float
    answered: float
    """Share of arrivals."""


def run(settings: DemoSettings, *, flow: bool) -> Figures:
    """One load, as `headgate demo` would make it of *settings*, with flow control or without it."""
    scene = set_scene(settings)
    preset = msgspec.structs.replace(ENGINE, kv_tokens=scene.kv_tokens)
    if settings.max_num_seqs is not None:
        preset = msgspec.structs.replace(preset, max_seqs=settings.max_num_seqs)
    fast = settings.replicas - settings.slow
    presets = [preset] * fast + [slower(preset, SLOWER)] * settings.slow
    plan = make_plan(scene.workload, rate=scene.rate, duration_s=settings.duration_s, seed=settings.seed)
    simulation = Simulation(
        settings.policies[0], presets, settings.seed, flow=FlowSettings() if flow else None
    )
    began = 0.0
    for filler in plan.fillers:
        simulation.at(began, partial(simulation.ask, filler.encode(), 1))
        began += FILL_S
    if plan.fillers:
        simulation.run(began := began + 10.0)
    before = len(simulation.answers)
    rng = random.Random(settings.seed)
    for each in plan.conversations:
        simulation.at(began + each.at_s, _Talk(simulation, each, rng).ask)
    simulation.run(began + plan.duration_s + DRAIN_S)
    return figures(simulation.answers[before:], plan.requests, plan.duration_s)


class _Talk:
    """A conversation on its way: each turn resends what was said before."""

    def __init__(self, simulation: Simulation, plan: Conversation, rng: random.Random) -> None:
        self._simulation = simulation
        self._said = plan.system.encode()
        self._turns = list(plan.turns)
        self._rng = rng

    def ask(self) -> None:
        """Ask the next question."""
        turn = self._turns.pop(0)
        self._said += turn.question.encode()
        self._simulation.ask(self._said, turn.max_tokens, lambda: self._answered(turn.max_tokens))

    def _answered(self, tokens: int) -> None:
        self._said += text(self._rng, tokens)
        if self._turns:
            self._simulation.at(self._simulation.now + self._turns[0].think_s, self.ask)


def figures(answers: Sequence[Answer], planned: int, duration_s: float) -> Figures:
    """Sum up; *planned*: requests of a plan that is carried out whole."""
    first = sorted(one.first_at - one.asked_at for one in answers if one.first_at is not None)
    done = [one for one in answers if one.ended_at is not None]
    return Figures(
        ttft_p50=first[len(first) // 2],
        ttft_p90=first[len(first) * 9 // 10],
        goodput=sum(one.good for one in answers) / planned,
        tokens_per_s=sum(one.output_tokens for one in done) / duration_s,
        answered=len(done) / planned,
    )
