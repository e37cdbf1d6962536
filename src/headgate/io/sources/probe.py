"""Asks a model server who it is: engine, version, models, size of the KV cache."""

import asyncio
import errno
import os
import socket

import aiohttp
import msgspec
from aiohttp.abc import AbstractResolver, ResolveResult

from headgate.engines import read_load
from headgate.engines.models import read_models
from headgate.io.sources.resolve import lookup_aside
from headgate.io.trust import Trust, context
from headgate.model.api_keys import ApiKey
from headgate.model.load import Load, ModelCard

MAX_PAGE_BYTES = 4 << 20
DEFAULT = Trust()
LONGEST_VERSION = 100
"""Characters of a version that are shown."""
LONGEST_REASON = 100
"""Characters of a status line's reason that are shown."""


class ProbeResult(msgspec.Struct, frozen=True, kw_only=True):
    """What a model server says of itself. A field is None when it did not say."""

    url: str
    ok: bool
    """It listed its models: it can be used."""
    engine: str | None = None
    version: str | None = None
    models: tuple[ModelCard, ...] = ()
    kv_tokens: int | None = None
    """Tokens that fit into its KV cache."""
    max_model_len: int | None = None
    """Longest context of its models, in tokens."""
    error: str | None = None
    """Why it is not ok, in a few words."""
    wants_key: bool = False
    """It answers 401 or 403: without a right API key it does not say what it serves."""


class _Names(AbstractResolver):
    """Looks host names up where those that hang keep no other one waiting."""

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """The addresses of *host*; raises OSError when there are none."""
        found = [
            ResolveResult(
                hostname=host,
                host=address,
                port=port,
                family=socket.AF_INET6 if ":" in address else socket.AF_INET,
                proto=0,
                flags=socket.AI_NUMERICHOST,
            )
            for address in await lookup_aside(host)
        ]
        if not found:
            raise OSError(None, "the host name does not resolve")
        return found

    async def close(self) -> None:
        """Nothing is held."""


class _Version(msgspec.Struct):
    version: str


async def probe(
    url: str, timeout_s: float = 2.0, trust: Trust = DEFAULT, key: ApiKey | None = None
) -> ProbeResult:
    """Ask the server at *url* (`scheme://host:port`) for `/v1/models`, `/version`, `/metrics`, all at once.

    Never raises for what the server does; ends within *timeout_s* seconds.
    """
    timeout = aiohttp.ClientTimeout(total=timeout_s)
    headers = {} if key is None else {"Authorization": f"Bearer {key.text}"}
    try:
        connector = aiohttp.TCPConnector(ssl=context(trust), resolver=_Names())
    except OSError as unreadable:
        return ProbeResult(url=url, ok=False, error=f"the CA certificates cannot be read: {unreadable}")
    async with aiohttp.ClientSession(timeout=timeout, connector=connector, headers=headers) as session:
        models, version, metrics = await asyncio.gather(
            _get(session, f"{url}/v1/models"),
            _get(session, f"{url}/version"),
            _get(session, f"{url}/metrics"),
        )
    load = read_load(metrics) if isinstance(metrics, bytes) else None
    cards, error = _cards(models)
    wants_key = error is not None and error[:3] in ("401", "403")
    if wants_key:
        wants = "it wants an API key" if key is None else "it refuses the API key it was sent"
        error = f"{wants}: --api-key-file or spec.apiKey ({error})"
    return ProbeResult(
        url=url,
        ok=error is None,
        engine=load.engine if load is not None else None,
        version=_version(version),
        models=cards,
        kv_tokens=_kv_tokens(load),
        max_model_len=max((card.max_model_len or 0 for card in cards), default=0) or None,
        error=error,
        wants_key=wants_key,
    )


async def _get(session: aiohttp.ClientSession, url: str) -> bytes | str:
    """The page, or why there is none."""
    try:
        async with session.get(url, allow_redirects=False) as response:
            if response.status != 200:
                return f"{response.status} {(response.reason or '')[:LONGEST_REASON]}".strip()
            page = bytearray()
            async for chunk in response.content.iter_any():
                page += chunk
                if len(page) > MAX_PAGE_BYTES:
                    return "its page is too large"
            return bytes(page)
    except TimeoutError:
        return "no answer in time"
    except aiohttp.ClientConnectorDNSError:
        return "the host name does not resolve"
    except aiohttp.ClientConnectorCertificateError as error:
        why = getattr(error.certificate_error, "verify_message", "") or "it is not valid"
        return f"its certificate cannot be trusted: {why}"
    except aiohttp.ClientSSLError:
        return "it does not speak TLS: is it an http:// server?"
    except aiohttp.ClientConnectorError as error:
        return os.strerror(error.os_error.errno or errno.EHOSTUNREACH).lower()
    except (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError):
        question = ": is it an https:// server?" if url.startswith("http:") else ""
        return f"it closed the connection without an answer{question}"
    except (aiohttp.ClientError, OSError, ValueError) as error:
        return f"no usable answer ({type(error).__name__})"


def _cards(answer: bytes | str) -> tuple[tuple[ModelCard, ...], str | None]:
    if isinstance(answer, str):
        return (), answer
    try:
        return read_models(answer), None
    except ValueError:
        return (), "/v1/models is no list of models"


def _version(answer: bytes | str) -> str | None:
    if isinstance(answer, str):
        return None
    try:
        version = msgspec.json.decode(answer, type=_Version).version
    except (ValueError, RecursionError):
        return None
    return version[:LONGEST_VERSION]


def _kv_tokens(load: Load | None) -> int | None:
    if load is None or load.kv_blocks is None or load.block_tokens is None:
        return None
    return load.kv_blocks * load.block_tokens
