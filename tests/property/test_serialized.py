"""What is written to the wire directly is what protobuf's own JSON reader would have made."""

from typing import Any

import msgspec
import pytest
from google.protobuf import json_format
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message_factory import GetMessageClass
from hypothesis import given, settings
from hypothesis import strategies as st

from headgate.gateway.envoy import protos, wire

F = FieldDescriptor
POOL: Any = protos.MESSAGES["route"].DESCRIPTOR.file.pool
WRITERS = wire.Writers(POOL)

NAMES = (
    "envoy.config.route.v3.RouteConfiguration",
    "envoy.config.route.v3.Route",
    "envoy.config.cluster.v3.Cluster",
    "envoy.config.endpoint.v3.ClusterLoadAssignment",
    "envoy.config.listener.v3.Listener",
    "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
    "envoy.extensions.filters.http.ext_proc.v3.ExtProcPerRoute",
)
DESCRIPTORS = [POOL.FindMessageTypeByName(each) for each in NAMES]

TEXT = st.text(max_size=5)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**40), 2**40) | st.floats(-1e9, 1e9) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=5,
)
WRONG = st.sampled_from([None, True, 0, -1, 2**70, 1.5, "x", "\ud800", "1s", [], [None], {}, {"nothing": 1}])
ANY = "google.protobuf.Any"
INSIDE_ANYS = (*NAMES[1:4], "envoy.extensions.filters.http.header_mutation.v3.HeaderMutationPerRoute")
WELL_KNOWN = {
    "google.protobuf.Duration": st.builds("{}.{:03}s".format, st.integers(0, 10**9), st.integers(0, 999))
    | st.integers(0, 99).map("{}s".format),
    "google.protobuf.Struct": st.dictionaries(TEXT, JSON, max_size=3),
    "google.protobuf.Value": JSON,
    "google.protobuf.ListValue": st.lists(JSON, max_size=3),
    "google.protobuf.Empty": st.just({}),
}


def scalars(field: Any) -> st.SearchStrategy[Any]:
    """Values of a field that is no message."""
    match field.type:
        case F.TYPE_STRING:
            return TEXT
        case F.TYPE_BOOL:
            return st.booleans()
        case F.TYPE_ENUM:
            return st.sampled_from([each.name for each in field.enum_type.values])
        case F.TYPE_INT32 | F.TYPE_INT64:
            return st.integers(-(2**31), 2**31 - 1) | st.just(0)
        case F.TYPE_UINT32 | F.TYPE_UINT64:
            return st.integers(0, 2**32 - 1) | st.just(0)
        case F.TYPE_FLOAT | F.TYPE_DOUBLE:
            return st.floats(-1e30, 1e30) | st.integers(-9, 9) | st.just(-0.0)
    return st.just("AAAA")


@st.composite
def contents(draw: st.DrawFn, descriptor: Any, depth: int, wrong: bool) -> Any:
    """A message of that type in JSON; where *wrong*, some values may be of another kind."""
    name = descriptor.full_name
    if name in WELL_KNOWN:
        return draw(WELL_KNOWN[name])
    if descriptor.file.name == "google/protobuf/wrappers.proto":
        return draw(scalars(descriptor.fields_by_name["value"]))
    if name == ANY:
        inner = draw(st.sampled_from(INSIDE_ANYS))
        held = draw(contents(POOL.FindMessageTypeByName(inner), depth - 1, wrong)) if depth > 0 else {}
        return {"@type": f"type.googleapis.com/{inner}", **held}
    if name.startswith("google.protobuf.") or depth <= 0 or not descriptor.fields:
        return {}
    found: dict[str, Any] = {}
    groups: set[str] = set()
    for field in draw(st.lists(st.sampled_from(list(descriptor.fields)), max_size=5, unique_by=id)):
        group = field.containing_oneof
        if group is not None and group.name in groups and not wrong:
            continue
        groups.add(group.name if group is not None else "")
        values = fields(field, depth, wrong)
        if wrong:
            values = values | WRONG
        found[draw(st.sampled_from([field.name, field.json_name]))] = draw(values)
    return found


def fields(field: Any, depth: int, wrong: bool) -> st.SearchStrategy[Any]:
    """Values of a whole field."""
    inner = field.message_type
    if inner is not None and inner.GetOptions().map_entry:
        value = inner.fields_by_name["value"]
        return st.dictionaries(TEXT, fields(value, depth, wrong), max_size=3)
    one = scalars(field) if inner is None else contents(inner, depth - 1, wrong)
    return st.lists(one, max_size=3) if field.is_repeated else one


def parsed(descriptor: Any, content: Any) -> Any:
    """By protobuf's own reader."""
    message = GetMessageClass(descriptor)()
    return json_format.ParseDict(msgspec.to_builtins(content), message, descriptor_pool=POOL)


def opened(message: Any) -> Any:
    """A message as JSON, what stands in its Any messages too, where the order of maps is anything."""
    return json_format.MessageToDict(message, descriptor_pool=POOL)


def check(descriptor: Any, content: Any) -> None:
    body = WRITERS.write(descriptor.full_name, content)
    expected = parsed(descriptor, content)
    found = GetMessageClass(descriptor).FromString(body)
    assert opened(found) == opened(expected)
    assert len(body) == found.ByteSize()


@settings(max_examples=400, deadline=None)
@given(st.data())
def test_what_is_right_is_written_as_protobuf_would(data: st.DataObject) -> None:
    descriptor = data.draw(st.sampled_from(DESCRIPTORS))
    content = data.draw(contents(descriptor, 4, wrong=False))
    try:
        check(descriptor, content)
    except wire.UnusualError:
        assert protos.serialized_as(descriptor, content) is not None


@settings(max_examples=400, deadline=None)
@given(st.data())
def test_what_protobuf_refuses_is_never_written(data: st.DataObject) -> None:
    descriptor = data.draw(st.sampled_from(DESCRIPTORS))
    content = data.draw(contents(descriptor, 3, wrong=True))
    try:
        parsed(descriptor, content)
    except Exception:
        with pytest.raises(wire.UnusualError):
            WRITERS.write(descriptor.full_name, content)
        return
    try:
        check(descriptor, content)
    except wire.UnusualError:
        assert protos.serialized_as(descriptor, content) is not None
