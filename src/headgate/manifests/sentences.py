"""What is wrong with a field, in words that say what to write instead."""

import difflib
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import msgspec

from headgate.manifests import schema
from headgate.model.meta import DURATION, GROUP, HOSTNAME, KIND, LINE, NAMESPACE, OBJECT_NAME, KubeObject
from headgate.model.objects import InferencePool, InferencePoolX
from headgate.model.units import read_seconds, written_seconds
from headgate.model.words import counted

_AT = re.compile(r"^(?P<what>.*?)(?: - at (?P<key>`key` in )?`\$\.?(?P<path>[^`]*)`)?$", re.DOTALL)
_MISSING = re.compile(r"^Object missing required field `([^`]+)`$")
_LENGTH = re.compile(r"^Expected `(str|array|object)` of length (>=|<=) ([0-9]+)$")
_PLACEHOLDER = re.compile(r"\$\{[A-Za-z_][\w.:-]*\}|\$\([A-Za-z_]\w*\)|\A\$[A-Za-z_]\w*\Z")

_TEXTS = frozenset((GROUP, KIND, LINE, NAMESPACE, OBJECT_NAME))
"""Descriptions that say nothing to who wrote no text at all."""

LONGEST_SHOWN = 80
"""Characters of a value that a sentence quotes."""


def placeholder(text: str) -> str | None:
    """`{{ … }}`, `${NAME}` or `$(NAME)` in *text*, or `$NAME` alone, which some program was to fill in.

    None without. Takes time in proportion to the text.
    """
    begin = text.find("{{")
    end = text.find("}}", begin) if begin >= 0 else -1
    if end >= 0:
        return text[begin : end + 2]
    found = _PLACEHOLDER.search(text)
    return None if found is None else found[0]


def unfilled(found: str) -> str:
    """What to say of a placeholder."""
    how = "helm template" if found.startswith("{{") else "envsubst"
    return f"{_short(found)} is a placeholder that nobody filled in; render the file first, as {how} does"


def placeholders(value: object, path: str = "") -> Iterator[tuple[str, str]]:
    """(field path, placeholder) for every text below *value* but annotations, which may hold any."""
    match value:
        case str():
            found = placeholder(value)
            if found is not None:
                yield path, found
        case int() | float():
            pass
        case dict() | Mapping():
            for key, each in value.items():
                if key not in ("annotations", "status"):
                    yield from placeholders(each, f"{path}.{key}" if path else str(key))
        case list():
            for index, each in enumerate(value):
                yield from placeholders(each, f"{path}[{index}]")


def explained(cls: type[KubeObject], data: Mapping[str, Any], error: str) -> tuple[str, str]:
    """msgspec's message for *data* → (field path, sentence)."""
    match = _AT.match(error)
    assert match is not None, "the pattern matches every text"
    field, what = match["path"] or "", match["what"]
    missing = _MISSING.match(what)
    if missing:
        return ".".join(part for part in (field, missing[1]) if part), _required(cls, data, field, missing[1])
    if match["key"]:
        return field, _bad_key(what, _value(data, field))
    if field.endswith("[...]"):
        field, value = _bad_member(data, field.removesuffix("[...]"))
    else:
        value = _value(data, field)
    return field, _sentence(cls, data, field, value, what)


def _sentence(cls: type[KubeObject], data: Mapping[str, Any], field: str, value: object, what: str) -> str:
    type_, metas = schema.type_at(cls, field)
    choices = schema.words(type_)
    description = next((each.description for each in metas if each.description), None)
    length = _LENGTH.match(what)
    if cls is InferencePoolX and isinstance(value, Mapping) and value and field.startswith("spec.selector"):
        return _without_match_labels(value)
    if what.startswith("Invalid enum value") or (choices and not isinstance(value, (Mapping, list))):
        near = _near(str(value), choices)
        return f"{shown(value)} is unknown; it can be {', '.join(choices)}{near}"
    too_long = length is not None and length[2] == "<="
    if length is not None and (too_long or not (description and length[1] == "str" and value)):
        return _of_length(value, length[1], length[2], int(length[3]))
    if description is not None and (isinstance(value, str) or description not in _TEXTS):
        return f"must be {description}, not {shown(value)}{_instead(description, value)}"
    if what.startswith("Expected `int"):
        return _number(value, metas)
    if what.startswith("Expected `bool"):
        return _truth(value)
    if what.startswith(("Expected `str`, got", "Expected `str | null`, got")):
        return f"must be text, not {shown(value)}{_quoted(value)}"
    if what.startswith("Expected `array"):
        how = "write it in brackets" if not isinstance(value, Mapping) else "begin each entry with '- '"
        return f"must be a list, not {shown(value)}: {how}"
    if what.startswith("Expected `object"):
        return f"must be a mapping, not {shown(value)}{_mapped(type_, value)}"
    return what[:1].lower() + what[1:].replace("`", "")


