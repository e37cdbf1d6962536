"""The Responses API of a simulated server: what is read, what is kept, what is sent."""

from typing import Any

import msgspec
import pytest

from headgate.io.fleet.api import ApiError, Server
from headgate.io.fleet.frames import usage
from headgate.io.fleet.responses import Asked, Frames, Kept, new_conversation, read_response
from headgate.io.fleet.settings import FleetSettings, engine_preset

SERVER = Server(engine_preset(FleetSettings(model="m", max_model_len=2000)), frozenset(), 0, 20.0)
COUNTS = usage(7, 3, 4)


def read(kept: Kept, **body: Any) -> Asked | ApiError:
    return read_response(msgspec.json.encode({"model": "m", "max_output_tokens": 5, **body}), SERVER, kept)


def asked(kept: Kept, **body: Any) -> Asked:
    found = read(kept, **body)
    assert isinstance(found, Asked), found
    return found


def answered(kept: Kept, **body: Any) -> dict[str, Any]:
    writer = Frames(asked(kept, **body), 17)
    writer.keep(kept, COUNTS)
    whole = msgspec.json.decode(writer.whole(COUNTS), type=dict[str, Any])
    return whole


def test_a_request_goes_on_with_all_that_was_said_but_for_the_instructions() -> None:
    kept = Kept()
    first = answered(kept, input="one", instructions="Be brief.")
    said = first["output"][0]["content"][0]["text"]
    assert said
    items = [
        {"role": "user", "content": [{"type": "input_text", "text": "two"}]},
        {"type": "function_call_output", "call_id": "1", "output": "x"},
    ]
    second = asked(kept, input=items, previous_response_id=first["id"])
    assert second.turns[:3] == (("user", "one"), ("assistant", said), ("user", "two"))
    assert second.turns[3][0] == "function_call_output"
    plain = asked(kept, input="one")
    (prompt,) = [choice.prompt for choice in second.call.choices]
    (begin,) = [choice.prompt for choice in plain.call.choices]
    assert prompt[:8] == begin[:8]
    assert second.call.prompt_tokens > plain.call.prompt_tokens


def test_a_conversation_grows_by_each_answer_and_ends_when_it_is_deleted() -> None:
    kept, begun = Kept(), new_conversation(17)
    kept.put(begun["id"], begun, ())
    for named in (begun["id"], {"id": begun["id"]}):
        answer = answered(kept, input="x", conversation=named, store=False)
        assert answer["conversation"] == {"id": begun["id"]}
        assert isinstance(kept.shown(answer["id"]), ApiError)
    turns = kept.turns(begun["id"])
    assert [role for role, _ in turns] == ["user", "assistant"] * 2  # type: ignore[union-attr]
    running = Frames(asked(kept, input="x", conversation=begun["id"]), 17)
    kept.forget(begun["id"])
    running.keep(kept, COUNTS)
    assert isinstance(kept.turns(begun["id"]), ApiError)


@pytest.mark.parametrize(
    ("body", "status", "words"),
    [
        ({"input": "x", "previous_response_id": "resp_none"}, 404, "resp_none"),
        ({"input": "x", "conversation": "conv_none"}, 404, "conv_none"),
        ({"input": "x", "conversation": "c", "previous_response_id": "r"}, 400, "Only one"),
        ({"input": []}, 400, "input"),
        ({"input": 5}, 400, "input"),
        ({"conversation": "c"}, 400, "input"),
        ({"input": "x", "model": "nobody"}, 404, "nobody"),
        ({"input": "x", "max_output_tokens": 0}, 400, "max_output_tokens"),
        ({"input": "x " * 9000}, 400, "maximum context length"),
    ],
)
def test_a_mistake_is_told(body: dict[str, Any], status: int, words: str) -> None:
    found = read(Kept(), **body)
    assert isinstance(found, ApiError)
    assert found.status == status
    assert words in found.message


def test_what_is_oldest_is_forgotten_beyond_the_bounds() -> None:
    few = Kept(most=2)
    for id_ in "abc":
        few.put(id_, {}, [("user", id_)])
    assert isinstance(few.turns("a"), ApiError)
    assert few.turns("c") == (("user", "c"),)
    assert len(few) == 2
    small = Kept(most_letters=20)
    small.put("a", {}, [("user", "x" * 10)])
    small.put("a", {}, [("user", "y" * 10)])
    assert len(small) == 1
    small.put("b", {}, [("user", "z" * 10)])
    assert isinstance(small.shown("a"), ApiError)
    small.put("c", {}, [("user", "z" * 100)])
    assert len(small) == 0
    small.put("d", {}, [("user", "z")])
    small.clear()
    assert len(small) == 0


def test_the_frames_say_what_the_whole_answer_says() -> None:
    found = asked(Kept(), input="x", ignore_eos=True)
    (choice,) = found.call.choices
    writer = Frames(found, 17)
    raw = writer.begin + writer.role(choice) + writer.text(choice, choice.text[:4], False)
    raw += writer.text(choice, choice.text[4:], True) + writer.usage(COUNTS) + writer.end
    events = [
        msgspec.json.decode(each.partition(b"\ndata: ")[2], type=dict[str, Any])
        for each in raw.split(b"\n\n")
        if each
    ]
    assert [each["sequence_number"] for each in events] == list(range(len(events)))
    assert [each["type"] for each in events] == [
        "response.created",
        "response.in_progress",
        "response.output_item.added",
        "response.content_part.added",
        "response.output_text.delta",
        "response.output_text.delta",
        "response.output_text.done",
        "response.content_part.done",
        "response.output_item.done",
        "response.incomplete",
    ]
    said = "".join(each["delta"] for each in events if "delta" in each)
    assert said == choice.text
    assert events[-1]["response"] == msgspec.json.decode(writer.whole(COUNTS))
    assert events[-1]["response"]["usage"] == {
        "input_tokens": 7,
        "input_tokens_details": {"cached_tokens": 4},
        "output_tokens": 3,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": 10,
    }
