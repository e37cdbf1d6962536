"""The Responses API of a simulated server: what is read, what is kept, what is sent."""

from typing import Any

import msgspec
import pytest

from headgate.io.fleet.api import ApiError, Server
from headgate.io.fleet.frames import usage
from headgate.io.fleet.responses import (
    Asked,
    Frames,
    Kept,
    add_items,
    list_items,
    new_conversation,
    one_item,
    read_response,
)
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


def conversation(kept: Kept, **body: Any) -> dict[str, Any]:
    begun = new_conversation(kept, msgspec.json.encode(body) if body else b"", 17)
    assert isinstance(begun, dict), begun
    return begun


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
    kept = Kept()
    begun = conversation(kept)
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


def test_items_of_a_conversation() -> None:
    kept = Kept()
    hello = {"role": "user", "content": "hello"}
    id_ = conversation(kept, items=[hello])["id"]
    answer = answered(kept, input="x", conversation=id_)
    tool = {"type": "function_call_output", "call_id": "1", "output": "42"}
    added = add_items(kept, id_, msgspec.json.encode({"items": [tool, hello]}))
    assert isinstance(added, dict)
    assert [each.get("output") for each in added["data"]] == ["42", None]
    listed = list_items(kept, id_, {"order": "asc"})
    assert isinstance(listed, dict)
    texts = [each["content"][0]["text"] for each in listed["data"] if each["type"] == "message"]
    assert texts == ["hello", "x", answer["output"][0]["content"][0]["text"], "hello"]
    assert not listed["has_more"]
    ids = [each["id"] for each in listed["data"]]
    assert len(set(ids)) == 5
    newest = list_items(kept, id_, {"limit": "2"})
    assert isinstance(newest, dict)
    assert [each["id"] for each in newest["data"]] == [ids[4], ids[3]]
    assert (newest["first_id"], newest["last_id"], newest["has_more"]) == (ids[4], ids[3], True)
    behind = list_items(kept, id_, {"after": ids[3], "limit": "100"})
    assert isinstance(behind, dict)
    assert [each["id"] for each in behind["data"]] == [ids[2], ids[1], ids[0]]
    assert one_item(kept, id_, ids[3]) == listed["data"][3]


def test_mistakes_about_items_are_told() -> None:
    kept = Kept()
    id_ = conversation(kept)["id"]
    assert list_items(kept, id_, {}) == {"object": "list", "data": [], "has_more": False}
    many = msgspec.json.encode({"items": [{}] * 21})
    for found, status in (
        (list_items(kept, "conv_none", {}), 404),
        (one_item(kept, "conv_none", "msg_0"), 404),
        (one_item(kept, id_, "msg_0"), 404),
        (add_items(kept, "conv_none", b"{}"), 404),
        (add_items(kept, id_, b"{}"), 400),
        (add_items(kept, id_, many), 400),
        (new_conversation(kept, many, 17), 400),
        (list_items(kept, id_, {"limit": "0"}), 400),
        (list_items(kept, id_, {"limit": "9" * 9000}), 400),
    ):
        assert isinstance(found, ApiError)
        assert found.status == status


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
