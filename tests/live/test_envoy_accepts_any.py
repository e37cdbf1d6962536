"""What `check` accepts, Envoy accepts: HTTPRoutes and AccessPolicies with anything that a user may write, validated in batches."""

import json
import random
import subprocess
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests import manifests as manifest
from tests.live.harness.echo import service
from tests.live.harness.translated import written_out

from headgate.gateway.envoy.bootstrap import INTERNAL_LISTENERS, RUNTIME
from headgate.gateway.settings import GatewaySettings
from headgate.gateway.translate import translate
from headgate.io.envoy.binary import find_envoy
from headgate.manifests.decode import decode
from headgate.model.meta import Origin
from headgate.model.objects import Object
from headgate.model.snapshot import Snapshot

pytestmark = pytest.mark.live

Manifest = dict[str, Any]

ROUTES = 250
"""Of one batch; about half of what is drawn is refused by us."""

PIECES = (
    *(
        "/",
        "a",
        "B",
        "v1",
        "%41",
        "%",
        "?",
        "#",
        " ",
        "é",
        "\\",
        "{",
        "}",
        "(",
        ")",
        "[",
        "]",
        "*",
        "+",
        ".",
        "|",
    ),
    *(
        "^",
        "$",
        "~",
        "\n",
        "\x00",
        "=",
        "&",
        ":",
        "//",
        "..",
        "%2F",
        "{2}",
        "{900}",
        "(a{100}){100}",
        "(?i)",
        "\\d",
    ),
    *("(?=x)", "[a-z]+", ".*", "\\p{L}", "-", "_", ",", '"', "'", "${x}", "%REQ(:path)%", "%%"),
)
"""What texts are made of."""


def text(dice: random.Random, most: int = 5) -> str:
    return "".join(dice.choice(PIECES) for _ in range(dice.randrange(most + 1)))


def path(dice: random.Random) -> str:
    return dice.choice(["/", "/v1", "/a/b", f"/{text(dice)}", text(dice)])


def name(dice: random.Random) -> str:
    return dice.choice(["x", "X-Some", "accept", ":path", "x_y", "a!#$&'*+.^`|~", "host", text(dice, 2)])


def value(dice: random.Random) -> str:
    return dice.choice(["v", "a b", "ü", text(dice), text(dice) * 20])


def matches(dice: random.Random) -> Manifest:
    kinds = ["Exact", "PathPrefix", "RegularExpression"]
    found: Manifest = {}
    if dice.random() < 0.8:
        found["path"] = {"type": dice.choice(kinds), "value": path(dice)}
    for field in ("headers", "queryParams"):
        if dice.random() < 0.4:
            found[field] = [
                {
                    "name": name(dice),
                    "value": value(dice),
                    "type": dice.choice(["Exact", "RegularExpression"]),
                }
                for _ in range(dice.randrange(1, 3))
            ]
    if dice.random() < 0.3:
        found["method"] = dice.choice(["GET", "POST", "OPTIONS", "CONNECT"])
    return found


def modifier(dice: random.Random) -> Manifest:
    return {
        "set": [{"name": name(dice), "value": value(dice)}],
        "add": [{"name": name(dice), "value": value(dice)}],
        "remove": [name(dice)],
    }


def path_change(dice: random.Random) -> Manifest:
    return dice.choice(
        [
            {"type": "ReplaceFullPath", "replaceFullPath": path(dice)},
            {"type": "ReplacePrefixMatch", "replacePrefixMatch": path(dice)},
        ]
    )


def host(dice: random.Random) -> str:
    return dice.choice(["a.example", "x-y.example", "*.example", "A.example", text(dice, 3)])


def filters(dice: random.Random) -> list[Manifest]:
    cors = {
        "allowOrigins": [
            dice.choice(["*", "https://a.example", "http://*.a.example:81", "https://*", text(dice)])
        ],
        "allowMethods": [dice.choice(["*", "GET", "PATCH"])],
        "allowHeaders": [name(dice), name(dice)],
        "exposeHeaders": [dice.choice(["*", name(dice)])],
        "allowCredentials": dice.random() < 0.5,
        "maxAge": dice.choice([1, 2**31 - 1]),
    }
    mirror: Manifest = {"backendRef": {"name": "one", "port": 80}}
    shares: list[Manifest] = [{}, {"percent": 0}, {"percent": 7}]
    shares += [{"fraction": {"numerator": each, "denominator": 2**31 - 1}} for each in (0, 1, 2**31 - 1)]
    mirror |= dice.choice(shares)
    rewrite = {"hostname": host(dice), "path": path_change(dice)}
    redirect = {
        "scheme": dice.choice(["http", "https"]),
        "hostname": host(dice),
        "path": path_change(dice),
        "port": dice.choice([80, 443, 65535]),
        "statusCode": dice.choice([301, 302, 303, 307, 308]),
    }
    every = [
        {"type": "RequestHeaderModifier", "requestHeaderModifier": modifier(dice)},
        {"type": "ResponseHeaderModifier", "responseHeaderModifier": modifier(dice)},
        {"type": "CORS", "cors": cors},
        {"type": "RequestMirror", "requestMirror": mirror},
        {"type": "URLRewrite", "urlRewrite": rewrite},
        {"type": "RequestRedirect", "requestRedirect": redirect},
    ]
    return [each for each in every if dice.random() < 0.2]


