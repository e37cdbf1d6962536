"""What is believed to be cached after a request: its prompt, if somebody computed it."""

from collections.abc import Iterator

import pytest
from tests.unit.picker.picker_builders import (
    a_machine,
    address,
    arrives,
    ends,
    letter,
    lists,
    no_scrape,
    routed,
    run,
    scrape,
    starts,
    token,
)

from headgate.model.load import ModelCard
from headgate.model.requests import Outcome
from headgate.picker.actions import Conclude
from headgate.picker.events import Event, PoolRemoved, ResponseStarted
from headgate.picker.machine import PoolMachine

ONLY_A = (address("a"),)


@pytest.fixture
def machine() -> Iterator[PoolMachine]:
    made = a_machine("ab")
    yield made
    made.check()


def blocks(machine: PoolMachine, name: str = "a") -> int:
    """Blocks remembered or expected at the endpoint."""
    return next(one.prefix_blocks for one in machine.view(50.0).endpoints if one.endpoint == address(name))


def cached(machine: PoolMachine, prompt: str, name: str = "a", now: float = 50.0) -> int:
    """Tokens of *prompt* that the next request with it would find at the endpoint."""
    route = routed(machine, arrives(99, prompt, subset=(address(name),)), now)
    machine.handle(ends(99, "aborted", None), now)
    (found,) = [one for one in route.decision.candidates if one.endpoint == address(name)]
    return found.matched_tokens


def feed(machine: PoolMachine, *events: Event) -> None:
    for step, event in enumerate(events):
        machine.handle(event, 1.0 + step / 10)


NOT_COMPUTED: dict[str, tuple[Event, ...]] = {
    "400": (starts(1, 400), ends(1, "complete", 400)),
    "404": (starts(1, 404), ends(1, "complete", 404)),
    "422": (starts(1, 422), ends(1, "complete", 422)),
    "429": (starts(1, 429), ends(1, "complete", 429)),
    "500": (starts(1, 500), ends(1, "complete", 500)),
    "503 of the data plane": (starts(1, 503, local=True), ends(1, "failed", 503)),
    "504 of the data plane": (starts(1, 504, local=True), ends(1, "failed", 504)),
    "refused connection": (ends(1, "failed", None),),
    "abort before anything": (ends(1, "aborted", None),),
    "abort after the headers": (starts(1), ends(1, "aborted", 200)),
    "break before the first token": (starts(1), ends(1, "failed", 200)),
    "an end that tells an error": (ends(1, "complete", 413),),
}


@pytest.mark.parametrize("streaming", [True, False])
@pytest.mark.parametrize("case", NOT_COMPUTED)
def test_a_prompt_that_was_not_computed_is_taken_back(
    machine: PoolMachine, case: str, streaming: bool
) -> None:
    if not streaming and case in ("abort after the headers", "break before the first token"):
        return  # the headers of a whole answer come with it
    feed(machine, arrives(1, "abcd", streaming=streaming, subset=ONLY_A))
    assert blocks(machine) == 4, "requests that come meanwhile meet it"
    feed(machine, *NOT_COMPUTED[case])
    assert blocks(machine) == 0
    assert cached(machine, "abcd") == 0


COMPUTED: dict[str, tuple[bool, tuple[Event, ...]]] = {
    "whole stream": (True, (starts(1), token(1), ends(1))),
    "abort after the first token": (True, (starts(1), token(1), ends(1, "aborted", 200))),
    "break after the first token": (True, (starts(1), token(1), ends(1, "failed", 200))),
    "whole answer": (False, (starts(1), ends(1))),
    "whole answer, only its end is told": (False, (ends(1),)),
    "stream of which only the end is told": (True, (ends(1),)),
    "answered plainly though a stream was asked for": (
        True,
        (ResponseStarted(starts(1).stream, 200, plain=True), ends(1, "aborted", 200)),
    ),
}


@pytest.mark.parametrize("case", COMPUTED)
def test_a_prompt_that_was_computed_is_remembered(machine: PoolMachine, case: str) -> None:
    streaming, events = COMPUTED[case]
    feed(machine, arrives(1, "abcd", streaming=streaming, subset=ONLY_A), *events)
    assert blocks(machine) == 4
    assert cached(machine, "abcde") == 4 * 32


