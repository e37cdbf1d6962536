"""Routing cases of the Gateway API's conformance tests (v1.6), in our own words: objects and what becomes of requests.

Each group has host names of its own, so that one Envoy serves them all. Backends are called one, two and three.
"""

from collections.abc import Mapping
from typing import Any

import msgspec
from tests.live.harness.lab import route
from tests.manifests import Manifest


class Case(msgspec.Struct, frozen=True):
    """A request, and what is expected of its answer."""

    url: str
    """`host/path`."""
    wants: str | int
    """The backend that answers, the place that it redirects to (`{port}` is the gateway's), or a status."""
    method: str = "GET"
    sends: Mapping[str, str] = {}
    status: int = 0
    """Of a redirect."""
    path: str | None = None
    """As the backend sees it."""
    host: str | None = None
    sees: Mapping[str, str | None] = {}
    """Headers at the backend; None: must not be there."""
    gets: Mapping[str, str | None] = {}
    """Headers of the answer."""


class Group(msgspec.Struct, frozen=True):
    """Objects, and requests to them."""

    objects: tuple[Manifest, ...]
    cases: tuple[Case, ...]


def to(backend: str, *matches: dict[str, Any], **more: Any) -> dict[str, Any]:
    """A rule."""
    return {"matches": list(matches), "backendRefs": [{"name": backend, "port": 80}], **more}


def prefix(value: str, **more: Any) -> dict[str, Any]:
    return {"path": {"type": "PathPrefix", "value": value}, **more}


def exact(value: str) -> dict[str, Any]:
    return {"path": {"type": "Exact", "value": value}}


def header(**pairs: str) -> dict[str, Any]:
    return {"headers": [{"name": name, "value": value} for name, value in pairs.items()]}


def query(**pairs: str) -> dict[str, Any]:
    return {"queryParams": [{"name": name, "value": value} for name, value in pairs.items()]}


def hosts(host: str, *rules: dict[str, Any], name: str = "", **more: Any) -> Manifest:
    """A route of one host."""
    return route(name or host.replace(".", "-"), "one", hostnames=[host], rules=list(rules), **more)


def gate_of(name: str, *listeners: tuple[str, str]) -> Manifest:
    """A Gateway with listeners (name, host name) on the port of all others."""
    return {
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "Gateway",
        "metadata": {"name": name},
        "spec": {
            "gatewayClassName": "headgate",
            "listeners": [
                {"name": each, "port": 80, "protocol": "HTTP", "hostname": host} for each, host in listeners
            ],
        },
    }


def on(gateway: str, name: str, backend: str, path: str, *hostnames: str, section: str = "") -> Manifest:
    """A route of one prefix on a Gateway of its group, perhaps on one listener of it."""
    ref = {"name": gateway, **({"sectionName": section} if section else {})}
    return route(
        name, backend, parentRefs=[ref], hostnames=list(hostnames), rules=[to(backend, prefix(path))]
    )


def redirected(under: str, **settings: Any) -> dict[str, Any]:
    filters = [{"type": "RequestRedirect", "requestRedirect": settings}]
    return {"matches": [prefix(under)], "filters": filters}


def rewritten(under: str, backend: str = "one", *filters: dict[str, Any], **settings: Any) -> dict[str, Any]:
    return to(backend, prefix(under), filters=[{"type": "URLRewrite", "urlRewrite": settings}, *filters])


def replaced(value: str) -> dict[str, Any]:
    return {"path": {"type": "ReplacePrefixMatch", "replacePrefixMatch": value}}


def full(value: str) -> dict[str, Any]:
    return {"path": {"type": "ReplaceFullPath", "replaceFullPath": value}}


def modified(kind: str, **settings: Any) -> dict[str, Any]:
    member = kind[0].lower() + kind[1:]
    changes = {
        key: value if key == "remove" else [{"name": one, "value": two} for one, two in value.items()]
        for key, value in settings.items()
    }
    return {"type": kind, member: changes}


