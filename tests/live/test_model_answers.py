"""Answers where models are matched and no route takes a request, on a real Envoy with hand-made routes."""

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from tests.forms import CASES, content_type, field, file, multipart
from tests.live.harness.body_routing import BodyRouting, body_routing, echo, named

from headgate.gateway.envoy import body_script, model_answers, model_routing
from headgate.gateway.envoy.names import Json
from headgate.model import headers

pytestmark = pytest.mark.live

ODD = "o\"d's 100% (x)%\\ é\U0001f600 %REQ(:path)%"
NAMES = [f"model-{number:02}" for number in range(24)]
BASES = {"adapter": "base", "base": "base"}


def finished(*routes: Json) -> list[Json]:
    """Routes as a host has them: those that need no body read with the filters off, then the answers."""
    matches = [each["match"] for each in routes]
    needed = model_routing.must_be_read(matches)
    off = {"typed_per_filter_config": model_routing.switched_off()}
    own = [each if read else each | off for each, read in zip(routes, needed, strict=True)]
    return [*own, *model_answers.last_routes(matches, BASES)]


@pytest.fixture
async def lab(tmp_path: Path) -> AsyncIterator[BodyRouting]:
    gold = {"name": "tier", "string_match": {"exact": "gold"}}
    routes = [
        echo("files", path_separated_prefix="/v1/files"),
        echo("odd", path_separated_prefix="/odd", **named(ODD)),
        echo("gold", path_separated_prefix="/gold", headers=[*named("rich")["headers"], gold]),
        echo("adapter", path_separated_prefix="/base", **named("base", headers.BASE_MODEL_NAME)),
        *(echo(name, path_separated_prefix="/v1", **named(name)) for name in NAMES),
        echo("any", path_separated_prefix="/v1/any"),
        echo("upload", path_separated_prefix="/upload"),
    ]
    on = model_routing.switched_on(BASES)
    async with body_routing(finished(*routes), tmp_path, on, limit=1 << 20) as running:
        yield running


