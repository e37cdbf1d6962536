"""What Envoy reads of bodies: the model of forms as the picker reads it, the base model, and why nothing was read."""

import asyncio
import json
import os
import random
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest
from tests.forms import BOUNDARY, CASES, content_type, field, file, multipart, random_form
from tests.live.harness.body_routing import (
    ROUTER,
    BodyRouting,
    body_routing,
    echo,
    named,
    without_ext_proc,
)
from tests.live.harness.envoy import listener, running_envoy
from tests.live.harness.processes import free_port

from headgate.gateway.envoy import body_script, model_routing
from headgate.gateway.settings import GatewaySettings
from headgate.model import headers
from headgate.model.bounds import MODEL_NAME_BYTES, MOST_PARTS
from headgate.wire import multipart as reader

pytestmark = pytest.mark.live

ADAPTERS = {f"adapter-{number}": f"base-{number % 7}" for number in range(1000)} | {"base-0": "base-0"}


@pytest.fixture
async def lab(tmp_path: Path) -> AsyncIterator[BodyRouting]:
    routes = [
        echo("base 3", prefix="/", **named("base-3", headers.BASE_MODEL_NAME)),
        echo("m", prefix="/", **named("m")),
        echo("else"),
    ]
    async with body_routing(routes, tmp_path, model_routing.switched_on(ADAPTERS)) as running:
        yield running


def expected(kind: str, body: bytes) -> str | None:
    """The model of a form as the picker reads it, except where it comes twice or no header may hold it."""
    boundary = reader.boundary_of(kind) if kind.lower().startswith("multipart/form-data") else None
    places = None if boundary is None else reader.values(body, boundary, (b"model",))
    if not places or len(places) > 1:
        return None
    value = body[slice(*places[0][1])]
    try:
        name = value.decode()
    except UnicodeDecodeError:
        return None
    odd = len(value) > MODEL_NAME_BYTES or any(byte < 32 or byte == 127 for byte in value)
    return None if odd or not name else name


async def test_forms_are_read_as_the_picker_reads_them(lab: BodyRouting) -> None:
    for name, (kind, body, model) in CASES.items():
        assert expected(kind, body) == (None if name == "twice" else model), name
        _, said = await lab.ask(body, kind)
        assert said["model"] == expected(kind, body), name
        assert (said["unread"] is None) == (said["model"] is not None), name
        assert said["route"] == ("m" if said["model"] == "m" else "else"), name


async def test_damaged_forms_are_read_as_the_picker_reads_them(lab: BodyRouting) -> None:
    dice = random.Random(7)
    read = 0
    for _ in range(60):
        forms = [random_form(dice) for _ in range(32)]
        answers = await asyncio.gather(*(lab.ask(body, kind) for kind, body in forms))
        for (kind, body), (_, said) in zip(forms, answers, strict=True):
            assert said["model"] == expected(kind, body), (kind, body)
            read += said["model"] is not None
    assert 200 < read < 1700, "both kinds are plenty"


@pytest.mark.parametrize("last", [True, False])
async def test_a_large_file_before_or_behind_the_model(lab: BodyRouting, last: bool) -> None:
    """The boundary crosses the ends of the windows that are looked at, wherever those are."""
    model, content = field("model", "adapter-3"), os.urandom(30 << 20)
    for less in range(0, 130, 13) if last else (0,):
        upload = file(content=content[less:])
        parts = (upload, model) if last else (model, upload)
        answer, said = await lab.ask(multipart(*parts), content_type())
        assert (answer.status, said["model"], said["route"]) == (200, "adapter-3", "base 3")


async def test_windows_end_anywhere_in_a_delimiter(lab: BodyRouting) -> None:
    window = body_script.WINDOW_BYTES
    before = len(multipart(file(content=b""), field("model", "m")).partition(b"\r\n\r\n")[0]) + 4
    near = [window - before + shift for shift in range(-60, 8)]
    forms = [multipart(file(content=b"x" * size), field("model", "m")) for size in near]
    answers = await asyncio.gather(*(lab.ask(form, content_type()) for form in forms))
    assert {said["model"] for _, said in answers} == {"m"}


async def test_a_form_in_pieces_or_without_a_length(lab: BodyRouting) -> None:
    body = multipart(file(content=b"x" * 300_000), field("model", "m"))

    async def pieces() -> AsyncIterator[bytes]:
        for at in range(0, len(body), 4096):
            yield body[at : at + 4096]

    _, said = await lab.ask(pieces(), content_type())
    assert said["model"] == "m"


async def test_lines_that_look_like_delimiters_are_given_up(lab: BodyRouting) -> None:
    many = b"".join(b"\r\n--" + BOUNDARY.encode() + b"x" for _ in range(MOST_PARTS))
    _, said = await lab.ask(multipart(file(content=many), field("model", "m")), content_type())
    assert (said["model"], said["unread"]) == (None, body_script.BAD_FORM)