CHANGES = {
    "set": {"X-Header-Set": "new"},
    "add": {"X-Header-Add": "first", "X-Header-Append": "second"},
    "remove": ["X-Header-Remove"],
}
SENT = {"x-header-set": "old", "X-Header-Append": "sent", "x-HEADER-remove": "gone"}
CHANGED = {
    "x-header-set": "new",
    "x-header-add": "first",
    "x-header-append": "sent,second",
    "x-header-remove": None,
}

MATCHING = Group(
    (
        hosts(
            "m.example",
            to("one", prefix("/"), header(version="one")),
            to("two", prefix("/v2"), header(version="two")),
        ),
    ),
    (
        Case("m.example/", "one"),
        Case("m.example/example", "one"),
        Case("m.example/", "one", sends={"Version": "one"}),
        Case("m.example/v2", "two"),
        Case("m.example/v2/example", "two"),
        Case("m.example/v2/", "two"),
        Case("m.example/", "two", sends={"Version": "two"}),
        Case("m.example/v2example", "one"),
        Case("m.example/foo/v2/example", "one"),
        Case("elsewhere.example/", 404),
    ),
)

ORDER = Group(
    (
        hosts(
            "o.example",
            to("one", exact("/match")),
            to("two", exact("/match/exact")),
            to("three", exact("/match/exact/one")),
            to("three", prefix("/match/")),
            to("one", prefix("/match/prefix/")),
            to("two", prefix("/match/prefix/one")),
        ),
    ),
    (
        Case("o.example/match/exact/one", "three"),
        Case("o.example/match/exact", "two"),
        Case("o.example/match", "one"),
        Case("o.example/match/prefix/one/any", "two"),
        Case("o.example/match/prefix/any", "one"),
        Case("o.example/match/any", "three"),
        Case("o.example/matching", 404),
    ),
)

EXACT = Group(
    (hosts("e.example", to("one", exact("/one")), to("two", exact("/two"))),),
    (
        Case("e.example/one", "one"),
        Case("e.example/two", "two"),
        Case("e.example/one?q=1", "one"),
        *(Case(f"e.example{path}", 404) for path in ("/", "/one/", "/one/more", "/One", "/Two")),
    ),
)

ACROSS = Group(
    (
        route(
            "across-1",
            "one",
            hostnames=["a.example", "b.example"],
            rules=[to("one", prefix("/"), header(version="one"))],
        ),
        hosts("a.example", to("two", prefix("/v2"), header(version="two")), name="across-2"),
    ),
    (
        Case("a.example/", "one"),
        Case("b.example/example", "one"),
        Case("a.example/example", "one", sends={"Version": "one"}),
        Case("a.example/v2", "two"),
        Case("b.example/v2", "one"),
        Case("a.example/v2/example", "two"),
        Case("a.example/", "two", sends={"Version": "two"}),
    ),
)

HEADERS = Group(
    (
        hosts(
            "h.example",
            to("one", header(version="one")),
            to("two", header(version="two")),
            to("one", header(version="two", color="orange")),
            to("one", header(color="blue"), header(color="green")),
            to("two", header(color="red"), header(color="yellow")),
        ),
    ),
    (
        Case("h.example/", "one", sends={"Version": "one"}),
        Case("h.example/", "two", sends={"VERSION": "two"}),
        Case("h.example/", "one", sends={"version": "two", "color": "orange"}),
        Case("h.example/", "two", sends={"version": "two", "color": "blue"}),
        *(Case("h.example/", "one", sends={"color": color}) for color in ("blue", "green")),
        *(Case("h.example/", "two", sends={"Color": color}) for color in ("red", "yellow")),
        Case("h.example/", 404, sends={"color": "orange"}),
        Case("h.example/", 404, sends={"some-other": "one"}),
        Case("h.example/", 404),
    ),
)

