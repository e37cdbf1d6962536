"""Files and folders as documents for a cluster. Blocks; for a command that ends."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from headgate.io.client_keys import ClientKeyFile
from headgate.io.sources.api import read_once
from headgate.io.sources.listing import list_files
from headgate.io.sources.reading import read_regular
from headgate.io.sources.text import Document, read_documents
from headgate.manifests.cluster import Exported, Key
from headgate.model.indexes import INDEXES
from headgate.model.objects import InferencePool, Secret
from headgate.model.snapshot import Snapshot, follow
from headgate.model.store import Store
from headgate.model.topology import foreign_picker, pool_keys, written


def exported(paths: Sequence[Path], client_keys: Path | None = None) -> tuple[Exported, Snapshot]:
    """What *paths* hold, for a cluster, and as it is here. Nothing is exported of files that hold an error.

    Raises KeyFileError for clients that cannot be read.
    """
    clients = () if client_keys is None else ClientKeyFile(client_keys).clients
    snapshot = read_once(paths, resolve_s=0.0)
    wrong = any(each.severity == "error" for each in snapshot.problems)
    found = Exported(
        () if wrong else _documents(paths),
        own_pools=_own_pools(snapshot),
        secrets={
            (each.namespace, each.name): each.string_data
            for each in snapshot.objects
            if isinstance(each, Secret) and isinstance(each.string_data, Mapping)
        },
        api_keys={_key(name): key.text for name, key in snapshot.api_keys.items()},
        clients=clients,
    )
    return found, snapshot


def _documents(paths: Sequence[Path]) -> Iterator[Mapping[str, Any]]:
    """As they are written, after the worker has read them without harm."""
    for file in list_files(paths).files:
        for each in read_documents(read_regular(file), str(file)):
            if isinstance(each, Document):
                yield from _objects(each.data)


def _objects(data: Any) -> Iterator[Mapping[str, Any]]:
    match data:
        case {"kind": str(kind), "items": list(items)} if kind.endswith("List"):
            for each in items:
                yield from _objects(each)
        case {"kind": str(), "apiVersion": str(), "metadata": dict()}:
            yield data
        case _:
            pass


def _own_pools(snapshot: Snapshot) -> frozenset[Key]:
    """The pools that Headgate's own picker serves here."""
    world = Store(INDEXES)
    follow(world, snapshot)
    keys = world.get(pool_keys)
    ours = (world.get(written, each) for each in keys if world.get(foreign_picker, each) is None)
    return frozenset((each.namespace, each.name) for each in ours if isinstance(each, InferencePool))


def _key(text: str) -> Key:
    namespace, _, name = text.partition("/")
    return namespace, name
