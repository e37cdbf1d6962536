"""Envoy's message types in one private descriptor pool, with what the installed Python package lacks.

Missing there: `SseToMetadata`, `JsonContentParser`, and the field `selected_host_key` of `OverrideHost`.
Names and field numbers are those of the file descriptors inside the Envoy 1.40 binary. The first two are
marked work in progress upstream: the live tests notice when a new Envoy changes them.
"""

from collections.abc import Iterable

from envoy.config.core.v3 import extension_pb2
from envoy.extensions.filters.http.json_to_metadata.v3 import json_to_metadata_pb2
from envoy.extensions.load_balancing_policies.override_host.v3 import override_host_pb2
from google.protobuf import descriptor_pb2, wrappers_pb2
from google.protobuf.descriptor import FileDescriptor
from google.protobuf.descriptor_pool import DescriptorPool

SSE_TO_METADATA = "envoy.extensions.filters.http.sse_to_metadata.v3.SseToMetadata"
JSON_CONTENT_PARSER = "envoy.extensions.content_parsers.json.v3.JsonContentParser"
METADATA_KEY = "envoy.type.metadata.v3.MetadataKey"

SELECTED_HOST_KEY = 2
"""Field number of OverrideHost.selected_host_key."""

_Field = descriptor_pb2.FieldDescriptorProto


def build_pool(files: Iterable[FileDescriptor]) -> DescriptorPool:
    """A pool of *files*, all that they import, and the additions above."""
    pool = DescriptorPool()
    extra = (extension_pb2, json_to_metadata_pb2, override_host_pb2, wrappers_pb2)
    known: set[str] = set()
    for file in (*files, *(module.DESCRIPTOR for module in extra)):
        _copy(file, pool, known)
    pool.Add(_sse_to_metadata())
    pool.Add(_json_content_parser())
    return pool


def _copy(file: FileDescriptor, pool: DescriptorPool, known: set[str]) -> None:
    if file.name in known:
        return
    known.add(file.name)
    for imported in file.dependencies:
        _copy(imported, pool, known)
    proto = descriptor_pb2.FileDescriptorProto()
    file.CopyToProto(proto)
    if file.name == override_host_pb2.DESCRIPTOR.name:
        _add_selected_host_key(proto)
    pool.Add(proto)


def _add_selected_host_key(file: descriptor_pb2.FileDescriptorProto) -> None:
    message = next(each for each in file.message_type if each.name == "OverrideHost")
    if all(field.name != "selected_host_key" for field in message.field):
        _message_field(message, "selected_host_key", SELECTED_HOST_KEY, METADATA_KEY)


def _sse_to_metadata() -> descriptor_pb2.FileDescriptorProto:
    file = _file(SSE_TO_METADATA, extension_pb2.DESCRIPTOR, wrappers_pb2.DESCRIPTOR)
    outer = file.message_type.add(name="SseToMetadata")
    rules = outer.nested_type.add(name="ProcessingRules")
    _message_field(rules, "content_parser", 1, "envoy.config.core.v3.TypedExtensionConfig")
    _message_field(rules, "max_event_size", 2, "google.protobuf.UInt32Value")
    _message_field(outer, "response_rules", 1, f"{SSE_TO_METADATA}.ProcessingRules")
    return file


def _json_content_parser() -> descriptor_pb2.FileDescriptorProto:
    file = _file(JSON_CONTENT_PARSER, json_to_metadata_pb2.DESCRIPTOR)
    outer = file.message_type.add(name="JsonContentParser")
    rule = outer.nested_type.add(name="RuleConfig")
    _message_field(rule, "rule", 1, "envoy.extensions.filters.http.json_to_metadata.v3.JsonToMetadata.Rule")
    rule.field.add(
        name="stop_processing_after_matches", number=2, type=_Field.TYPE_UINT32, label=_Field.LABEL_OPTIONAL
    )
    _message_field(outer, "rules", 1, f"{JSON_CONTENT_PARSER}.RuleConfig", repeated=True)
    return file


def _file(full_name: str, *imports: FileDescriptor) -> descriptor_pb2.FileDescriptorProto:
    package, _, name = full_name.rpartition(".")
    return descriptor_pb2.FileDescriptorProto(
        name=f"{package.replace('.', '/')}/{name}.proto",
        package=package,
        syntax="proto3",
        dependency=[each.name for each in imports],
    )


def _message_field(
    message: descriptor_pb2.DescriptorProto, name: str, number: int, type_name: str, repeated: bool = False
) -> None:
    message.field.add(
        name=name,
        number=number,
        type=_Field.TYPE_MESSAGE,
        label=_Field.LABEL_REPEATED if repeated else _Field.LABEL_OPTIONAL,
        type_name=f".{type_name}",
    )
