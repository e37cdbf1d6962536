"""Model lists as engines write them."""

import json
from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis import given

from headgate.engines.models import LONGEST_CONTEXT, MOST_MODELS, REST_BYTES, read_models
from headgate.model.bounds import MODEL_NAME_BYTES
from headgate.model.load import ModelCard

VLLM = b"""{"object":"list","data":[
 {"id":"meta-llama/Llama-3.1-8B-Instruct","object":"model","created":1763600042,"owned_by":"vllm",
  "root":"meta-llama/Llama-3.1-8B-Instruct","parent":null,"max_model_len":131072,"permission":[{"id":"p"}]},
 {"id":"food-review-1","object":"model","created":1763600042,"owned_by":"vllm",
  "root":"/adapters/food-review-1","parent":"meta-llama/Llama-3.1-8B-Instruct","max_model_len":null}]}"""


def test_a_base_model_and_an_adapter() -> None:
    base = "meta-llama/Llama-3.1-8B-Instruct"
    assert read_models(VLLM) == (
        ModelCard(base, "vllm", base, None, 131072, b'{"created":1763600042,"permission":[{"id":"p"}]}'),
        ModelCard("food-review-1", "vllm", "/adapters/food-review-1", base, None, b'{"created":1763600042}'),
    )


def test_base_models_come_first_in_the_engines_order() -> None:
    entries = [{"id": "z-lora", "parent": "y"}, {"id": "y"}, {"id": "a-lora", "parent": "y"}, {"id": "b"}]
    cards = read_models(json.dumps({"data": entries}).encode())
    assert [card.id for card in cards] == ["y", "b", "z-lora", "a-lora"]


def test_what_we_do_not_know_is_kept_unless_it_is_long() -> None:
    entries = [{"id": "a", "x": {"y": [1, None, "é"]}}, {"id": "b", "x": "y" * REST_BYTES}]
    first, second = read_models(json.dumps({"data": entries}).encode())
    assert json.loads(first.rest) == {"x": {"y": [1, None, "é"]}}
    assert second == ModelCard("b")


def test_the_bare_minimum() -> None:
    assert read_models(b'{"data":[{"id":"m"}]}') == (ModelCard("m"),)
    assert read_models(b'{"data":[]}') == ()


@pytest.mark.parametrize(
    "body",
    [
        *(b"", b"[]", b"{}", b'{"data":[{}]}', b'{"data":{}}', b"<html>"),
        b'{"data":[{"id":"\xff"}]}',
        b'{"data":' + b"[" * 200_000,
        b'{"else":' + b"[" * 200_000,
        b'{"data":[{"id":"a","max_model_len":' + b"9" * 5000 + b"}]}",
    ],
    ids=lambda body: body[:20].decode(errors="replace"),
)
def test_anything_else_is_refused(body: bytes) -> None:
    with pytest.raises(ValueError, match=r".+"):
        read_models(body)


NAMES = st.text(max_size=5) | st.integers(0, 600).map("n".__mul__) | st.none()
CARDS = st.fixed_dictionaries(
    {"id": NAMES.map(lambda name: name or "")},
    optional={
        "owned_by": NAMES,
        "root": NAMES,
        "parent": NAMES,
        "max_model_len": st.none() | st.integers(-(1 << 40), 1 << 40),
    },
)


@given(st.lists(CARDS, max_size=20))
def test_what_is_kept_is_bounded(cards: list[dict[str, Any]]) -> None:
    read = read_models(json.dumps({"data": cards}).encode())
    assert len(read) <= len(cards)
    for card in read:
        for name in (card.id, card.owned_by, card.root or "", card.parent or ""):
            assert len(name.encode()) <= MODEL_NAME_BYTES
        assert card.id
        assert card.max_model_len is None or 1 <= card.max_model_len <= LONGEST_CONTEXT


def test_a_long_list_is_cut() -> None:
    cards = [{"id": f"m{number}"} for number in range(MOST_MODELS + 10)]
    assert len(read_models(json.dumps({"data": cards}).encode())) == MOST_MODELS
