"""Certificates written into Secrets of files: a pair that an edit breaks stays as it was.

A listener without its certificate serves nobody, and a pair is often renewed by one program and copied by
another: half of it, or the key of the certificate before.
"""

from collections.abc import Mapping

from headgate.model.meta import Identity
from headgate.model.objects import Object, Secret
from headgate.model.problems import Problem
from headgate.model.tls_material import CHAIN, KEY, read_pair


class KeptPairs:
    """What is wrong with the Secrets that stay as they were, over time."""

    def __init__(self) -> None:
        self._problems: dict[Identity, Problem] = {}

    @property
    def problems(self) -> tuple[Problem, ...]:
        """One for each Secret whose last good pair stays in force."""
        return tuple(self._problems[each] for each in sorted(self._problems))

    def sound(self, identity: Identity, found: Object | None, before: Object | None) -> Object | None:
        """What counts as *identity* now: what its file says (None: it is gone), or what counted *before*."""
        self._problems.pop(identity, None)
        if not isinstance(found, Secret) or not isinstance(before, Secret) or not _meant_as_pair(found):
            return found
        wrong = read_pair(found)
        if not isinstance(wrong, str) or isinstance(read_pair(before), str):
            return found
        message = f"{wrong}; the certificate and key that it had before stay in force"
        self._problems[identity] = Problem(found.place("data"), "InvalidCertificate", message)
        return before


def _meant_as_pair(secret: Secret) -> bool:
    return any(
        isinstance(values, Mapping) and (CHAIN in values or KEY in values)
        for values in (secret.data, secret.string_data)
    )