METHODS = Group(
    (
        hosts(
            "me.example",
            to("one", {"method": "POST"}),
            to("two", {"method": "GET"}),
            to("one", prefix("/path1", method="GET"), prefix("/path2", method="PUT")),
            to("two", prefix("/path2", method="POST")),
            to("three", prefix("/path3", method="PATCH"), {"method": "DELETE", **header(version="four")}),
            to("one", prefix("/path5")),
            to("two", {"method": "PATCH"}, prefix("/path4", method="DELETE")),
        ),
    ),
    (
        Case("me.example/", "one", "POST"),
        Case("me.example/", "two", "GET"),
        Case("me.example/", 404, "HEAD"),
        Case("me.example/path1", "one", "GET"),
        Case("me.example/path2", "one", "PUT"),
        Case("me.example/path2", "two", "POST"),
        Case("me.example/path3", "three", "PATCH"),
        Case("me.example/any", "three", "DELETE", {"version": "four"}),
        Case("me.example/path4", "two", "DELETE", {"version": "four"}),
        Case("me.example/path5", "one", "PATCH"),
        Case("me.example/any", "two", "PATCH"),
        Case("me.example/any", 404, "DELETE"),
    ),
)

QUERIES = Group(
    (
        hosts(
            "q.example",
            to("one", query(animal="whale")),
            to("two", query(animal="dolphin")),
            to("three", query(animal="dolphin", color="blue"), query(ANIMAL="Whale")),
            to("one", {**prefix("/path1"), **query(animal="whale")}),
            to("two", {**header(version="one"), **query(animal="whale")}),
        ),
    ),
    (
        Case("q.example/?animal=whale", "one"),
        Case("q.example/?animal=dolphin", "two"),
        Case("q.example/?animal=dolphin&color=blue", "three"),
        Case("q.example/?color=blue&animal=dolphin", "three"),
        Case("q.example/?ANIMAL=Whale", "three"),
        Case("q.example/?animal=whale&otherparam=irrelevant", "one"),
        Case("q.example/?animal=whale", "two", sends={"version": "one"}),
        Case("q.example/path1?animal=whale", "one", sends={"version": "one"}),
        *(Case(f"q.example/{rest}", 404) for rest in ("", "?animal=", "?animal=shark", "?Animal=dolphin")),
    ),
)

INTERSECTION = Group(
    (
        gate_of(
            "intersect",
            ("one", "very.specific.example"),
            ("two", "*.wide.example"),
            ("three", "*.wider.example"),
        ),
        on("intersect", "is-1", "one", "/s1", "no.example", "*.nowide.example", "very.specific.example"),
        on(
            "intersect",
            "is-2",
            "two",
            "/s2",
            "no.example",
            "wide.example",
            "foo.wide.example",
            "a.bar.wide.example",
        ),
        on("intersect", "is-3", "three", "/s3", "no.example", "*.specific.example"),
        on("intersect", "is-4", "one", "/s4", "*.wider.example"),
        on("intersect", "is-5", "two", "/s5", "wrong.specific.example", "wide.example"),
    ),
    (
        Case("very.specific.example/s1", "one"),
        Case("very.specific.example:1234/s1", "one"),
        Case("VERY.specific.example/s1", "one"),
        Case("very.specific.example./s1", "one"),
        Case("Very.specific.example.:1234/s1", "one"),
        *(Case(f"{host}/s1", 404) for host in ("no.example", "foo.nowide.example", "foo.wide.example")),
        Case("very.specific.example/none", 404),
        Case("foo.wide.example/s2", "two"),
        Case("a.bar.wide.example/s2", "two"),
        *(Case(f"{host}/s2", 404) for host in ("no.example", "wide.example", "bar.wide.example")),
        Case("very.specific.example/s3", "three"),
        *(Case(f"{host}/s3", 404) for host in ("no.example", "foo.specific.example", "foo.wide.example")),
        *(Case(f"{host}/s4", "one") for host in ("foo.wider.example", "foo.bar.wider.example")),
        *(Case(f"{host}/s4", 404) for host in ("wider.example", "foo.wide.example")),
        *(Case(f"{host}/s5", 404) for host in ("wrong.specific.example", "wide.example")),
    ),
)