@pytest.mark.parametrize(
    ("body", "kind", "why"),
    [
        (b"{}", "application/json", body_script.NO_MODEL),
        (b'{"model":""}', "application/json", body_script.NO_MODEL),
        (b'{"model":null}', "application/json", body_script.NO_MODEL),
        (b'{"model":', "application/json", body_script.BAD_JSON),
        (b'{"model":"a","model":"b"}', "application/json", body_script.BAD_JSON),
        (b'["model"]', "application/json; charset=utf-8", body_script.BAD_JSON),
        (b"", "application/json", body_script.BAD_JSON),
        (b'{"model":"m"}', None, body_script.NO_TYPE),
        (b'{"model":"m"}', "", body_script.NO_TYPE),
        (b'{"model":"m"}', "application/x-www-form-urlencoded", body_script.OTHER_TYPE),
        (b'{"model":"m\\u0000"}', "application/json", body_script.BAD_NAME),
        (b'{"model":"' + b"m" * 513 + b'"}', "application/json", body_script.BAD_NAME),
        (multipart(field("model", "m" * 513)), content_type(), body_script.BAD_NAME),
        (multipart(field("model", "m\r\nx: y")), content_type(), body_script.BAD_NAME),
        (multipart(field("model", "")), content_type(), body_script.NO_MODEL),
        (multipart(file()), content_type(), body_script.NO_MODEL),
        (multipart(field("model", "m"), boundary="b"), content_type(), body_script.NO_MODEL),
        (multipart(field("model", "m")), "multipart/form-data", body_script.BAD_BOUNDARY),
        (multipart(*[field("model", "m")] * 2), content_type(), body_script.TWICE),
        (multipart(("no colon", b"")), content_type(), body_script.BAD_FORM),
    ],
)
async def test_why_nothing_was_read(lab: BodyRouting, body: bytes, kind: str | None, why: str) -> None:
    _, said = await lab.ask(body, kind)
    assert said == {"route": "else", "model": None, "base": None, "unread": why, "mark": None}


async def test_compressed_bodies_are_not_read(lab: BodyRouting) -> None:
    _, said = await lab.ask(*CASES["curl"][1::-1], headers={"content-encoding": "gzip"})
    assert (said["model"], said["unread"]) == (None, body_script.COMPRESSED)


async def test_requests_that_bring_no_body_are_not_asked_for_one(lab: BodyRouting) -> None:
    for method in ("GET", "DELETE", "OPTIONS"):
        _, said = await lab.ask(None, None, method=method)
        assert (said["route"], said["unread"]) == ("else", None)


async def test_what_a_client_says_about_its_body_goes_no_further(lab: BodyRouting) -> None:
    _, said = await lab.ask(b"{", headers={body_script.READ_MARK: "1"})
    assert (said["model"], said["mark"], said["route"]) == (None, None, "else")


async def test_the_base_model_of_a_thousand_adapters(lab: BodyRouting) -> None:
    for name in ("adapter-3", "adapter-10", "adapter-997", "base-0"):
        for body, kind in (
            (b'{"model":"%s"}' % name.encode(), "application/json"),
            (multipart(field("model", name)), content_type()),
        ):
            _, said = await lab.ask(body, kind)
            assert (said["model"], said["base"]) == (name, ADAPTERS[name])
            assert said["route"] == ("base 3" if ADAPTERS[name] == "base-3" else "else")
    _, said = await lab.ask(b'{"model":"unknown"}')
    assert (said["model"], said["base"]) == ("unknown", None)


async def test_longer_bodies_are_refused_and_others_pass(tmp_path: Path) -> None:
    long = multipart(file(content=b"x" * (2 << 20)), field("model", "m"))
    async with body_routing([echo("else")], tmp_path, limit=1 << 20) as lab:
        async with lab.raw(long, content_type()) as answer:
            assert answer.status == 413
        _, said = await lab.ask(long, "application/octet-stream")
        assert said["unread"] == body_script.OTHER_TYPE


async def test_adapters_change_with_the_routes_and_no_listener_does(tmp_path: Path) -> None:
    """Routes from a file, as they come by RDS."""
    rules = tmp_path / "routes.json"

    def put(adapters: dict[str, str]) -> None:
        hosts = [{"name": "all", "domains": ["*"], "routes": [echo("else")]}]
        routes = {
            "@type": "type.googleapis.com/envoy.config.route.v3.RouteConfiguration",
            "name": "routes",
            "virtual_hosts": hosts,
            "typed_per_filter_config": without_ext_proc(model_routing.switched_on(adapters)),
        }
        new = tmp_path / "new.json"
        new.write_text(json.dumps({"resources": [routes]}))
        new.replace(rules)

    put({"a": "old"})
    port = free_port()
    source = {"path_config_source": {"path": str(rules)}, "resource_api_version": "V3"}
    manager = {
        "rds": {"route_config_name": "routes", "config_source": source},
        "http_filters": [*model_routing.filters(GatewaySettings()), ROUTER],
    }
    async with running_envoy([listener(port, manager)], [], tmp_path), aiohttp.ClientSession() as http:
        lab = BodyRouting(port, http)
        _, said = await lab.ask(b'{"model":"a"}')
        assert said["base"] == "old"
        for number in range(body_script.MOST_VERSIONS + 2):
            put({"a": f"new-{number}", "b": f"new-{number}"})
            async with asyncio.timeout(10):
                while said["base"] != f"new-{number}":
                    _, said = await lab.ask(b'{"model":"a"}')
                    await asyncio.sleep(0.01)
        _, said = await lab.ask(b'{"model":"b"}')
        assert said["base"] == f"new-{number}"
        put({})
        async with asyncio.timeout(10):
            while said["base"] is not None:
                _, said = await lab.ask(b'{"model":"b"}')
                await asyncio.sleep(0.01)
