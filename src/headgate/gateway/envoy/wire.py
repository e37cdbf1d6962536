"""JSON-shaped messages → protobuf's wire form, without a message in between.

`json_format.ParseDict` builds a message object for every part, which is most of what a first start with
thousands of routes costs. What is usual is written here directly, by field descriptors; whoever meets
`UnusualError` asks json_format, which settles what is right and what the error is.
"""

import re
import struct
from collections.abc import Callable, Mapping
from typing import Any

from google.protobuf.descriptor import FieldDescriptor

Write = Callable[[Any], bytes]
"""A value in JSON → bytes: the content of a message, or a whole field with its tag."""

VARINT, _FIXED64, _DELIMITED, _FIXED32 = 0, 1, 2, 5
"""Wire types of fields."""
_F = FieldDescriptor
_INTEGERS = {
    _F.TYPE_INT32: (-(2**31), 2**31 - 1),
    _F.TYPE_INT64: (-(2**63), 2**63 - 1),
    _F.TYPE_UINT32: (0, 2**32 - 1),
    _F.TYPE_UINT64: (0, 2**64 - 1),
}
_FLOATS = {_F.TYPE_FLOAT: ("<f", _FIXED32, 3.4028234663852886e38), _F.TYPE_DOUBLE: ("<d", _FIXED64, None)}
_DURATION = re.compile(r"([0-9]{1,11})(?:\.([0-9]{1,9}))?s", re.ASCII)
_WELL_KNOWN = "google.protobuf."


class UnusualError(Exception):
    """Nothing that is written here: a wrong value, or a form that is left to json_format."""


class Constant(dict[str, Any]):
    """A message, or an Any, that stands in many others and is never changed: it is written once."""

    __slots__ = ("_writer", "_written")

    def __init__(self, content: Mapping[str, Any]) -> None:
        super().__init__(content)
        self._writer: Write | None = None
        self._written = b""

    def written(self, write: Write) -> bytes:
        """What *write* makes of it."""
        if self._writer is not write:
            self._written, self._writer = write(dict(self)), write
        return self._written


def varint(value: int) -> bytes:
    """A number that is not negative."""
    if value < 0x80:
        return _SMALL[value]
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


_SMALL = tuple(bytes((each,)) for each in range(0x80))


def tag(number: int, wire_type: int = _DELIMITED) -> bytes:
    """What a field begins with; by default one that tells its length."""
    return varint(number << 3 | wire_type)


def delimited(begin: bytes, content: bytes) -> bytes:
    """A field of its tag and its content."""
    return begin + varint(len(content)) + content


