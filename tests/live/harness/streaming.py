"""A client that reads a long streamed answer while something happens to the gateway."""

import http.client
import threading

import msgspec
from tests.live.harness.gateway import Gateway


class Streaming:
    """A streamed completion of a gateway, read in a thread."""

    def __init__(self, running: Gateway, max_tokens: int) -> None:
        self.connection = http.client.HTTPConnection(
            "127.0.0.1", running.info["ports"]["gateway"], timeout=60
        )
        body = {"model": running.info["model"], "prompt": "long", "max_tokens": max_tokens, "stream": True}
        self.connection.request(
            "POST",
            "/v1/completions",
            body=msgspec.json.encode({**body, "ignore_eos": True}),
            headers={"content-type": "application/json"},
        )
        self.answer = self.connection.getresponse()
        self.first = self.answer.readline()
        self.rest = b""
        self.error: Exception | None = None
        self.thread = threading.Thread(target=self._read, daemon=True)
        self.thread.start()

    def whole(self, within_s: float = 60) -> bool:
        """Whether it came to its proper end, once it is over."""
        self.thread.join(within_s)
        return self.error is None and self.rest.rstrip().endswith(b"data: [DONE]")

    def _read(self) -> None:
        try:
            self.rest = self.answer.read()
        except (http.client.HTTPException, OSError) as error:
            self.error = error
        finally:
            self.connection.close()
