"""Usage at the end of an answer, whatever its form."""

import pytest

from headgate.model.requests import Usage
from headgate.wire.usage import TAIL_BYTES, UsageReader

PLAIN = (
    b'{"id":"x","choices":[{"text":"say \\"usage\\": {"}],"usage":{"prompt_tokens":7,"completion_tokens":3}}'
)
EVENT = (
    b'data: {"choices":[],"usage":{"prompt_tokens":7,"completion_tokens":3,'
    b'"prompt_tokens_details":{"cached_tokens":4}}}\n\ndata: [DONE]\n\n'
)


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (PLAIN, Usage(7, 3)),
        (EVENT, Usage(7, 3, 4)),
        (EVENT.replace(b"\n", b"\r\n"), Usage(7, 3, 4)),
        (EVENT.replace(b"data: ", b"data:"), Usage(7, 3, 4)),
        (b'data: {"usage":{"prompt_tokens":7,"completion_tokens":1}}\n\n' + EVENT, Usage(7, 3, 4)),
        (EVENT + b'data: {"usage":null}\n\n', Usage(7, 3, 4)),
        (b'{"usage":{"prompt_tokens":5,"prompt_tokens_details":null}}', Usage(5, 0)),
        (b'{"usage":{"total":5}}', None),
        (b'{"usage":{"prompt_tokens":5', None),
        (b'{"choices":[]}', None),
        (b"", None),
    ],
)
def test_usage(answer: bytes, expected: Usage | None) -> None:
    reader = UsageReader()
    reader.feed(answer)
    assert reader.usage() == expected


def test_memory_is_bounded() -> None:
    reader = UsageReader()
    for _ in range(1000):
        reader.feed(b"x" * 1000)
    reader.feed(EVENT)
    assert sum(map(len, reader._chunks)) <= TAIL_BYTES + 1000
    assert reader.usage() == Usage(7, 3, 4)
    reader.feed(b"y" * (10 * TAIL_BYTES))
    assert sum(map(len, reader._chunks)) == TAIL_BYTES
