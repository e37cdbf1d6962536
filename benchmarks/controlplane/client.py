"""Asks a gateway for a route until it is there."""

import http.client
import time

ANSWERED_S = 20.0
POLL_S = 0.001


class Client:
    """One connection, which asks for one route."""

    def __init__(self, port: int, address: str = "127.0.0.1") -> None:
        self._connection = http.client.HTTPConnection(address, port, timeout=ANSWERED_S)

    def status(self, host: str, path: str) -> int:
        """Of the answer."""
        try:
            self._connection.request("GET", path, headers={"host": host})
            answer = self._connection.getresponse()
            answer.read()
        except (OSError, http.client.HTTPException):
            self._connection.close()
            return 0
        return answer.status

    def answered_after_ms(self, host: str, path: str) -> float:
        """Ask until the answer is good."""
        start = time.monotonic()
        while self.status(host, path) != 200:
            if time.monotonic() > start + ANSWERED_S:
                raise TimeoutError(f"{host}{path} is not answered")
            time.sleep(POLL_S)
        return (time.monotonic() - start) * 1000


def worst(took: list[float]) -> float:
    """The 99th percentile."""
    return sorted(took)[int(len(took) * 0.99)]