def shown(value: object) -> str:
    """A value as a sentence names it."""
    match value:
        case str():
            return repr(_short(value))
        case bool():
            return f"the truth value {'true' if value else 'false'}"
        case int() | float():
            return f"the number {_short(str(value))}"
        case Mapping():
            return "a mapping"
        case list():
            return "a list"
        case _:
            return "nothing"


def _short(text: str) -> str:
    return text if len(text) <= LONGEST_SHOWN else text[:LONGEST_SHOWN] + "…"


def _near(word: str, known: Iterable[str]) -> str:
    folded = {each.casefold(): each for each in known}
    found = difflib.get_close_matches(word[:LONGEST_SHOWN].casefold(), folded, 1)
    return f"; did you mean {folded[found[0]]}?" if found else ""


def _required(cls: type[KubeObject], data: Mapping[str, Any], field: str, name: str) -> str:
    holder = _value(data, field)
    if cls is InferencePool and field == "spec.selector" and isinstance(holder, Mapping):
        pairs = [f"{key}: {each}" for key, each in holder.items() if isinstance(each, str)]
        if pairs:
            return f"matchLabels is required: write selector: {{matchLabels: {{{', '.join(pairs)}}}}}"
    return f"{name} is required"


def _without_match_labels(selector: Mapping[Any, object]) -> str:
    inner = selector.get("matchLabels", selector)
    pairs = (
        [f"{key}: {each}" for key, each in inner.items() if isinstance(each, str)]
        if isinstance(inner, Mapping)
        else []
    )
    labels = f"{{{', '.join(pairs)}}}" if pairs else "{app: …}"
    return (
        "in v1alpha2 the labels stand in the selector itself, without matchLabels: "
        f"write selector: {labels}, or the pool in apiVersion: inference.networking.k8s.io/v1"
    )


def _of_length(value: object, what: str, bound: str, number: int) -> str:
    if bound == ">=":
        return "must not be empty" if number == 1 else f"must have at least {number}"
    if what == "str":
        size = len(value) if isinstance(value, str) else 0
        return f"must have at most {counted(number, 'character')}, not {size}"
    size = len(value) if isinstance(value, (list, Mapping)) else 0
    return f"must have at most {counted(number, 'entry', 'entries')}, not {size}"


def _number(value: object, metas: tuple[msgspec.Meta, ...]) -> str:
    least = next((each.ge for each in metas if each.ge is not None), None)
    most = next((each.le for each in metas if each.le is not None), None)
    span = "" if least is None or most is None else f" from {least} to {most}"
    plain = isinstance(value, str) and re.fullmatch(r"-?[0-9]{1,9}", value) is not None
    hint = f": write {value} without quotes" if plain else ""
    return f"must be a whole number{span}, not {shown(value)}{hint}"


def _truth(value: object) -> str:
    meant = {True: ("true", "yes", "on", "1"), False: ("false", "no", "off", "0")}
    said = str(value)[:LONGEST_SHOWN].strip().casefold()
    plain = next((str(truth).lower() for truth, words in meant.items() if said in words), None)
    hint = f": write {plain} without quotes" if plain else ""
    return f"must be true or false, not {shown(value)}{hint}"


def _quoted(value: object) -> str:
    match value:
        case bool():
            return " (yes, no, on and off are truth values in YAML too): write it in quotes"
        case int() | float():
            return f': write "{value}"'
        case _:
            return ""


