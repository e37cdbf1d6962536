"""`headgate run` as a child process: the whole product on free ports."""

import json
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tests.live.harness.processes import HEADGATE, Child, get_json

PORTS = ("--port", "--metrics-port", "--admin-port")


class Gateway:
    """A running `headgate run`."""

    def __init__(self, child: Child) -> None:
        self.child = child
        self.info: dict[str, Any] = {}
        """The `ready` event: url, admin, ports, pids, model, listeners, pools, problems."""

    @property
    def url(self) -> str:
        """Base URL of the gateway."""
        return f"http://127.0.0.1:{self.info['ports']['gateway']}"

    @property
    def admin(self) -> str:
        """Base URL of the admin API."""
        return str(self.info["admin"])

    @property
    def events(self) -> list[dict[str, Any]]:
        """What it has told so far, one object a line."""
        return [json.loads(line) for line in list(self.child.out)]

    def wait_event(self, name: str, within_s: float = 30) -> dict[str, Any]:
        """The next event of this name."""
        event: dict[str, Any] = json.loads(
            self.child.wait_for(lambda line: json.loads(line)["event"] == name, within_s)
        )
        return event

    def status(self) -> Any:
        """The merged status of all processes."""
        return get_json(self.admin + "/v1/status")

    def ready(self) -> bool:
        """Whether everything answers now; False while a child is away or the gateway ends."""
        try:
            with urllib.request.urlopen(self.admin + "/readyz", timeout=5) as answer:
                return bool(answer.status == 200)
        except urllib.error.HTTPError as error:
            error.close()
        except OSError:
            pass
        return False

    def pid(self, child: str) -> int | None:
        """Process id of `envoy`, `controller` or `picker`; None while it is away."""
        found = next(each["pid"] for each in self.status()["processes"] if each["name"] == child)
        return None if found is None else int(found)

    def served_well(self, child: str) -> bool:
        """Whether it has been doing its work for a second or more in its present life."""
        found = next(each["serving_s"] for each in self.status()["processes"] if each["name"] == child)
        return found is not None and found >= 1

    def decision(self, request_id: str) -> Any:
        """The decision record of a request."""
        return get_json(f"{self.admin}/v1/decisions/{request_id}")

    def decisions(self, limit: int) -> Any:
        """The newest decision records."""
        return get_json(f"{self.admin}/v1/decisions?limit={limit}")

    def pools(self) -> Any:
        """The picker's view of its pools."""
        return (self.status()["picker"] or {}).get("pools", [])

    def in_flight(self) -> int:
        """Requests the picker believes to be running."""
        return sum(int(pool["in_flight"]) for pool in self.pools())

    def endpoints(self) -> set[str]:
        """Endpoints the picker may choose."""
        return {
            each["endpoint"] for pool in self.pools() for each in pool["endpoints"] if not each["leaving"]
        }

    def saturation(self, key: str) -> float:
        """A pool's saturation; 1: every endpoint has its fill."""
        return next(float(pool["saturation"]) for pool in self.pools() if pool["pool"] == key)

    def problems(self) -> Any:
        """What the controller complains about."""
        return (self.status()["gateway"] or {}).get("problems", [])


@contextmanager
def starting(*args: str) -> Iterator[Gateway]:
    """`headgate run ARGS` on loopback and free ports, not waited for; *args* may say otherwise."""
    zeros = [part for port in PORTS for part in (port, "0")]
    quiet = ("--output", "json", "--access-log", "off")
    child = Child([*HEADGATE, "run", *quiet, "--host", "127.0.0.1", *zeros, *args])
    try:
        yield Gateway(child)
    finally:
        child.stop()


@contextmanager
def gateway(*args: str) -> Iterator[Gateway]:
    """The same, ready to serve: `with gateway(url) as gate: get_json(gate.url + "/v1/models")`."""
    with starting(*args) as made:
        made.info = made.wait_event("ready", within_s=40)
        yield made
