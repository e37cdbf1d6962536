"""`headgate fleet` as a child process: simulated model servers with faults on demand."""

import json
from collections.abc import Iterator
from contextlib import contextmanager

from tests.live.harness.processes import HEADGATE, Child, get_json


class Replicas:
    """A running `headgate fleet`."""

    def __init__(self, child: Child, urls: list[str], control: str) -> None:
        self.child = child
        self.urls = urls
        self._control = control

    def endpoint(self, number: int) -> str:
        """`ip:port` of a replica."""
        return self.urls[number].removeprefix("http://")

    def fault(self, number: int, kind: str, **more: object) -> None:
        """Set a fault, or end one with `recover`."""
        get_json(self._control + "/fault", {"replica": number, "kind": kind, **more})


@contextmanager
def replicas(count: int, *args: str) -> Iterator[Replicas]:
    """`headgate fleet` with *count* replicas on free ports, ended without a drain."""
    fixed = ["--replicas", str(count), "--port-base", "0", "--control-port", "0", "--drain-s", "0"]
    child = Child([*HEADGATE, "fleet", *fixed, "--output", "json", *args])
    try:
        control = json.loads(child.wait_for(lambda line: line.startswith('{"control"')))["control"]
        urls = [json.loads(line)["url"] for line in child.out if line.startswith('{"name"')]
        yield Replicas(child, urls, control)
    finally:
        child.stop()
