"""The API keys that ModelServers name, from files and Secrets."""

from collections.abc import Iterable, Mapping
from pathlib import Path

from headgate.io.api_keys import KeyFileError, read_single
from headgate.model.api_keys import ApiKey, read_secret
from headgate.model.meta import of_type
from headgate.model.objects import ApiKeyRef, ModelServer, Object, Secret
from headgate.model.problems import Problem


class ApiKeys:
    """Keys over time: the last good one stays while its file or Secret cannot be read. Reading blocks."""

    def __init__(self) -> None:
        self._known: dict[str, ApiKey] = {}

    def read(self, objects: Iterable[Object]) -> tuple[Mapping[str, ApiKey], tuple[Problem, ...]]:
        """`namespace/name` of a ModelServer → its key, and what is wrong with the others."""
        every = tuple(objects)
        secrets = {(each.namespace, each.name): each for each in of_type(every, Secret)}
        problems: list[Problem] = []
        known: dict[str, ApiKey] = {}
        for server in of_type(every, ModelServer):
            ref = server.spec.api_key
            if ref is None:
                continue
            name = f"{server.namespace}/{server.name}"
            try:
                known[name] = _key(ref, server.namespace, secrets)
            except ValueError as error:
                message = str(error)
                if name in self._known:
                    known[name] = self._known[name]
                    message += "; what was read before stays in force"
                field = "spec.apiKey.file" if ref.file else "spec.apiKey.secretRef"
                problems.append(Problem(server.place(field), "InvalidAPIKey", message))
        if known != self._known:
            self._known = known
        return self._known, tuple(problems)


def _key(ref: ApiKeyRef, namespace: str, secrets: Mapping[tuple[str, str], Secret]) -> ApiKey:
    if ref.secret_ref is None:
        try:
            return read_single(Path(ref.file))
        except KeyFileError as error:
            raise ValueError(f"{ref.file}: {error}") from None
    named = ref.secret_ref
    secret = secrets.get((namespace, named.name))
    if secret is None:
        raise ValueError(f"there is no Secret {named.name} in namespace {namespace}: add it to the files")
    try:
        return read_secret(secret.data, secret.string_data, named.key)
    except ValueError as error:
        raise ValueError(f"Secret {named.name}: {error}") from None
