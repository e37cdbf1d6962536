"""The files of CA certificates that ModelServers name, read for the pure half and for Envoy."""

from collections.abc import Iterable, Mapping
from pathlib import Path

from headgate.io.trust import AuthoritiesError, read_authorities
from headgate.model.meta import of_type
from headgate.model.objects import ModelServer, Object
from headgate.model.problems import Problem


class Authorities:
    """Certificates over time: the last good content stays while a file cannot be read. Reading blocks."""

    def __init__(self) -> None:
        self._known: dict[str, str] = {}

    def read(self, objects: Iterable[Object]) -> tuple[Mapping[str, str], tuple[Problem, ...]]:
        """Path → certificates (PEM) of every file that is named now, and what is wrong with the others."""
        naming: dict[str, list[ModelServer]] = {}
        for server in of_type(tuple(objects), ModelServer):
            if server.spec.tls is not None and server.spec.tls.ca_file:
                naming.setdefault(server.spec.tls.ca_file, []).append(server)
        problems: list[Problem] = []
        known: dict[str, str] = {}
        for path, servers in sorted(naming.items()):
            try:
                known[path] = read_authorities(Path(path))
            except AuthoritiesError as error:
                message = f"{path}: {error}"
                if path in self._known:
                    known[path] = self._known[path]
                    message += "; what was read before stays in force"
                problems += [
                    Problem(each.place("spec.tls.caFile"), "InvalidCAFile", message) for each in servers
                ]
        if known != self._known:
            self._known = known
        return self._known, tuple(problems)
