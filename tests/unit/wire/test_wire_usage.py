"""Usage at the end of an answer, whatever its form."""

import pytest

from headgate.model.requests import Usage
from headgate.wire.counts import ANY, OPENAI, SGLANG, TOTAL, Answers
from headgate.wire.usage import TAIL_BYTES, UsageReader, counter_of

COUNTER = counter_of(ANY)

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
    reader = UsageReader(COUNTER)
    reader.feed(answer)
    assert reader.usage() == expected


RESPONSES = (
    b'{"type":"response.completed","response":{"model":"m","usage":{"input_tokens":7,'
    b'"input_tokens_details":{"cached_tokens":4},"output_tokens":3,"total_tokens":10}}}'
)
START = b'event: message_start\ndata: {"message":{"usage":{"input_tokens":5,"output_tokens":1%s}}}\n\n'
DELTA = b'event: message_delta\ndata: {"delta":{},"usage":{"output_tokens":9%s}}\n\n'


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (b"data: " + RESPONSES + b"\n\n", Usage(7, 3, 4)),
        (b'{"output":[],"usage":{"input_tokens":7,"output_tokens":3}}', Usage(7, 3)),
        (b'{"content":[],"usage":{"input_tokens":5,"output_tokens":9}}', Usage(5, 9)),
        (START % b"" + DELTA % b"", Usage(5, 9)),
        (START % b"" + DELTA % b',"input_tokens":6', Usage(6, 9)),
        (
            START % b',"cache_read_input_tokens":20,"cache_creation_input_tokens":null' + DELTA % b"",
            Usage(25, 9, 20),
        ),
        (START % b"" + b"x" * 100_000 + DELTA % b"", Usage(5, 9)),
        (START % b"" + b'data: {"usage":{"output_tokens":2}}\n\n' * 3 + DELTA % b"", Usage(5, 9)),
        (DELTA % b"", None),
        (b'{"usage":{"prompt_tokens":-1}}', None),
        (b'{"usage":{"prompt_tokens":%d}}' % 10**30, None),
    ],
)
def test_usage_of_responses_and_messages(answer: bytes, expected: Usage | None) -> None:
    for size in (1, 1000, len(answer)):
        reader = UsageReader(COUNTER)
        for at in range(0, len(answer), size):
            reader.feed(answer[at : at + size])
        assert reader.usage() == expected


def test_memory_is_bounded() -> None:
    reader = UsageReader(COUNTER)
    for _ in range(1000):
        reader.feed(b"x" * 1000)
    reader.feed(EVENT)
    assert sum(map(len, reader._chunks)) <= TAIL_BYTES + 1000
    assert reader.usage() == Usage(7, 3, 4)
    reader.feed(b"y" * (10 * TAIL_BYTES))
    assert sum(map(len, reader._chunks)) == TAIL_BYTES


META = b'{"text":"x","meta_info":{"id":"a","prompt_tokens":7,"completion_tokens":%d,"cached_tokens":4}}'


@pytest.mark.parametrize(
    ("answers", "answer", "expected"),
    [
        (Answers(OPENAI, TOTAL), b'{"results":[],"usage":{"total_tokens":9}}', Usage(9, 0)),
        (Answers(OPENAI, TOTAL), b'{"usage":{"total_tokens":9,"prompt_tokens":8}}', Usage(8, 0)),
        (Answers(OPENAI), b'{"usage":{"total_tokens":9}}', None),
        (Answers(OPENAI), b'{"usage":{"input_tokens":9}}', None),
        (Answers(OPENAI, SGLANG, usage=("usage", "meta_info")), META % 3, Usage(7, 3, 4)),
        (Answers(OPENAI, SGLANG, usage=("meta_info",)), META % 3 + b"\n\n" + META % 5, Usage(7, 5, 4)),
        (Answers(OPENAI), META % 3, None),
    ],
)
def test_an_answer_is_counted_as_its_format_declares(
    answers: Answers, answer: bytes, expected: Usage | None
) -> None:
    assert counter_of(answers).find(answer) == expected
