"""Secrets of files whose values are in other files: certificates that some other program renews.

A value `file:/absolute/path` below `stringData` stands for what that file holds. Only Secrets from files may
do so: those of a cluster are not read here.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path

import msgspec

from headgate.io.api_keys import KeyFileError, read_small
from headgate.manifests.cluster import FROM_FILE
from headgate.model.meta import Identity
from headgate.model.objects import Object, Secret
from headgate.model.problems import Problem
from headgate.model.tls_material import CHAIN, KEY, read_pair


class SecretFiles:
    """Values over time: the last good ones stay while a file cannot be read, or a certificate and its key do
    not fit yet. Reading blocks."""

    def __init__(self) -> None:
        self._known: dict[Identity, tuple[Secret, Secret]] = {}
        """As written, and with what the files held last."""

    def read(self, objects: Iterable[Object]) -> tuple[tuple[Object, ...], tuple[Problem, ...]]:
        """The same objects with values in place, and what is wrong with files."""
        found: list[Object] = []
        problems: list[Problem] = []
        known: dict[Identity, tuple[Secret, Secret]] = {}
        for each in objects:
            named = names_files(each) if isinstance(each, Secret) else {}
            if not named or not isinstance(each, Secret):
                found.append(each)
                continue
            before = self._known.get(each.identity)
            read, wrong = self._read(each, named, before[1] if before is not None else None)
            if before is not None and before[0] is each and before[1] == read:
                read = before[1]  # the same instance: nothing to look at for whoever compares
            known[each.identity] = each, read
            found.append(read)
            problems += wrong
        self._known = known
        return tuple(found), tuple(problems)

    def _read(
        self, secret: Secret, named: Mapping[str, Path], last: Secret | None
    ) -> tuple[Secret, list[Problem]]:
        values: dict[str, str] = {}
        problems: list[Problem] = []
        for name, path in named.items():
            try:
                if not path.is_absolute():
                    raise KeyFileError("the path must be absolute")
                values[name] = read_small(path)
            except KeyFileError as error:
                problems.append(_problem(secret, name, f"{path}: {error}", last))
        if not problems:
            made = msgspec.structs.replace(secret, string_data={**secret.string_data, **values})
            wrong = read_pair(made) if {CHAIN, KEY} <= set(named) else None
            if not isinstance(wrong, str):
                return made, []
            problems.append(_problem(secret, KEY, wrong, last))
        if last is None:
            kept = {name: text for name, text in secret.string_data.items() if name not in named}
            return msgspec.structs.replace(secret, string_data=kept), problems
        return last, problems


def names_files(secret: Secret) -> dict[str, Path]:
    """Values of *secret* → the files that have them."""
    data = secret.string_data
    if not isinstance(data, Mapping):
        return {}
    return {
        str(name): Path(text.removeprefix(FROM_FILE))
        for name, text in data.items()
        if isinstance(text, str) and text.startswith(FROM_FILE)
    }


def _problem(secret: Secret, name: str, message: str, last: Secret | None) -> Problem:
    if last is not None:
        message += "; what was read before stays in force"
    return Problem(secret.place(f"stringData.{name}"), "InvalidSecretFile", message)