LISTENERS = Group(
    (
        gate_of("hosts", ("a", "bar.test"), ("b", "foo.bar.test"), ("c", "*.bar.test"), ("d", "*.foo.test")),
        on("hosts", "l-1", "one", "/", section="a"),
        on("hosts", "l-2", "two", "/", section="b"),
        route(
            "l-3",
            "three",
            parentRefs=[{"name": "hosts", "sectionName": each} for each in ("c", "d")],
            rules=[to("three", prefix("/"))],
        ),
    ),
    (
        Case("bar.test/", "one"),
        Case("foo.bar.test/", "two"),
        *(Case(f"{host}/", "three") for host in ("baz.bar.test", "boo.bar.test", "multi.prefix.bar.test")),
        *(Case(f"{host}/", "three") for host in ("baz.foo.test", "multi.prefix.foo.test")),
        *(Case(f"{host}/", 404) for host in ("foo.test", "no.match.test")),
    ),
)

ISOLATION = Group(
    (
        gate_of(
            "isolate", ("wide", "*.iso.test"), ("middle", "*.foo.iso.test"), ("narrow", "abc.foo.iso.test")
        ),
        on("isolate", "i-1", "one", "/wide", section="wide"),
        on("isolate", "i-2", "two", "/middle", section="middle"),
        on("isolate", "i-3", "three", "/narrow", section="narrow"),
    ),
    (
        Case("bar.iso.test/wide", "one"),
        Case("bar.iso.test/middle", 404),
        Case("bar.foo.iso.test/middle", "two"),
        Case("bar.foo.iso.test/wide", 404),
        Case("abc.foo.iso.test/narrow", "three"),
        *(Case(f"abc.foo.iso.test/{path}", 404) for path in ("wide", "middle")),
        Case("iso.test/wide", 404),
    ),
)

_PLAIN = "http://to.example:{port}"
REDIRECTS = Group(
    (
        hosts(
            "r.example",
            redirected("/host", hostname="to.example"),
            redirected("/host-and-status", hostname="to.example", statusCode=301),
            *(
                redirected(f"/code-{code}", hostname="to.example", statusCode=code)
                for code in (303, 307, 308)
            ),
            redirected("/prefix", hostname="to.example", **replaced("/new")),
            redirected("/strip", hostname="to.example", **replaced("/")),
            redirected("/full", hostname="to.example", **full("/all-new")),
            redirected("/port", port=8083),
            redirected("/port-and-host", port=8083, hostname="to.example"),
            redirected("/port-80", port=80, hostname="to.example"),
            redirected("/http-443", scheme="http", port=443, hostname="to.example"),
            redirected("/https-443", scheme="https", port=443, hostname="to.example"),
            redirected("/https-8443", scheme="https", port=8443, hostname="to.example"),
        ),
    ),
    (
        Case("r.example/host", _PLAIN + "/host", status=302),
        Case("r.example/host/a?b=c", _PLAIN + "/host/a?b=c", status=302),
        Case("r.example/host-and-status", _PLAIN + "/host-and-status", status=301),
        *(Case(f"r.example/code-{code}", f"{_PLAIN}/code-{code}", status=code) for code in (303, 307, 308)),
        Case("r.example/prefix/lemon", _PLAIN + "/new/lemon", status=302),
        Case("r.example/prefix", _PLAIN + "/new", status=302),
        Case("r.example/strip/lemon", _PLAIN + "/lemon", status=302),
        Case("r.example/full/path", _PLAIN + "/all-new", status=302),
        Case("r.example/port", "http://r.example:8083/port", status=302),
        Case("r.example/port-and-host", "http://to.example:8083/port-and-host", status=302),
        Case("r.example/port-80", "http://to.example/port-80", status=302),
        Case("r.example/http-443", "http://to.example:443/http-443", status=302),
        Case("r.example/https-443", "https://to.example/https-443", status=302),
        Case("r.example/https-8443", "https://to.example:8443/https-8443", status=302),
    ),
)

