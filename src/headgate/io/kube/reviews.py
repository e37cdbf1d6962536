"""Who may read a page: the API server says whose a token is, and whether they may."""

import asyncio
import hashlib
import logging
from collections.abc import Callable, Mapping
from typing import Any

from headgate.io.kube.client import ApiError, Collection, KubeClient

log = logging.getLogger(__name__)

TOKENS = Collection("authentication.k8s.io", "v1", "tokenreviews")
ACCESSES = Collection("authorization.k8s.io", "v1", "subjectaccessreviews")
ALLOWED_S, REFUSED_S = 60.0, 5.0
"""How long an answer of the API server is believed."""
MOST_ANSWERS = 1000
LONGEST_TOKEN = 16_384
AT_ONCE = 4
MOST_WAITING = 64
"""Questions at once, and those that wait for their turn: what comes beyond them is told to come later."""
PATIENCE_S = 10.0


class Reviews:
    """Asks TokenReview and SubjectAccessReview for one path, verb `get`."""

    def __init__(self, client: KubeClient, path: str, clock: Callable[[], float]) -> None:
        """*clock*: seconds, of any beginning."""
        self._client, self._path, self._clock = client, path, clock
        self._known: dict[bytes, tuple[float, int]] = {}
        """Hash of a token → until when, and the status."""
        self._turn = asyncio.Semaphore(AT_ONCE)
        self._waiting = 0
        self._trouble = ""

    async def status(self, authorization: str) -> int:
        """200, or what to refuse with: 401 for nobody, 403 for somebody who may not, 503 when nobody knows.

        *authorization*: the header of the request, empty without one.
        """
        scheme, _, token = authorization.partition(" ")
        token = token.strip()
        if scheme.lower() != "bearer" or not token or len(token) > LONGEST_TOKEN:
            return 401
        key, now = hashlib.sha256(token.encode("utf-8", "surrogateescape")).digest(), self._clock()
        known = self._known.get(key)
        if known is not None and now < known[0]:
            return known[1]
        if self._waiting >= MOST_WAITING:
            return 503
        self._waiting += 1
        try:
            async with self._turn, asyncio.timeout(PATIENCE_S):
                status = await self._ask(token)
        except (ApiError, TimeoutError) as error:
            said = str(error) or "no answer of the API server"
            if said != self._trouble:
                log.warning(
                    "metrics are refused, as nobody can say who may read them: %s; the ServiceAccount "
                    "needs create on tokenreviews and subjectaccessreviews, or --metrics-endpoint-auth=false",
                    said,
                )
            self._trouble = said
            return 503
        finally:
            self._waiting -= 1
        self._trouble = ""
        while len(self._known) >= MOST_ANSWERS:
            del self._known[next(iter(self._known))]
        self._known.pop(key, None)
        self._known[key] = (self._clock() + (ALLOWED_S if status == 200 else REFUSED_S), status)
        return status

    async def _ask(self, token: str) -> int:
        review = await self._create(TOKENS, "TokenReview", {"token": token})
        user = review.get("user")
        if review.get("authenticated") is not True or not isinstance(user, Mapping):
            return 401
        spec = {
            "user": user.get("username"),
            "uid": user.get("uid"),
            "groups": user.get("groups"),
            "extra": user.get("extra"),
            "nonResourceAttributes": {"path": self._path, "verb": "get"},
        }
        spec = {name: value for name, value in spec.items() if value is not None}
        review = await self._create(ACCESSES, "SubjectAccessReview", spec)
        return 200 if review.get("allowed") is True and review.get("denied") is not True else 403

    async def _create(self, collection: Collection, kind: str, spec: Mapping[str, Any]) -> Mapping[str, Any]:
        """The status of the answer."""
        body = {"apiVersion": collection.api_version, "kind": kind, "metadata": {}, "spec": dict(spec)}
        found = await self._client.create(collection.path(), body)
        status = found.get("status") if isinstance(found, Mapping) else None
        return status if isinstance(status, Mapping) else {}
