"""One streamed chat request: sent, timed, counted."""

from collections.abc import Sequence
from time import monotonic
from typing import Any

import aiohttp
import msgspec

from headgate.io.load.report import Sample
from headgate.model import headers


class _Delta(msgspec.Struct):
    content: str | None = None


class _Choice(msgspec.Struct):
    delta: _Delta = msgspec.field(default_factory=_Delta)


class _Details(msgspec.Struct):
    cached_tokens: int | None = None


class _Usage(msgspec.Struct):
    prompt_tokens: int = 0
    completion_tokens: int = 0
    prompt_tokens_details: _Details | None = None


class _Frame(msgspec.Struct):
    choices: tuple[_Choice, ...] = ()
    usage: _Usage | None = None
    error: Any = None


_FRAME = msgspec.json.Decoder(_Frame)

Message = dict[str, str]


class Exchange:
    """A request under way; `sample` may be read at any time, `text` is the answer so far."""

    def __init__(self, at_s: float) -> None:
        self.text = ""
        self.status: int | None = None
        self.error: str | None = "unfinished"
        self._at_s = at_s
        self._began = monotonic()
        self._first_byte = False
        self._first: float | None = None
        self._last: float | None = None
        self._usage = _Usage()
        self._headers: dict[str, str] = {}

    async def run(
        self,
        session: aiohttp.ClientSession,
        url: str,
        model: str,
        messages: Sequence[Message],
        max_tokens: int,
    ) -> None:
        """Send the request and read its answer to the end. What goes wrong ends in `error`."""
        body = {
            "model": model,
            "messages": list(messages),
            "max_tokens": max_tokens,
            "stream": True,
            "stream_options": {"include_usage": True},
        }
        self._began = monotonic()
        try:
            async with session.post(
                f"{url}/v1/chat/completions",
                data=msgspec.json.encode(body),
                headers={"Content-Type": "application/json"},
            ) as response:
                self.status = response.status
                self._headers = {name.lower(): value for name, value in response.headers.items()}
                if response.status == 200:
                    await self._read(response)
                else:
                    self._first_byte = bool(await response.content.read(1))
                    reason = self._headers.get(headers.REASON)
                    self.error = f"{response.status} {reason}" if reason else str(response.status)
        except TimeoutError:
            self.error = "timeout"
        except aiohttp.ClientError as error:
            self.error = type(error).__name__

    async def _read(self, response: aiohttp.ClientResponse) -> None:
        pending = b""
        async for data in response.content.iter_any():
            self._first_byte = True
            *lines, pending = (pending + data).split(b"\n")
            now = monotonic()
            for line in lines:
                if line.startswith(b"data:") and self._frame(line[5:].strip(), now):
                    return
        self.error = "cut off"

    def _frame(self, data: bytes, now: float) -> bool:
        """Take one SSE event; True when it was the last."""
        if data == b"[DONE]":
            self.error = None
            return True
        try:
            frame = _FRAME.decode(data)
        except msgspec.DecodeError:
            self.error = "bad frame"
            return True
        if frame.error is not None:
            self.error = "error in stream"
            return True
        if text := "".join(choice.delta.content or "" for choice in frame.choices):
            self.text += text
            self._first = self._first or now
            self._last = now
        self._usage = frame.usage or self._usage
        return False

    def sample(self) -> Sample:
        """What is known of the request now."""
        usage, first, last = self._usage, self._first, self._last
        later = usage.completion_tokens - 1
        details = usage.prompt_tokens_details
        return Sample(
            at_s=self._at_s,
            status=self.status,
            error=self.error,
            first_byte=self._first_byte,
            ttft_s=first - self._began if first is not None else None,
            tpot_s=(last - first) / later if first is not None and last is not None and later > 0 else None,
            duration_s=last - self._began if last is not None else None,
            prompt_tokens=usage.prompt_tokens,
            cached_tokens=(details.cached_tokens or 0) if details is not None else 0,
            completion_tokens=usage.completion_tokens,
            endpoint=self._headers.get(headers.ENDPOINT),
            request_id=self._headers.get(headers.REQUEST_ID),
        )
