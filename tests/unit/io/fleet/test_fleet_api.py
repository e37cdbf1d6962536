"""Request bodies."""

from typing import Any

import msgspec
import pytest

from headgate.io.fleet.api import ApiError, Call, Kind, Server, read_call
from headgate.sim.presets import PRESETS

PRESET = msgspec.structs.replace(PRESETS["8b-h100"], model="m", max_model_len=1_000)
SERVER = Server(PRESET, frozenset({"sql"}), 0, 150.0)
HELLO = [{"role": "user", "content": "hello"}]


def read(kind: Kind, **body: Any) -> Call | ApiError:
    return read_call(kind, msgspec.json.encode(body), SERVER)


def call(kind: Kind, **body: Any) -> Call:
    understood = read(kind, **body)
    assert isinstance(understood, Call), understood
    return understood


def refused(kind: Kind, **body: Any) -> ApiError:
    error = read(kind, **body)
    assert isinstance(error, ApiError)
    return error


def test_a_missing_model_is_the_base_model_and_adapters_are_models() -> None:
    assert call("chat", messages=HELLO).model == "m"
    assert call("completions", model="sql", prompt="x").model == "sql"


def test_an_unknown_model_is_not_found() -> None:
    error = refused("chat", model="gpt-9", messages=HELLO)
    assert (error.status, error.type) == (404, "NotFoundError")
    assert "`gpt-9`" in error.message


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("chat", {}),
        ("chat", {"messages": []}),
        ("chat", {"messages": "hello"}),
        ("chat", {"messages": [{"content": "x"}]}),
        ("chat", {"messages": HELLO, "n": 0}),
        ("chat", {"messages": HELLO, "max_tokens": "many"}),
        ("chat", {"messages": HELLO, "max_tokens": 0}),
        ("chat", {"messages": HELLO, "max_completion_tokens": 1_000}),
        ("completions", {}),
        ("completions", {"prompt": []}),
        ("completions", {"prompt": [1, "a"]}),
        ("completions", {"prompt": [-1]}),
        ("completions", {"prompt": [[]]}),
        ("completions", {"prompt": "x" * 4_001}),
        ("completions", {"prompt": "x", "max_tokens": 1_000}),
    ],
)
def test_mistakes_are_400(kind: Kind, body: dict[str, Any]) -> None:
    assert refused(kind, **body).status == 400


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"\xff"])
def test_broken_json_is_400(body: bytes) -> None:
    error = read_call("chat", body, SERVER)
    assert isinstance(error, ApiError)
    assert error.status == 400
    assert msgspec.json.decode(error.body())["error"]["code"] == 400


def test_a_context_that_is_too_long_says_by_how_much() -> None:
    error = refused("completions", prompt="x" * 3_960, max_tokens=100)
    assert "maximum context length is 1000 tokens" in error.message
    assert "requested 1090 tokens (990 in the prompt, 100 in the completion)" in error.message


def test_completions_end_after_16_tokens_unless_told() -> None:
    assert max(call("completions", prompt=str(i)).choices[0].tokens for i in range(20)) == 16


def test_the_limit_ends_an_answer_by_length_and_its_nature_by_stop() -> None:
    (short,) = call("chat", messages=HELLO, max_tokens=2).choices
    assert (short.tokens, short.finish_reason, len(short.text)) == (2, "length", 8)
    reasons = {call("completions", prompt=str(i), max_tokens=900).choices[0].finish_reason for i in range(20)}
    assert reasons == {"stop"}


def test_ignore_eos_fills_the_limit() -> None:
    (choice,) = call("completions", prompt="x", max_tokens=900, ignore_eos=True).choices
    assert (choice.tokens, choice.finish_reason) == (900, "length")


def test_max_completion_tokens_wins() -> None:
    (choice,) = call("chat", messages=HELLO, max_tokens=5, max_completion_tokens=7, ignore_eos=True).choices
    assert choice.tokens == 7


def test_a_stop_string_ends_the_answer_before_it() -> None:
    (whole,) = call("completions", prompt="x", max_tokens=100, ignore_eos=True).choices
    word = whole.text[101:106]
    (cut,) = call("completions", prompt="x", max_tokens=100, ignore_eos=True, stop=["absent!", word]).choices
    at = whole.text.index(word)
    assert cut.visible == at
    assert (cut.finish_reason, cut.stop_reason) == ("stop", word)
    assert 4 * cut.tokens >= at + len(word) > 4 * (cut.tokens - 1)
    assert cut.shown(cut.tokens) == at
    assert cut.shown(1) == 4


def test_several_prompts_and_answers_are_numbered_in_order() -> None:
    asked = call("completions", prompt=["abcd", "efgh" * 2], n=2, max_tokens=3)
    assert [choice.index for choice in asked.choices] == [0, 1, 2, 3]
    assert [choice.prompt for choice in asked.choices] == [b"abcd", b"abcd", b"efgh" * 2, b"efgh" * 2]
    assert asked.prompt_tokens == 3
    assert asked.choices[0].text != asked.choices[1].text


def test_prompts_may_be_token_ids() -> None:
    assert call("completions", prompt=[5, 6, 7]).prompt_tokens == 3
    assert call("completions", prompt=[[5, 6, 7], [8]]).prompt_tokens == 4


def test_parts_and_tools_are_part_of_the_prompt() -> None:
    parts = [{"type": "text", "text": "hello"}]
    assert (
        call("chat", messages=[{"role": "user", "content": parts}]).prompt_tokens
        == call("chat", messages=HELLO).prompt_tokens
    )
    image = [*parts, {"type": "image_url", "image_url": {"url": "http://x/y.png"}}]
    assert call("chat", messages=[{"role": "user", "content": image}]).prompt_tokens > 10
    assert call("chat", messages=HELLO, tools=[{"type": "function"}]).prompt_tokens > 10


def test_the_same_request_has_the_same_answer_and_another_seed_another() -> None:
    def text(**more: Any) -> str:
        return call("chat", messages=HELLO, max_tokens=20, **more).choices[0].text

    assert text() == text()
    assert text() != text(seed=1)
    assert text() != text(model="sql")


def test_streaming_options() -> None:
    asked = call("chat", messages=HELLO, stream=True, stream_options={"include_usage": True})
    assert asked.stream
    assert asked.include_usage
    assert not call("chat", messages=HELLO, stream=True).include_usage
