"""What formats declare of their answers, and that Envoy is told the same."""

from headgate.gateway.envoy.listeners import USAGE, USAGE_OF_EVENTS
from headgate.wire.counts import ANTHROPIC, Answers
from headgate.wire.parse import FORMATS


def test_declared_as_built_in_values() -> None:
    answers = Answers(ANTHROPIC, within=("message",), tokenless=("ping",))
    assert answers.declared() == {
        "counts": [ANTHROPIC],
        "usage": ["usage"],
        "within": ["message"],
        "stored": False,
        "tokenless": ["error", "ping"],
    }
    assert ANTHROPIC["cached"] == ("cache_read_input_tokens",)


def test_what_our_own_envoy_reads_is_what_formats_declare() -> None:
    declared = {
        (*within, name, *path)
        for each in FORMATS
        for within in [(), *((key,) for key in each.answers.within)]
        for name in each.answers.usage
        for way in each.answers.counts
        for path in (way["prompt"], way["completion"], way["cached"], *((one,) for one in way["beside"]))
        if path
    }
    assert {path for _, path in (*USAGE, *USAGE_OF_EVENTS)} <= declared
