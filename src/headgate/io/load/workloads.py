"""Named workloads, and the seeded plan of every request that one makes. Pure: equal seeds make equal plans.

Shapes follow published traces: log-normal lengths, few system prompts shared by many requests with Zipf
popularity, log-normal thinking times, bursts as a two-state process.
"""

import math
import random

import msgspec

WORD_BYTES = 4
"""Bytes of a made-up word with its space: about one token."""


class Spread(msgspec.Struct, frozen=True):
    """A log-normal quantity: its mean, and the σ of its logarithm; σ 0 is a constant."""

    mean: float
    sigma: float = 0.0

    def draw(self, rng: random.Random) -> float:
        """One value."""
        if self.sigma == 0.0:
            return self.mean
        return rng.lognormvariate(math.log(self.mean) - self.sigma**2 / 2, self.sigma)


class Bursts(msgspec.Struct, frozen=True):
    """Arrivals in bursts: *factor* times the quiet rate for *burst_s*, then quiet for *quiet_s* (means)."""

    factor: float
    burst_s: float
    quiet_s: float


class Workload(msgspec.Struct, frozen=True, kw_only=True):
    """What kind of conversations come. Lengths in tokens (about `WORD_BYTES` bytes), times in seconds."""

    name: str
    about: str
    groups: int
    """Different system prompts; 0: every conversation has its own."""
    skew: float = 0.0
    """Zipf exponent of the groups' popularity."""
    system_tokens: int
    question_tokens: Spread
    answer_tokens: Spread
    """Sent as `max_tokens`."""
    turns: tuple[int, int] = (1, 1)
    """Fewest and most turns of a conversation."""
    think_s: Spread = Spread(1.0)
    """From an answer's end to the next question."""
    bursts: Bursts | None = None
    fillers: int = 0
    """Prompts that share nothing, asked before the load begins: caches are full then, as they mostly are."""
    filler_tokens: int = 0

    @property
    def prompt_tokens(self) -> float:
        """Mean prompt tokens of a request, history included."""
        mean_turns = (self.turns[0] + self.turns[1]) / 2
        history = (mean_turns - 1) / 2 * (self.question_tokens.mean + self.answer_tokens.mean)
        return self.system_tokens + self.question_tokens.mean + history

    @property
    def mean_turns(self) -> float:
        """Requests per conversation."""
        return (self.turns[0] + self.turns[1]) / 2


WORKLOADS: dict[str, Workload] = {
    workload.name: workload
    for workload in (
        Workload(
            name="shared-prefix",
            about="chat with long system prompts that many conversations share",
            groups=32,
            skew=0.3,
            system_tokens=6_000,
            question_tokens=Spread(250, 0.6),
            answer_tokens=Spread(40, 0.5),
        ),
        Workload(
            name="multi-turn",
            about="conversations of several turns that resend their growing history",
            groups=4,
            system_tokens=2_000,
            question_tokens=Spread(1_200, 0.8),
            answer_tokens=Spread(60, 0.5),
            turns=(3, 7),
            think_s=Spread(2.0, 0.5),
        ),
        Workload(
            name="bursty",
            about="code completion: short answers, arrivals in bursts",
            groups=24,
            skew=0.8,
            system_tokens=5_000,
            question_tokens=Spread(1_500, 0.9),
            answer_tokens=Spread(16, 0.6),
            bursts=Bursts(factor=5.0, burst_s=1.0, quiet_s=3.0),
        ),
        Workload(
            name="hot-prefix",
            about="caches full of other prompts, then everybody asks behind one system prompt",
            groups=1,
            system_tokens=1_536,
            question_tokens=Spread(40, 0.5),
            answer_tokens=Spread(40, 0.3),
            fillers=192,
            filler_tokens=2_500,
        ),
        Workload(
            name="unique",
            about="prompts that share nothing: no cache can help",
            groups=0,
            system_tokens=0,
            question_tokens=Spread(3_000, 0.8),
            answer_tokens=Spread(60, 0.5),
        ),
    )
}
"""By name."""


