"""Ids of kept answers: in paths, in bodies, in answers."""

import itertools
import json

import hypothesis.strategies as st
import pytest
from hypothesis import given

from headgate.wire.digest import digest
from headgate.wire.stored import HEAD_BYTES, LONGEST_ID, IdReader, prior_of

EVENT = b'event: response.created\ndata: {"type": "x", "response": {"id": "resp_1", "a": {"id": "b"}}}\n\n'


def read(*pieces: bytes) -> tuple[str | None, bool]:
    reader = IdReader(("response",))
    found = [id_ for piece in pieces if (id_ := reader.feed(piece)) is not None]
    assert len(found) <= 1
    return (found[0] if found else None), reader.done


@given(st.lists(st.integers(0, len(EVENT)), max_size=6))
def test_an_id_is_read_in_any_pieces(cuts: list[int]) -> None:
    ends = sorted({0, *cuts, len(EVENT)})
    pieces = [EVENT[start:end] for start, end in itertools.pairwise(ends)]
    assert read(*pieces) == ("resp_1", True)


@pytest.mark.parametrize(
    ("answer", "id_"),
    [
        ({"id": "r", "output": [{"id": "msg"}]}, "r"),
        ({"output": [{"id": "msg"}], "id": "r"}, "r"),
        ({"output": [{"id": "msg"}]}, None),
        ({"error": {"id": "e"}}, None),
        ({"id": 5, "x": "y"}, None),
        ({"x": "id", "y": "z"}, None),
        ({"id": "a\nb"}, None),
        ({"id": ""}, None),
        ({"id": "x" * LONGEST_ID}, "x" * LONGEST_ID),
        ({"id": "x" * (LONGEST_ID + 1)}, None),
        ({"text": '{"id": "no"}'}, None),
        ({"response": [{"id": "no"}]}, None),
    ],
)
def test_only_the_answers_own_id_counts(answer: object, id_: str | None) -> None:
    assert read(json.dumps(answer).encode()) == (id_, True)


def test_no_more_than_the_beginning_is_looked_at() -> None:
    assert read(b" " * HEAD_BYTES, b'{"id": "r"}') == (None, True)
    assert read(b'{"x": "' + b"y" * 2 * HEAD_BYTES) == (None, True)
    assert read(b'{"id": "\xff"}') == (None, True)


@given(st.binary(max_size=200))
def test_any_bytes_do_no_harm(answer: bytes) -> None:
    read(*[answer[at : at + 1] for at in range(len(answer))])


def test_ids_in_paths_and_bodies() -> None:
    known = digest("resp_1")
    for path in ("/v1/responses/resp_1", "/v1/responses/resp_1/cancel", "/x/v1/responses/resp_1/input_items"):
        assert prior_of(path, None) == known
    for path in ("/v1/conversations/resp_1", "/v1/conversations/resp_1/items/msg_2"):
        assert prior_of(path, None) == known
    assert prior_of("/v1/responses", "resp_1") == known
    for path, named in (
        ("/v1/responses", None),
        ("/v1/responses/", None),
        ("/v1/conversations", None),
        ("/v1/responses", "x" * 600),
    ):
        assert prior_of(path, named) is None