def told(answer: Any, said: Any) -> tuple[int, str, str]:
    """Status, reason and message of an error, which must be OpenAI-style JSON."""
    error = said["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert error["type"] == "invalid_request_error"
    assert answer.headers["content-type"] == "application/json"
    return answer.status, answer.headers[headers.REASON], error["message"]


def body(model: str) -> bytes:
    return json.dumps({"model": model}).encode()


async def test_an_unknown_model_is_named_with_those_that_there_are(lab: BodyRouting) -> None:
    for sent, kind in (
        (body("other"), "application/json"),
        (multipart(file(), field("model", "other")), content_type()),
    ):
        answer, said = await lab.ask(sent, kind, "/v1/chat/completions")
        status, reason, message = told(answer, said)
        assert (status, reason, said["error"]["code"]) == (404, "model-not-found", "model_not_found")
        assert said["error"]["param"] == "model"
        assert message.startswith(
            'No route takes the model "other" here; there are routes for adapter, base, model-00, '
        )
        assert message.endswith(" and 8 more.")
        assert message.count(", ") == model_answers.MOST_NAMES - 1


@pytest.mark.parametrize(
    "name",
    [
        '"',
        '","code":"x',
        "%REQ(:path)%",
        "\\u0000\\",
        "é\U0001f600",
        "'+'",
        "</script>",
        " ",
        "x" * 512,
        "%",
        "null",
    ],
)
async def test_whatever_the_name_is_the_answer_is_json_that_holds_it(lab: BodyRouting, name: str) -> None:
    answer, said = await lab.ask(body(name), path="/v1/x")
    assert said["error"]["message"].startswith(f'No route takes the model "{name}" here;')
    assert told(answer, said)[:2] == (404, "model-not-found")


async def test_names_of_routes_are_shown_as_they_are_and_odd_ones_still_match(lab: BodyRouting) -> None:
    _, said = await lab.ask(body(ODD), path="/odd")
    assert said["route"] == "odd"
    _, said = await lab.ask(body("other"), path="/odd")
    assert "there are routes for adapter, base, model-00" in said["error"]["message"]


async def test_an_odd_name_is_shown_as_it_is(tmp_path: Path) -> None:
    routes = [
        echo("odd", path_separated_prefix="/", **named(ODD)),
        echo("long", prefix="/", **named("x" * 300)),
    ]
    async with body_routing(
        finished(*routes[1:], routes[0] | {"match": {"prefix": "/", **named(ODD)}}), tmp_path
    ) as lab:
        _, said = await lab.ask(body("other"))
    shown = "x" * model_answers.LONGEST_SHOWN
    assert (
        said["error"]["message"]
        == f'No route takes the model "other" here; there are routes for {ODD}, {shown}.'
    )


async def test_a_known_model_without_what_else_its_route_asks_has_no_route(lab: BodyRouting) -> None:
    answer, said = await lab.ask(body("rich"), path="/gold")
    assert told(answer, said)[:2] == (404, "no-route")
    answer, said = await lab.ask(body("poor"), path="/gold", headers={"tier": "gold"})
    assert told(answer, said)[:2] == (404, "model-not-found")
    _, said = await lab.ask(body("rich"), path="/gold", headers={"tier": "gold"})
    assert said["route"] == "gold"


@pytest.mark.parametrize(
    ("sent", "kind", "why"),
    [
        (b"{}", "application/json", body_script.NO_MODEL),
        (b'{"model":', "application/json", body_script.BAD_JSON),
        (b'{"model":"model-00"}', None, body_script.NO_TYPE),
        (b"model=model-00", "application/x-www-form-urlencoded", body_script.OTHER_TYPE),
        (multipart(file()), content_type(), body_script.NO_MODEL),
        (CASES["another boundary"][1], CASES["another boundary"][0], body_script.NO_MODEL),
        (body("m" * 513), "application/json", body_script.BAD_NAME),
    ],
)
async def test_a_body_without_a_model_is_told_why(
    lab: BodyRouting, sent: bytes, kind: str | None, why: str
) -> None:
    answer, said = await lab.ask(sent, kind, "/v1/chat/completions")
    assert told(answer, said) == (400, "unreadable-body", why)
    assert (said["error"]["code"], said["error"]["param"]) == ("unreadable-body", None)


async def test_what_no_model_could_have_chosen_has_no_route(lab: BodyRouting) -> None:
    for sent, path, method in (
        (body("model-00"), "/v2/chat/completions", "POST"),
        (b"{", "/nowhere", "POST"),
        (None, "/v1/models", "GET"),
    ):
        answer, said = await lab.ask(sent, path=path, method=method)
        assert told(answer, said) == (404, "no-route", "No route matches this host and path.")


async def test_routes_take_what_is_theirs(lab: BodyRouting) -> None:
    for name in (NAMES[0], NAMES[-1]):
        _, said = await lab.ask(body(name), path="/v1/chat/completions")
        assert said["route"] == name
    _, said = await lab.ask(body("adapter"), path="/base")
    assert (said["route"], said["base"]) == ("adapter", "base")
    _, said = await lab.ask(body("unknown"), path="/v1/any")
    assert (said["route"], said["model"]) == ("any", "unknown")
    _, said = await lab.ask(body(NAMES[3]), path="/v1/any")
    assert said["route"] == NAMES[3], "it comes first"


async def test_bodies_for_other_paths_are_neither_held_nor_limited(lab: BodyRouting) -> None:
    long = multipart(field("model", "model-00"), file(content=b"x" * (2 << 20)))
    for path, route in (("/upload", "upload"), ("/v1/files/x", "files")):
        for kind in (content_type(), "application/json"):
            _, said = await lab.ask(long, kind, path)
            assert said == {"route": route, "model": None, "base": None, "unread": None, "mark": None}
    async with lab.raw(long, content_type(), "/nowhere") as answer:
        assert answer.status == 404
    for path in ("/v1/any", "/v1/x", "/base"):
        async with lab.raw(long, content_type(), path) as answer:
            assert answer.status == 413