class Turn(msgspec.Struct, frozen=True):
    """One request of a conversation."""

    question: str
    max_tokens: int
    think_s: float
    """Wait this long after the answer before (0 in the first turn)."""


class Conversation(msgspec.Struct, frozen=True):
    """Requests that follow each other, each with the history of those before."""

    at_s: float
    """Start of the first turn, seconds from the start of the load."""
    system: str
    """System prompt; empty: none."""
    turns: tuple[Turn, ...]


class Plan(msgspec.Struct, frozen=True):
    """Everything a load will ask, in order of time."""

    conversations: tuple[Conversation, ...]
    duration_s: float
    """Arrivals stop after this."""
    speed: float = 1.0
    fillers: tuple[str, ...] = ()
    """Prompts to be asked before the load begins; they do not count."""

    @property
    def requests(self) -> int:
        """Requests, when every conversation is carried to its end."""
        return sum(len(conversation.turns) for conversation in self.conversations)


def make_plan(
    workload: Workload, *, rate: float, duration_s: float, seed: int = 0, speed: float = 1.0
) -> Plan:
    """A plan of *rate* requests per second over *duration_s* seconds, both in the servers' time.

    *speed* is the fleet's: wall-clock times in the plan are divided by it, so that 60 s at speed 2 take 30 s.
    """
    if rate <= 0 or duration_s <= 0 or speed <= 0:
        raise ValueError("rate, duration and speed must be above 0")
    rng = random.Random(f"{workload.name}/{seed}")
    systems = [_words(rng, workload.system_tokens) for _ in range(workload.groups)]
    weights = [1 / (rank + 1) ** workload.skew for rank in range(workload.groups)]
    conversations = []
    for at_s in _arrivals(rng, rate / workload.mean_turns, duration_s, workload.bursts):
        system = rng.choices(systems, weights)[0] if systems else _words(rng, workload.system_tokens)
        turns = tuple(_turn(rng, workload, i, speed) for i in range(rng.randint(*workload.turns)))
        conversations.append(Conversation(at_s / speed, system, turns))
    fillers = tuple(_words(rng, workload.filler_tokens) for _ in range(workload.fillers))
    return Plan(tuple(conversations), duration_s / speed, speed, fillers)


def _turn(rng: random.Random, workload: Workload, index: int, speed: float) -> Turn:
    question = _words(rng, max(1, round(workload.question_tokens.draw(rng))))
    answer = max(1, round(workload.answer_tokens.draw(rng)))
    return Turn(question, answer, workload.think_s.draw(rng) / speed if index else 0.0)


def _arrivals(rng: random.Random, rate: float, duration_s: float, bursts: Bursts | None) -> list[float]:
    """Poisson arrivals of mean *rate*; with *bursts* the rate switches between two values."""
    busy, quiet, switch_at, in_burst = rate, rate, math.inf, False
    if bursts is not None:
        share = bursts.burst_s / (bursts.burst_s + bursts.quiet_s)
        quiet = rate / (share * bursts.factor + 1 - share)
        busy = quiet * bursts.factor
        switch_at = rng.expovariate(1 / bursts.quiet_s)
    now, found = 0.0, []
    while now < duration_s:
        gap = rng.expovariate(busy if in_burst else quiet)
        if now + gap >= switch_at and bursts is not None:  # memoryless: draw anew from the switch on
            now, in_burst = switch_at, not in_burst
            switch_at += rng.expovariate(1 / (bursts.burst_s if in_burst else bursts.quiet_s))
            continue
        now += gap
        if now < duration_s:
            found.append(now)
    return found


_LETTERS = bytes(ord("a") + i % 26 for i in range(256))


def _words(rng: random.Random, tokens: int) -> str:
    """Made-up text of *tokens* words of `WORD_BYTES` bytes, the space after each included."""
    text = bytearray(rng.randbytes(tokens * WORD_BYTES).translate(_LETTERS))
    text[WORD_BYTES - 1 :: WORD_BYTES] = b" " * tokens
    return text.decode()
