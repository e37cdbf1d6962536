"""Documents around a valid one, made from a CRD's schema: each limit met, passed and left out."""

import copy
import random
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

Schema = Mapping[str, Any]
Path = tuple[str | int, ...]

TEXTS = (
    *(
        "",
        "a",
        "A",
        "a-b",
        "-a",
        "a-",
        "a.b",
        "a..b",
        "a b",
        "a\n",
        "a_b",
        "a/b",
        "/",
        "/a",
        "/a/b",
        "/a?b",
        "/a#b",
    ),
    *(
        "*",
        "*.a.b",
        "*.a",
        "a.*",
        "1.2.3.4",
        "::1",
        "a.b/c",
        "a.b/c/d",
        "System",
        "a.b.c/D-e",
        "é",
        "%41",
        "/%41",
    ),
    *(
        "/a//b",
        "/a/./b",
        "/a/../b",
        "/a/..",
        "/a%2f",
        "/a%2Fb",
        "/%",
        "GET",
        "get",
        "http",
        "HTTP",
        "https://a.b",
    ),
    *(
        "https://*.a.b:8080",
        "https://*",
        "http://a:123456",
        "https://a/",
        "ws://a",
        "null",
        "5s",
        "1h2m3s4ms",
    ),
    *(
        "1d",
        "1.5s",
        "-1s",
        "5",
        "0s",
        "99999h99999h99999h99999h",
        "100000s",
        "(a",
        "[a-z]+",
        "^a$",
        "(?=a)",
        "a:b",
        ":path",
        "x!#$%&'*+.^`|~",
    ),
    *("Hostname", "IPAddress", "NamedAddress", "X", "spiffe://a/b", "a@b"),
)
"""What strings are tried with, whatever they stand for."""

NUMBERS = (
    -(2**31) - 1,
    -1,
    0,
    1,
    2,
    80,
    99,
    100,
    101,
    300,
    400,
    599,
    600,
    65535,
    65536,
    1_000_000,
    1_000_001,
    2**31 - 1,
    2**31,
)


def values(schema: Schema) -> Iterator[Any]:
    """What may stand, and what may not, where *schema* says what may."""
    match schema.get("type"):
        case "string":
            yield from schema.get("enum", ())
            yield from TEXTS
            for most in {schema.get("maxLength", 0), schema.get("minLength", 0)} - {0}:
                for length in (most - 1, most, most + 1):
                    yield "a" * length
                    yield ("/" + "a" * length)[:length]
                    yield ("a" * 63 + ".") * (length // 64) + "a" * (length % 64)
            yield 5
        case "integer":
            yield from NUMBERS
            for limit in ("minimum", "maximum"):
                if limit in schema:
                    yield from (schema[limit] - 1, schema[limit], schema[limit] + 1)
            yield from ("1", 1.5)
        case "boolean":
            yield from (True, False, "true", 1)
        case "array":
            yield from ([], {}, "a")
        case "object":
            yield from ({}, [], "a")
            if "additionalProperties" in schema:
                most = schema.get("maxProperties", 16)
                for count in (most, most + 1):
                    yield {f"k{index}": "v" for index in range(count)}
                for text in TEXTS:
                    yield {text: "v"}
                    yield {"k": text}
        case _ if schema.get("x-kubernetes-int-or-string"):
            yield from (1, "1", "a")
        case _:
            pass


def smallest(schema: Schema) -> Any:
    """The least that a schema may take, as far as one can tell without its CEL rules."""
    if "default" in schema:
        return copy.deepcopy(schema["default"])
    match schema.get("type"):
        case "string":
            return schema["enum"][0] if "enum" in schema else "a"
        case "integer":
            return schema.get("minimum", 1)
        case "boolean":
            return True
        case "array":
            return [smallest(schema["items"]) for _ in range(max(1, schema.get("minItems", 0)))]
        case "object":
            members = schema.get("properties", {})
            return {key: smallest(members[key]) for key in schema.get("required", ()) if key in members}
        case _:
            return 1


def spots(value: Any, schema: Schema, path: Path = ()) -> Iterator[tuple[Path, Schema]]:
    """Every place in *value* and below, absent members of its objects too, with the schema there."""
    if path:
        yield path, schema
    if isinstance(value, dict):
        for key, its in schema.get("properties", {}).items():
            yield from spots(value.get(key), its, (*path, key))
    elif isinstance(value, list) and "items" in schema:
        for index, each in enumerate(value):
            yield from spots(each, schema["items"], (*path, index))


def with_value(whole: Any, path: Path, value: Any) -> Any:
    """A copy of *whole* with *value* at *path*; what was there is replaced."""
    found = copy.deepcopy(whole)
    at = found
    for part in path[:-1]:
        at = at[part]
    at[path[-1]] = value
    return found


def without(whole: Any, path: Path) -> Any:
    """A copy of *whole* without what stands at *path*."""
    found = copy.deepcopy(whole)
    at = found
    for part in path[:-1]:
        at = at[part]
    del at[path[-1]]
    return found


def there(whole: Any, path: Path) -> Any:
    """What stands at *path*; None where nothing does."""
    for part in path:
        try:
            whole = whole[part]
        except (KeyError, IndexError):
            return None
    return whole


def lists(value: Any, schema: Schema) -> Iterator[list[Any]]:
    """The same list longer than it may be, and with an item twice."""
    items = list(value) if isinstance(value, list) and value else [smallest(schema["items"])]
    most = schema.get("maxItems", 16)
    if most <= 128:
        for count in (most, most + 1):
            yield _many(items, count)
    yield [*copy.deepcopy(items), copy.deepcopy(items[0])]


def _many(items: Sequence[Any], count: int) -> list[Any]:
    """*count* items with names, ports and header names of their own."""
    found = copy.deepcopy(list(items))[:count]
    while len(found) < count:
        each = copy.deepcopy(items[0])
        if isinstance(each, dict):
            for key in ("name", "port", "number"):
                if key in each:
                    each[key] = f"n{len(found)}" if isinstance(each[key], str) else 1000 + len(found)
        elif isinstance(each, str):
            each = f"n{len(found)}"
        found.append(each)
    return found


def around(whole: Mapping[str, Any], schema: Schema, field: str = "spec") -> Iterator[tuple[Path, Any]]:
    """(where, document): *whole* with one thing changed below *field*."""
    for below, its in spots(whole[field], schema["properties"][field]):
        path = (field, *below)
        now = there(whole, path)
        if now is not None:
            yield path, without(whole, path)
        else:
            yield path, with_value(whole, path, smallest(its))
        for value in values(its):
            yield path, with_value(whole, path, value)
        if its.get("type") == "array":
            for value in lists(now, its):
                yield path, with_value(whole, path, value)


def mixed(
    whole: Mapping[str, Any], schema: Schema, dice: random.Random, count: int
) -> Iterator[tuple[Path, Any]]:
    """*count* documents with two to four things changed, each likely to be right by itself."""
    for _ in range(count):
        found: Any = copy.deepcopy(dict(whole))
        path: Path = ()
        for _ in range(dice.randrange(2, 5)):
            below, its = dice.choice(list(spots(found["spec"], schema["properties"]["spec"])))
            path = ("spec", *below)
            if there(found, path) is not None and dice.random() < 0.4:
                if isinstance(path[-1], str):
                    found = without(found, path)
            else:
                choices = [smallest(its), smallest(its), *its.get("enum", ())]
                found = with_value(found, path, dice.choice(choices))
        yield path, found