@pytest.mark.parametrize(("waited", "kept"), [(0.0001, 0), (30.0, 4)])
@pytest.mark.parametrize("ending", ["lost", "aborted"])
def test_an_unseen_answer_is_believed_to_be_computed_when_it_had_the_time(
    machine: PoolMachine, ending: str, waited: float, kept: int
) -> None:
    machine.handle(arrives(1, "abcd", unseen=True, subset=ONLY_A), 1.0)
    machine.handle(ends(1, ending, None), 1.0 + waited)  # type: ignore[arg-type]
    assert blocks(machine) == kept


def test_what_was_cached_before_or_is_wanted_by_another_request_stays(machine: PoolMachine) -> None:
    feed(machine, arrives(1, "ab", subset=ONLY_A), starts(1), token(1), ends(1))
    feed(machine, arrives(2, "abcd", subset=ONLY_A), arrives(3, "abcdef", subset=ONLY_A))
    feed(machine, starts(2, 400), ends(2, "complete", 400))
    assert blocks(machine) == 6
    feed(machine, ends(3, "aborted", None))
    assert (blocks(machine), cached(machine, "abcdefg")) == (2, 2 * 32)


def test_a_refused_prompt_displaces_nothing(machine: PoolMachine) -> None:
    machine.handle(scrape("a", kv_blocks=20, block_tokens=16), 0.5)  # room for eight blocks
    feed(machine, arrives(1, "abcdefg", subset=ONLY_A), starts(1), token(1), ends(1))
    feed(machine, arrives(2, "uvwxyz", subset=ONLY_A), starts(2, 400), ends(2, "complete", 400))
    assert cached(machine, "abcdefgh") == 7 * 32
    feed(machine, arrives(3, "uvwxyz", subset=ONLY_A), starts(3), token(3), ends(3))
    assert cached(machine, "abcdefgh") == 2 * 32, "a computed one does"


def test_nothing_above_the_models_length_is_remembered(machine: PoolMachine) -> None:
    card = ModelCard("m", max_model_len=100)
    adapter = ModelCard("ad", parent="m")
    machine.handle(lists("a", card, adapter), 0.5)
    machine.handle(lists("b", ModelCard("m"), ModelCard("ad", parent="m")), 0.5)
    for stream, model in ((1, "m"), (2, "ad")):
        prompt = "abcdefgh" if model == "m" else "ijklmnop"
        feed(machine, arrives(stream, prompt, model=model, subset=ONLY_A))
        feed(machine, starts(stream), token(stream), ends(stream))
        assert blocks(machine) == 3 * stream, "three blocks of 32 tokens fit into 100"
    only_b = (address("b"),)
    feed(machine, arrives(3, "abcdefgh", subset=only_b), starts(3), token(3), ends(3))
    assert blocks(machine, "b") == 8


def test_after_a_retry_tokens_are_those_of_who_served(machine: PoolMachine) -> None:
    feed(machine, arrives(1, "abcd", subset=ONLY_A), starts(1), token(1), ends(1))
    before = machine.view(2.0)
    machine.handle(arrives(2, "abcdef"), 2.0)
    pending = {letter(one.endpoint): one.pending_tokens for one in machine.view(2.0).endpoints}
    assert pending == {"a": 2 * 32, "b": 0}
    machine.handle(starts(2, served="b"), 2.1)
    pending = {letter(one.endpoint): one.pending_tokens for one in machine.view(2.1).endpoints}
    assert pending == {"a": 0, "b": 6 * 32}
    assert machine.view(2.1).matched_tokens == before.matched_tokens
    assert blocks(machine, "a") == 4
    run(machine, [(2.2, token(2), []), (2.3, ends(2), ["complete 200"])])
    assert (blocks(machine, "a"), blocks(machine, "b")) == (4, 6)


def test_a_restart_forgets_what_was_under_way_as_well(machine: PoolMachine) -> None:
    feed(machine, arrives(1, "abcd", subset=ONLY_A))
    machine.handle(no_scrape("a", "refused"), 2.0)
    machine.check()
    assert blocks(machine) == 0
    machine.handle(arrives(2, "abcd", subset=ONLY_A), 2.1)
    machine.handle(ends(1, "failed", None), 2.2)
    assert blocks(machine) == 4, "the newer request's are its own"
    machine.handle(ends(2, "failed", None), 2.3)
    assert blocks(machine) == 0


def test_a_pool_that_is_removed_concludes_everything(machine: PoolMachine) -> None:
    feed(machine, arrives(1, "abcd"), arrives(2, "x"), token(2))
    told = machine.handle(PoolRemoved(), 3.0)
    assert [one.outcome.ending for one in told if isinstance(one, Conclude)] == ["lost", "lost"]
    assert all(isinstance(one.outcome, Outcome) for one in told if isinstance(one, Conclude))
