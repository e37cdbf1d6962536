"""Model lists as engines write them."""

import msgspec
import pytest

from headgate.engines.models import read_models
from headgate.model.load import ModelCard

VLLM = b"""{"object":"list","data":[
 {"id":"meta-llama/Llama-3.1-8B-Instruct","object":"model","created":1763600042,"owned_by":"vllm",
  "root":"meta-llama/Llama-3.1-8B-Instruct","parent":null,"max_model_len":131072,"permission":[{"id":"p"}]},
 {"id":"food-review-1","object":"model","created":1763600042,"owned_by":"vllm",
  "root":"/adapters/food-review-1","parent":"meta-llama/Llama-3.1-8B-Instruct","max_model_len":null}]}"""


def test_a_base_model_and_an_adapter() -> None:
    base = "meta-llama/Llama-3.1-8B-Instruct"
    assert read_models(VLLM) == (
        ModelCard("food-review-1", "vllm", "/adapters/food-review-1", base, None),
        ModelCard(base, "vllm", base, None, 131072),
    )


def test_the_bare_minimum() -> None:
    assert read_models(b'{"data":[{"id":"m"}]}') == (ModelCard("m"),)
    assert read_models(b'{"data":[]}') == ()


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b'{"data":[{}]}', b'{"data":{}}', b"<html>"])
def test_anything_else_is_refused(body: bytes) -> None:
    with pytest.raises(msgspec.DecodeError):
        read_models(body)
