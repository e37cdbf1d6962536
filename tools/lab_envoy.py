"""`python tools/lab_envoy.py ENVOY ARGUMENT…`: Envoy as a container of the lab, whose node runs no preStop.

Told to end, this asks Envoy as a kubelet would do it (the hook's path is read from Envoy's own bootstrap),
and passes the signal on when that is answered. The node's grace period holds as everywhere.
"""

import json
import os
import signal
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Any

BOOTSTRAP = Path("/etc/headgate/envoy/envoy.json")


def hook(bootstrap: Any) -> str | None:
    """The URL that the kubelet asks before it ends the container; None: there is none."""
    for listener in bootstrap["staticResources"].get("listeners", ()):
        port = listener["address"]["socketAddress"]["portValue"]
        for path in _paths(listener):
            if path.startswith("/drain/"):
                return f"http://127.0.0.1:{port}{path}"
    return None


def _paths(node: Any) -> Iterator[str]:
    inner = node.values() if isinstance(node, dict) else node if isinstance(node, list) else ()
    if isinstance(node, dict) and isinstance(node.get("path"), str):
        yield node["path"]
    for each in inner:
        yield from _paths(each)


def main(command: list[str]) -> int:
    """Run it until it ends; its exit status."""
    child = subprocess.Popen(command, process_group=0)  # the signal goes to the whole group of a container

    def end() -> None:
        url = hook(json.loads(BOOTSTRAP.read_text())) if BOOTSTRAP.exists() else None
        if url is not None:
            try:
                with urllib.request.urlopen(url, timeout=600):  # noqa: S310 - http, to this Pod
                    pass
            except OSError as error:
                print(f"preStop {url}: {error}", flush=True)
        child.send_signal(signal.SIGTERM)

    def told(_number: int, _frame: FrameType | None) -> None:
        if child.poll() is None:
            threading.Thread(target=end, daemon=True).start()

    signal.signal(signal.SIGTERM, told)
    while True:
        try:
            return child.wait()
        except InterruptedError:
            continue


if __name__ == "__main__":
    os.environ.pop("PYTHONPATH", None)
    sys.exit(main(sys.argv[1:]))
