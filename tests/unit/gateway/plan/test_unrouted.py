"""Why no route took a request, in sentences."""

from typing import Any

import pytest
from tests import manifests as manifest
from tests.resolved import world

from headgate.gateway.plan.classes import ALL
from headgate.gateway.plan.unrouted import MOST_NAMES, why
from headgate.model.own_answers import OwnAnswer


def on(host: str | None, name: str, *matches: Any) -> manifest.Manifest:
    made = manifest.route(manifest.rule("p", matches=list(matches)), name=name)
    if host is not None:
        made["spec"]["hostnames"] = [host]
    return made


def path(value: str, kind: str = "PathPrefix", **more: Any) -> dict[str, Any]:
    return {"path": {"type": kind, "value": value}, **more}


MODEL = {"name": "X-Gateway-Model-Name", "value": "m"}
SECRET = {"name": "x-tenant", "value": "s3cr3t"}
ROUTES = (
    on("a.example", "a", path("/v1", headers=[MODEL]), path("/post", method="POST")),
    on("*.b.example", "b", path("/exact", "Exact"), path("/[a-z]+", "RegularExpression")),
    on(
        "c.example",
        "c",
        path("/", headers=[SECRET]),
        path("/", queryParams=[{"name": "q", "value": "s3cr3t"}]),
    ),
)


def asked(host: str, path: str, *routes: manifest.Manifest, **more: Any) -> str:
    answer = OwnAnswer(
        request_id="x",
        at=0.0,
        port=more.pop("port", 8080),
        method=more.pop("method", "GET"),
        host=host,
        path=path,
        status=404,
        **more,
    )
    found = manifest.snapshot(manifest.gateway(), *(routes or ROUTES))
    return "\n".join(why(world(found), ALL, answer))


@pytest.mark.parametrize(
    ("host", "at", "more", "says"),
    [
        ("a.example", "/v1/chat", {"model": "x"}, "takes the model x; models there are: m"),
        ("A.example:8080", "/v1", {"model": "x"}, "takes the model x; models there are: m"),
        ("a.example", "/v1", {}, "go by the model, and none was read; models there are: m"),
        ("a.example", "/v1x", {}, "takes the path /v1x; paths there are: /post, /v1"),
        ("a.example", "/post", {}, "also ask for: the method POST"),
        ("other", "/", {}, "takes the host other; hosts there are: *.b.example, a.example, c.example"),
        ("x.b.example", "/9", {}, "also ask for: the path /[a-z]+ (regex)"),
        ("a.example", "/", {"port": 1}, "no listener is at port 1 any more"),
    ],
)
def test_the_sentence_names_what_there_is(host: str, at: str, more: dict[str, Any], says: str) -> None:
    assert says in asked(host, at, **more)


def test_a_route_that_is_there_by_now() -> None:
    assert "routes have changed since" in asked("d.example", "/", on("d.example", "d", path("/")))


def test_values_that_routes_ask_for_are_not_shown() -> None:
    told = asked("c.example", "/")
    assert "the header x-tenant, the query parameter q" in told
    assert "s3cr3t" not in told


def test_a_long_list_is_cut() -> None:
    routes = [on(f"h{number}.example", f"r{number}", path("/")) for number in range(MOST_NAMES + 5)]
    assert asked("other", "/", *routes).endswith(" and 5 more")
