"""An error that the gateway gave by itself: no server and none of our pickers saw the request to its end."""

import msgspec


class OwnAnswer(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """What is kept of the request and its answer. Nothing secret: no query, no key, no body.

    Its texts are the client's or Envoy's, cut.
    """

    request_id: str
    at: float
    """Unix seconds when its headers came."""
    port: int
    """Where it came in."""
    server_name: str = ""
    """That the client asked for by TLS (SNI)."""
    method: str
    host: str
    path: str
    """Without its query."""
    model: str | None = None
    """Where routes match it."""
    status: int
    reason: str = ""
    """As the client is told it; see docs/errors.md."""
    details: str = ""
    """Envoy's word for it."""
    route: str = ""
    """That took the request: `namespace/name/rule/match`, or one of the gateway's own."""

    @property
    def bytes(self) -> int:
        """About how many it takes in memory."""
        texts = (self.request_id, self.host, self.path, self.model or "", self.details, self.route)
        return 400 + sum(map(len, texts))


UNROUTED = ("no-route", "model-not-found", "unreadable-body")
"""Reasons that say that no route took the request."""


class Explained(msgspec.Struct, frozen=True, kw_only=True):
    """An answer, as the admin API shows it."""

    answer: OwnAnswer
    time: str
    """When the request came: UTC in ISO 8601, `2026-01-31T12:00:00.000Z`."""
    why: tuple[str, ...]
    """Sentences."""