class Writers:
    """How the messages of one pool are written; each type is looked at when it is met first."""

    def __init__(self, pool: Any) -> None:
        self._pool = pool
        self._of: dict[str, Write] = {}

    def write(self, full_name: str, content: Any) -> bytes:
        """A message of that type; equal contents give equal bytes.

        Raises:
            UnusualError: for json_format.
        """
        known = self._of.get(full_name)
        if known is None:
            try:
                found = self._pool.FindMessageTypeByName(full_name)
            except KeyError:
                raise UnusualError from None
            known = self._message(found)
        return known(content)

    def _message(self, descriptor: Any) -> Write:
        """The writer of a message's content."""
        name = descriptor.full_name
        if name not in self._of:
            if name == "google.protobuf.Any":
                self._of[name] = self._any
            elif name in _SPECIAL:
                self._of[name] = _SPECIAL[name]
            elif descriptor.file.name == "google/protobuf/wrappers.proto":
                self._of[name] = self._field(descriptor.fields_by_name["value"])
            elif name.startswith(_WELL_KNOWN):
                self._of[name] = _unusual
            else:
                self._of[name] = self._plain(descriptor)
        return self._of[name]

    def _plain(self, descriptor: Any) -> Write:
        fields: dict[str, tuple[int, Write, int, bool]] = {}

        def learn() -> None:  # when it is needed: types may hold themselves
            for each in descriptor.fields:
                one_of = each.containing_oneof
                group = 0 if one_of is None else -1 - one_of.index
                fields[each.name] = (each.number, self._field(each), group, _takes_null(each))
            fields.update({each.json_name: fields[each.name] for each in descriptor.fields})

        def write(content: Any) -> bytes:
            if type(content) is not dict:
                if type(content) is Constant:
                    return content.written(write)
                if not isinstance(content, Mapping):
                    raise UnusualError
            if not fields:
                learn()
            if len(content) == 1:  # as most are that stand inside others
                ((name, value),) = content.items()
                if value is not None and (field := fields.get(name)) is not None:
                    return field[1](value)
            found: dict[int, bytes] = {}
            for name, value in content.items():
                field = fields.get(name)
                if field is None:
                    raise UnusualError
                number, emit, group, takes_null = field
                if value is None and not takes_null:
                    continue
                if number in found:
                    raise UnusualError
                found[number] = emit(value)
                if group:
                    if group in found:
                        raise UnusualError
                    found[group] = b""  # only one of them may be there
            return b"".join([found[number] for number in sorted(found)])

        return write

    def _any(self, content: Any) -> bytes:
        if type(content) is not dict:
            if type(content) is Constant:
                return content.written(self._of["google.protobuf.Any"])
            if not isinstance(content, Mapping):
                raise UnusualError
        if not content:
            return b""
        url = content.get("@type")
        if not isinstance(url, str):
            raise UnusualError
        full_name = url.rpartition("/")[2]
        if full_name.startswith(_WELL_KNOWN):
            raise UnusualError
        body = self.write(full_name, {name: each for name, each in content.items() if name != "@type"})
        found = delimited(b"\x0a", _text(url))
        return found + delimited(b"\x12", body) if body else found

    def _field(self, field: Any) -> Write:
        """The writer of a whole field."""
        if field.is_repeated:
            entry = field.message_type
            if entry is not None and entry.GetOptions().map_entry:
                return self._map(field)
            if field.is_packed:
                return _packed(field)
            return _all_of(self._single(field))
        return self._single(field, always=field.has_presence)

    def _single(self, field: Any, always: bool = True) -> Write:
        """The writer of one value with its tag; zero and empty ones are left out if not *always*."""
        if field.type == _F.TYPE_MESSAGE:
            return self._nested(field)
        begin = tag(field.number)
        match field.type:
            case _F.TYPE_STRING:

                def write_text(value: Any) -> bytes:
                    found = _text(value)
                    return begin + varint(len(found)) + found if found or always else b""

                return write_text
            case _F.TYPE_BOOL:
                begin = tag(field.number, VARINT)
                return _chosen({True: begin + b"\x01", False: begin + b"\x00" if always else b""}, bool)
            case _F.TYPE_ENUM:
                begin = tag(field.number, VARINT)
                names = {
                    each.name: begin + _number(each.number) if each.number or always else b""
                    for each in field.enum_type.values
                }
                return _chosen(names, str)
        if field.type in _INTEGERS:
            return _integer(tag(field.number, VARINT), *_INTEGERS[field.type], always)
        if field.type in _FLOATS:
            form, wire_type, most = _FLOATS[field.type]
            return _float(tag(field.number, wire_type), form, most, always)
        return _unusual

    def _nested(self, field: Any) -> Write:
        begin, inner = tag(field.number), field.message_type
        known: list[Write] = []

        def write(value: Any) -> bytes:
            if not known:
                known.append(self._message(inner))
            found = known[0](value)
            return begin + varint(len(found)) + found

        return write

    def _map(self, field: Any) -> Write:
        entry, begin = field.message_type, tag(field.number)
        if entry.fields_by_name["key"].type != _F.TYPE_STRING:
            return _unusual
        value_of = self._single(entry.fields_by_name["value"])

        def write(value: Any) -> bytes:
            if not isinstance(value, Mapping):
                raise UnusualError
            pairs = sorted([(_text(key), each) for key, each in value.items()], key=_first)
            return b"".join(
                [delimited(begin, delimited(b"\x0a", key) + value_of(each)) for key, each in pairs]
            )

        return write


