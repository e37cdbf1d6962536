"""Asks a gateway's admin API, for the commands that show what it says."""

import http.client
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Sequence
from typing import Any, TypeVar

import msgspec

T = TypeVar("T")

TIMEOUT_S = 10.0
ADVICE = "name the admin address that the gateway printed: --admin URL or HEADGATE_ADMIN"
NO_PROXY = urllib.request.build_opener(urllib.request.ProxyHandler({}))
"""The admin API is on loopback: a proxy from the environment would only be in the way."""


class AdminError(Exception):
    """The admin API cannot be asked; the message says what to do."""


class NotKnownError(AdminError):
    """It answered 404; the message is its own."""


def get_json(admin: str, path: str) -> dict[str, Any]:
    """The JSON object at *path* of the admin API at base URL *admin*. Raises as `get_as` does."""
    return get_as(admin, path, dict[str, Any])


def first_json(admins: Sequence[str], path: str) -> dict[str, Any]:
    """The JSON object at *path* of the first of several admin APIs that has it. Raises as `first_as` does."""
    return first_as(admins, path, dict[str, Any])


def first_as(admins: Sequence[str], path: str, kind: type[T]) -> T:
    """The JSON value of type *kind* at *path* of the first of several admin APIs that has it.

    Raises:
        NotKnownError: none has it, and all have answered.
        AdminError: none has it, and one does not answer or answers something else.
    """
    known: NotKnownError | None = None
    failed: AdminError | None = None
    for admin in admins:
        try:
            return get_as(admin, path, kind)
        except NotKnownError as error:
            known = known or error
        except AdminError as error:
            failed = failed or error
    if failed is not None:
        raise failed
    assert known is not None, "there is an admin API"
    raise known


def get_as(admin: str, path: str, kind: type[T]) -> T:
    """The JSON value of type *kind* at *path* of the admin API at base URL *admin*.

    Raises:
        NotKnownError: there is no such thing.
        AdminError: it does not answer, or with something else.
    """
    base = (admin if "://" in admin else f"http://{admin}").rstrip("/")
    if urllib.parse.urlsplit(base).scheme not in ("http", "https"):
        raise AdminError(f"--admin {admin!r} is no http URL")
    try:
        with NO_PROXY.open(base + path, timeout=TIMEOUT_S) as answer:
            return msgspec.json.decode(answer.read(), type=kind)
    except urllib.error.HTTPError as error:
        with error:
            message = _message(error.read())
        if message is None:
            raise AdminError(f"{base} answers {error.code} and is no admin API; {ADVICE}") from None
        if error.code == 404:
            raise NotKnownError(message) from None
        raise AdminError(f"{base} answers {error.code}: {message}") from None
    except http.client.BadStatusLine:
        raise AdminError(f"{base} does not speak HTTP and is no admin API; {ADVICE}") from None
    except (OSError, http.client.HTTPException) as error:
        reason = getattr(error, "reason", error)
        raise AdminError(
            f"no gateway answers at {base} ({reason}); start one with `headgate run`, or {ADVICE}"
        ) from None
    except msgspec.DecodeError:
        raise AdminError(f"{base} answers no JSON and is no admin API; {ADVICE}") from None


def _message(body: bytes) -> str | None:
    """What an error of the admin API says; None when it is not in the admin API's shape."""
    try:
        error = msgspec.json.decode(body, type=dict[str, Any]).get("error")
    except msgspec.DecodeError:
        return None
    message = error.get("message") if isinstance(error, dict) and "code" in error else error
    return message if isinstance(message, str) else None