def _mapped(type_: Any, value: object) -> str:
    """`: write {number: 9002}` where a scalar stands for the struct's only required field."""
    if not (isinstance(type_, type) and issubclass(type_, msgspec.Struct)) or isinstance(
        value, (Mapping, list)
    ):
        return ""
    fields = [each for each in msgspec.structs.fields(type_) if each.encode_name.isalnum()]
    named = [each.encode_name for each in fields if each.required]
    name = (
        named[0]
        if len(named) == 1
        else "value"
        if any(each.encode_name == "value" for each in fields)
        else None
    )
    return "" if name is None else f": write {{{name}: {value}}}"


def _bad_key(what: str, holder: object) -> str:
    keys = list(holder) if isinstance(holder, Mapping) else []
    bad = next((key for key in keys if not isinstance(key, str)), keys[0] if len(keys) == 1 else None)
    label = (
        "every key must be a label's name: letters, digits, '-', '_' and '.', after a prefix and '/' or alone"
    )
    return f"{shown(bad)} is no key; {label}" if bad is not None else label


def _bad_member(data: Mapping[str, Any], field: str) -> tuple[str, object]:
    """Path and value of the first member of the mapping at *field* that is no text; msgspec does not say."""
    holder = _value(data, field)
    if isinstance(holder, Mapping):
        for key, each in holder.items():
            if not isinstance(each, str) or len(each) > 63:
                return f"{field}.{key}", each
        for key, each in holder.items():
            if not re.fullmatch(r"(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?", str(each)):
                return f"{field}.{key}", each
    return field, holder


def _value(data: object, field: str) -> object:
    """What stands at *field*; None when nothing does."""
    for part in filter(None, re.split(r"[.\[\]]+", field)):
        match data:
            case Mapping():
                data = data.get(part)
            case list() if part.isdigit() and int(part) < len(data):
                data = data[int(part)]
            case _:
                return None
    return data


def _instead(description: str, value: object) -> str:
    """`: write …` where it is plain what was meant."""
    if description == DURATION:
        try:
            seconds = read_seconds(str(value).replace(" ", "").removesuffix("econds").removesuffix("ec"))
        except ValueError:
            return ""
        whole = round(seconds * 1000) / 1000
        text = written_seconds(whole) if whole == int(whole) else f"{round(whole * 1000)}ms"
        return f": write {text}" if re.fullmatch(r"([0-9]{1,5}(h|m|s|ms)){1,4}", text) else ""
    if description == GROUP and isinstance(value, str) and "/" in value:
        return f": the version does not stand here, write {value.partition('/')[0]}"
    if description == HOSTNAME and isinstance(value, str):
        bare = value.strip().lower().partition("://")[2] or value.strip().lower()
        host, colon, port = bare.partition("/")[0].partition(":")
        if value == "*":
            return ": leave hostname and hostnames out, which takes every host"
        if host != value and re.fullmatch(r"(\*\.)?[a-z0-9.-]+", host):
            why = "; the port is the listener's" if colon and port.isdigit() else ""
            return f": write {host}{why}"
    return ""


def merged(
    errors: list[tuple[str, str]], strange: list[schema.Strange]
) -> tuple[list[tuple[str, str]], list[schema.Strange]]:
    """One line where a field is missing because its name is misspelt: errors, and what else is strange."""
    rest, found = list(strange), []
    for field, message in errors:
        holder, name = _missing(field, message)
        each = next((each for each in rest if name is not None and _misspelt(each, holder, name)), None)
        if each is not None:
            rest.remove(each)
            given = each[0].rpartition(".")[2]
            found.append((each[0], f"{message}, and {given} is unknown: write {name}"))
        else:
            found.append((field, message))
    return found, rest


def _missing(field: str, message: str) -> tuple[str, str | None]:
    """The mapping that lacks a field, and the field's name; None when that is not what *message* says."""
    holder, _, last = field.rpartition(".")
    if message == f"{last} is required":
        return holder, last
    needs = re.search(r" needs (\w+)$", message)
    return field, needs[1] if needs else None


def _misspelt(strange: schema.Strange, holder: str, name: str) -> bool:
    """Whether an unknown field of *holder* looks like *name*."""
    where, _, given = strange[0].rpartition(".")
    alike = schema.OTHER_WORDS.get(given) == name or difflib.get_close_matches(given[:100], [name])
    return strange[1] == "UnknownField" and where == holder and bool(alike)