def _first(pair: tuple[bytes, Any]) -> bytes:
    return pair[0]


def _takes_null(field: Any) -> bool:
    if field.message_type is not None:
        return bool(field.message_type.full_name == "google.protobuf.Value") and not field.is_repeated
    return field.enum_type is not None and bool(field.enum_type.full_name == "google.protobuf.NullValue")


def _unusual(_: Any) -> bytes:
    raise UnusualError


def _text(value: Any) -> bytes:
    if not isinstance(value, str):
        raise UnusualError
    try:
        return value.encode()
    except UnicodeEncodeError:
        raise UnusualError from None


def _all_of(write: Write) -> Write:
    def write_all(values: Any) -> bytes:
        if not isinstance(values, (list, tuple)) or None in values:
            raise UnusualError
        return b"".join([write(each) for each in values])

    return write_all


def _chosen(known: Mapping[Any, bytes], kind: type) -> Write:
    def write(value: Any) -> bytes:
        found = known.get(value) if isinstance(value, kind) else None
        if found is None:
            raise UnusualError
        return found

    return write


def _number(value: int) -> bytes:
    return varint(value if value >= 0 else value + 2**64)


def _integer(begin: bytes, least: int, most: int, always: bool) -> Write:
    def write(value: Any) -> bytes:
        if type(value) is not int or not least <= value <= most:
            raise UnusualError
        return begin + _number(value) if value or always else b""

    return write


def _packed(field: Any) -> Write:
    """Numbers of a repeated field, all in one."""
    if field.type not in _INTEGERS:
        return _unusual
    begin, one = tag(field.number), _all_of(_integer(b"", *_INTEGERS[field.type], True))

    def write(values: Any) -> bytes:
        found = one(values)
        return delimited(begin, found) if found else b""

    return write


def _float(begin: bytes, form: str, most: float | None, always: bool) -> Write:
    zero = struct.pack(form, 0.0)

    def write(value: Any) -> bytes:
        if type(value) not in (int, float) or not abs(value) <= (most or 1.7e308):
            raise UnusualError
        found = struct.pack(form, value)
        return begin + found if always or found != zero else b""

    return write


def _duration(value: Any) -> bytes:
    parts = _DURATION.fullmatch(value) if isinstance(value, str) else None
    if parts is None or (seconds := int(parts[1])) > 315_576_000_000:
        raise UnusualError
    nanos = int((parts[2] or "").ljust(9, "0"))
    return (b"\x08" + varint(seconds) if seconds else b"") + (b"\x10" + varint(nanos) if nanos else b"")


def _value(value: Any) -> bytes:
    """A google.protobuf.Value."""
    if isinstance(value, str):
        return delimited(b"\x1a", _text(value))
    if value is None:
        return b"\x08\x00"
    if isinstance(value, bool):
        return b"\x20\x01" if value else b"\x20\x00"
    if isinstance(value, (int, float)):
        return _VALUE_OF_NUMBER(value)
    if isinstance(value, (list, tuple)):
        return delimited(b"\x32", _list_value(value))
    return delimited(b"\x2a", _struct(value))


_VALUE_OF_NUMBER = _float(tag(2, _FIXED64), "<d", None, True)


def _struct(value: Any) -> bytes:
    if not isinstance(value, Mapping):
        raise UnusualError
    pairs = sorted([(_text(key), each) for key, each in value.items()], key=_first)
    return b"".join(
        [
            delimited(b"\x0a", delimited(b"\x0a", key) + delimited(b"\x12", _value(each)))
            for key, each in pairs
        ]
    )


def _list_value(value: Any) -> bytes:
    if not isinstance(value, (list, tuple)):
        raise UnusualError
    return b"".join([delimited(b"\x0a", _value(each)) for each in value])


_SPECIAL: Mapping[str, Write] = {
    "google.protobuf.Duration": _duration,
    "google.protobuf.Value": _value,
    "google.protobuf.Struct": _struct,
    "google.protobuf.ListValue": _list_value,
    "google.protobuf.Empty": lambda value: b"" if value == {} else _unusual(value),
}
