"""The ring of errors that the gateway gave by itself."""

from headgate.app.controller.answer_log import AnswerLog
from headgate.model.own_answers import OwnAnswer


def answer(name: str, path: str = "/") -> OwnAnswer:
    return OwnAnswer(request_id=name, at=0.0, port=80, method="GET", host="h", path=path, status=404)


def test_the_oldest_make_room() -> None:
    log = AnswerLog(capacity=2)
    log.take("t", [answer("a"), answer("b"), answer("c")])
    assert log.find("a") is None
    assert log.find("b") == ("t", answer("b"))


def test_long_texts_take_more_room() -> None:
    room = 3 * answer("a").bytes
    log = AnswerLog(room_bytes=room)
    log.take("t", [answer("a"), answer("b"), answer("c", "/" * answer("a").bytes)])
    assert log.find("a") is None and log.find("c") is not None
    log.take("t", [answer("d", "/" * room)])
    assert log.find("d") is None


def test_a_name_that_comes_again_is_the_newest_and_takes_no_more_room() -> None:
    log = AnswerLog(room_bytes=2 * answer("a").bytes)
    for number in range(9):
        log.take(f"t{number}", [answer("a")])
    log.take("t", [answer("b")])
    assert log.find("a") == ("t8", answer("a"))