def rule(dice: random.Random) -> Manifest:
    refs: list[Manifest] = []
    for each in (manifest.rule("fit")["backendRefs"][0], {"name": "one", "port": 80}):
        if dice.random() < 0.6:
            refs.append({**each, "weight": dice.choice([0, 1, 10**6]), "filters": filters(dice)[:1]})
    found: Manifest = {"matches": [matches(dice)], "filters": filters(dice), "backendRefs": refs}
    if dice.random() < 0.3:
        retry = {
            "codes": dice.sample([429, 500, 503], 2),
            "attempts": dice.choice([1, 100]),
            "backoff": dice.choice(["0s", "1ms", "10h"]),
        }
        found["retry"] = retry
    if dice.random() < 0.3:
        found["timeouts"] = {
            "request": dice.choice(["0s", "1h30m", "99999h"]),
            "backendRequest": dice.choice(["0s", "1ms", "1s"]),
        }
    if dice.random() < 0.3:
        found["sessionPersistence"] = dice.choice(
            [
                {"type": "Header", "sessionName": "s"},
                {"type": dice.choice(["Header", "Cookie"]), "sessionName": name(dice)},
                {"absoluteTimeout": "1h", "cookieConfig": {"lifetimeType": "Permanent"}},
            ]
        )
    return found


PUBLIC: Manifest = {"kty": "RSA", "n": "_" * 86, "e": "AQAB"}
"""A key as issuers publish it, if a short one."""


def who(dice: random.Random, of: str) -> list[Manifest]:
    """An AccessPolicy for a route, with the Secret that it names."""
    target = {"kind": "HTTPRoute", "name": of}
    keys: list[Any] = [PUBLIC, {"kty": "oct", "k": "c2VjcmV0"}, {"kty": "EC"}, {**PUBLIC, "n": text(dice)}]
    keys += [{**PUBLIC, "alg": dice.choice(["RS256", "ES256", ""])}, {"kty": text(dice, 1)}]
    sources: list[Manifest] = [
        {"inline": json.dumps({"keys": dice.sample(keys, dice.randrange(1, 3))})},
        {
            "uri": f"{dice.choice(['https', 'http'])}://{host(dice)}:{dice.choice([1, 65535, 65536])}/{text(dice)}"
        },
        {"uri": dice.choice(["https://u:p@h/k", "https://[::1]:80", "https://h?a", "http://h_x.example/"])},
    ]
    jwt: Manifest = {
        "jwks": dice.choice(sources),
        "issuer": value(dice),
        "audiences": [value(dice)] * dice.randrange(3),
        "clientClaim": dice.choice(["sub", "a.b", text(dice, 2)]),
    }
    by_keys = {"secretRefs": [{"name": of}], "header": name(dice)}
    spec: Manifest = dice.choice([{"jwt": jwt}, {"apiKeys": by_keys}])
    return [
        {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": of},
            "stringData": {value(dice): value(dice)},
        },
        {
            "apiVersion": "headgate.dev/v1alpha1",
            "kind": "AccessPolicy",
            "metadata": {"name": of},
            "spec": {"targetRefs": [target], **spec},
        },
    ]


def accepted(routes: list[Object], others: list[Object], folder: Path) -> str:
    """What Envoy says against these routes, empty when nothing."""
    settings = GatewaySettings()
    translation = translate(Snapshot((*others, *routes)), settings, with_secrets=True)
    listeners, clusters = written_out(translation)
    config = folder / "bootstrap.json"
    static = {"listeners": listeners, "clusters": clusters}
    whole = {"static_resources": static, "layered_runtime": RUNTIME}
    config.write_text(json.dumps({**whole, "bootstrap_extensions": [INTERNAL_LISTENERS]}))
    command = [str(find_envoy()), "--mode", "validate", "-c", str(config), "-l", "error"]
    result = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    return "" if result.returncode == 0 else result.stderr


@pytest.mark.parametrize("seed", range(8))
def test_what_check_accepts_envoy_accepts(seed: int, tmp_path: Path) -> None:
    dice = random.Random(seed)
    fixed = [manifest.gateway(), manifest.pool("fit"), *service("one", 8000)]
    others = list(manifest.snapshot(*fixed).objects)
    routes: list[Object] = []
    policies = 0
    for number in range(ROUTES):
        raw = manifest.route(rule(dice), name=f"r{number}")
        raw["spec"]["hostnames"] = [f"h{number}.example"]
        found = decode(raw, "", lambda _: 0)
        if found.object is None:
            continue
        routes.append(found.object)
        if dice.random() < 0.5:
            read = [decode(each, "", lambda _: 0).object for each in who(dice, f"r{number}")]
            routes += [each for each in read if each is not None]
            policies += read[1] is not None
    assert len(routes) > 20 and policies > 5
    if said := accepted(routes, others, tmp_path):
        guilty = [each for each in routes if accepted([each], others, tmp_path)]
        shown = [msgspec.json.encode(msgspec.structs.replace(each, origin=Origin())) for each in guilty[:3]]
        pytest.fail(f"{said[-400:]}\n{shown}")