REWRITES = Group(
    (
        hosts(
            "w.example",
            rewritten("/prefix/one", **replaced("/one")),
            rewritten("/strip-prefix", **replaced("/")),
            rewritten("/full/one", **full("/one")),
            rewritten("/host", hostname="new.example"),
            rewritten("/both", "two", hostname="new.example", **replaced("/other")),
            rewritten("/full/more", "one", modified("RequestHeaderModifier", **CHANGES), **full("/test")),
            rewritten(
                "/prefix/more", "two", modified("RequestHeaderModifier", **CHANGES), **replaced("/prefix")
            ),
        ),
    ),
    (
        Case("w.example/prefix/one/two", "one", path="/one/two"),
        Case("w.example/prefix/one?q=1", "one", path="/one?q=1"),
        Case("w.example/strip-prefix/three", "one", path="/three"),
        Case("w.example/strip-prefix", "one", path="/"),
        Case("w.example/full/one/two", "one", path="/one"),
        Case("w.example/host/a", "one", path="/host/a", host="new.example"),
        Case("w.example/both/a", "two", path="/other/a", host="new.example"),
        Case("w.example/full/more/test", "one", sends=SENT, path="/test", sees=CHANGED),
        Case("w.example/prefix/more/one", "two", sends=SENT, path="/prefix/one", sees=CHANGED),
    ),
)

_ASKED, _TOLD = "RequestHeaderModifier", "ResponseHeaderModifier"
MODIFIERS = Group(
    (
        hosts(
            "c.example",
            *(
                to("one", prefix(f"/{what}"), filters=[modified(_ASKED, **{what: CHANGES[what]})])
                for what in CHANGES
            ),
            to("one", prefix("/several"), filters=[modified(_ASKED, **CHANGES)]),
            to("one", prefix("/answer"), filters=[modified(_TOLD, **CHANGES)]),
            {
                "matches": [prefix("/backend")],
                "backendRefs": [{"name": "two", "port": 80, "filters": [modified(_ASKED, **CHANGES)]}],
            },
        ),
    ),
    (
        Case("c.example/set", "one", sees={"x-header-set": "new"}),
        Case("c.example/set", "one", sends=SENT, sees={"x-header-set": "new", "x-header-remove": "gone"}),
        Case("c.example/add", "one", sees={"x-header-add": "first", "x-header-append": "second"}),
        Case("c.example/add", "one", sends=SENT, sees={"x-header-append": "sent,second"}),
        Case("c.example/remove", "one", sends=SENT, sees={"x-header-set": "old", "x-header-remove": None}),
        Case("c.example/several", "one", sends=SENT, sees=CHANGED),
        Case("c.example/backend", "two", sends=SENT, sees=CHANGED),
        Case("c.example/answer", "one", gets=CHANGED),
    ),
)

_AWAY = {"name": "away", "namespace": "other", "port": 80}
REFERENCES = Group(
    (
        hosts(
            "f.example",
            to("nowhere", prefix("/missing")),
            {
                "matches": [prefix("/kind")],
                "backendRefs": [{"name": "one", "kind": "Unknown", "group": "x.example"}],
            },
            {"matches": [prefix("/none")]},
            {"matches": [prefix("/refused")], "backendRefs": [{**_AWAY, "name": "hidden"}]},
            {"matches": [prefix("/granted")], "backendRefs": [_AWAY]},
            {
                "matches": [prefix("/partly")],
                "backendRefs": [
                    {"name": "one", "port": 80, "weight": 1},
                    {"name": "nowhere", "port": 80, "weight": 0},
                ],
            },
            {"name": "its-name", **to("three", prefix("/named"))},
        ),
        {
            "apiVersion": "gateway.networking.k8s.io/v1",
            "kind": "ReferenceGrant",
            "metadata": {"name": "grant", "namespace": "other"},
            "spec": {
                "from": [{"group": "gateway.networking.k8s.io", "kind": "HTTPRoute", "namespace": "default"}],
                "to": [{"group": "", "kind": "Service", "name": "away"}],
            },
        },
    ),
    (
        *(Case(f"f.example/{path}", 500) for path in ("missing", "kind", "none", "refused")),
        Case("f.example/granted", "three"),
        Case("f.example/partly", "one"),
        Case("f.example/named", "three"),
    ),
)

PARENTS = Group(
    (
        gate_of("parents", ("first", "p1.example"), ("second", "p2.example")),
        route(
            "p-port", "one", parentRefs=[{"name": "parents", "port": 80}], rules=[to("one", prefix("/port"))]
        ),
        route(
            "p-wrong",
            "one",
            parentRefs=[{"name": "parents", "port": 81}],
            rules=[to("one", prefix("/wrong"))],
        ),
        route(
            "p-both",
            "two",
            parentRefs=[{"name": "parents", "port": 80, "sectionName": "second"}],
            rules=[to("two", prefix("/both"))],
        ),
        on("parents", "p-none", "one", "/none", section="third"),
    ),
    (
        *(Case(f"{host}.example/port", "one") for host in ("p1", "p2")),
        Case("p2.example/both", "two"),
        Case("p1.example/both", 404),
        *(Case(f"{host}.example/{path}", 404) for host in ("p1", "p2") for path in ("wrong", "none")),
    ),
)

_SETS = gate_of("sets", ("own", "own.sets.test"))
_SETS["spec"]["allowedListeners"] = {"namespaces": {"from": "Same"}}


def listener_set(name: str, *listeners: tuple[str, str], **more: Any) -> Manifest:
    """A ListenerSet of that Gateway."""
    found = gate_of(name, *listeners)
    spec = {"parentRef": {"name": "sets"}, "listeners": found["spec"]["listeners"]}
    return {**found, "kind": "ListenerSet", "metadata": {"name": name, **more}, "spec": spec}


def of_set(name: str, parent: str, backend: str, path: str) -> Manifest:
    ref = {"name": parent, "kind": "ListenerSet", "group": "gateway.networking.k8s.io"}
    return route(name, backend, parentRefs=[ref], rules=[to(backend, prefix(path))])


SETS = Group(
    (
        _SETS,
        listener_set("set-a", ("first", "a.sets.test"), ("same", "own.sets.test")),
        listener_set("set-b", ("first", "b.sets.test"), ("same", "a.sets.test")),
        listener_set("set-c", ("first", "c.sets.test"), namespace="other"),
        on("sets", "s-own", "one", "/own"),
        of_set("s-a", "set-a", "two", "/a"),
        of_set("s-b", "set-b", "three", "/b"),
    ),
    (
        Case("own.sets.test/own", "one"),
        Case("a.sets.test/a", "two"),
        Case("b.sets.test/b", "three"),
        *(Case(f"{host}.sets.test/own", 404) for host in ("a", "b")),
        *(Case(f"own.sets.test/{path}", 404) for path in ("a", "b")),
        *(Case(f"a.sets.test/{path}", 404) for path in ("b", "own")),
        Case("c.sets.test/own", 404),
    ),
)

RETRIES = Group(
    (hosts("y.example", to("half", prefix("/"), retry={"codes": [500], "attempts": 3})),),
    tuple(Case(f"y.example/{number}", "one") for number in range(8)),
)
"""The Service `half` has an endpoint that refuses connections beside one that works."""

_SLOW = "?sleep_s=2"
TIMEOUTS = Group(
    (
        hosts(
            "t.example",
            to("one", prefix("/request"), timeouts={"request": "300ms"}),
            to("one", prefix("/backend"), timeouts={"backendRequest": "300ms"}),
            to("one", prefix("/none"), timeouts={"request": "0s"}),
        ),
    ),
    (
        Case("t.example/request", "one"),
        Case(f"t.example/request{_SLOW}", 504),
        Case("t.example/backend", "one"),
        Case(f"t.example/backend{_SLOW}", 504),
        Case("t.example/none?sleep_s=0.6", "one"),
    ),
)

GROUPS: Mapping[str, Group] = {
    "matching": MATCHING,
    "order": ORDER,
    "exact": EXACT,
    "across": ACROSS,
    "headers": HEADERS,
    "methods": METHODS,
    "queries": QUERIES,
    "intersection": INTERSECTION,
    "listeners": LISTENERS,
    "isolation": ISOLATION,
    "redirects": REDIRECTS,
    "rewrites": REWRITES,
    "modifiers": MODIFIERS,
    "references": REFERENCES,
    "parents": PARENTS,
    "sets": SETS,
    "retries": RETRIES,
    "timeouts": TIMEOUTS,
}
