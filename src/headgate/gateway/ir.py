"""What is to be served, in our own words: neither the Gateway API's nor Envoy's.

The plan (`gateway/plan`) makes these values of objects, `gateway/envoy` renders them. Nothing here depends on
endpoints: those have a life cycle of their own.
"""

from collections.abc import Mapping
from typing import Literal

import msgspec

from headgate.model.endpoints import Pool

Scheme = Literal["http", "https"]


class Condition(msgspec.Struct, frozen=True):
    """What one header or query parameter must be."""

    name: str
    value: str
    regex: bool = False
    """*value* is an expression (RE2) that the whole text must match."""


class Match(msgspec.Struct, frozen=True):
    """What a request must be; all parts hold."""

    kind: Literal["exact", "prefix", "regex"] = "prefix"
    """How `path` is compared; a prefix is whole path elements."""
    path: str = "/"
    method: str | None = None
    headers: tuple[Condition, ...] = ()
    """No two of one name."""
    query: tuple[Condition, ...] = ()
    """No two of one name."""


class HeaderChanges(msgspec.Struct, frozen=True):
    """Headers to set, to add and to remove; values are literal."""

    set: tuple[tuple[str, str], ...] = ()
    add: tuple[tuple[str, str], ...] = ()
    remove: tuple[str, ...] = ()


class UpstreamTls(msgspec.Struct, frozen=True):
    """How servers of a backend are reached by TLS."""

    hostname: str
    """SNI, and the name that the certificate must have where `names` is empty. An IP address is no SNI."""
    authorities: str | None = None
    """CA certificates (PEM) that sign it; None: the gateway's own bundle."""
    names: tuple[tuple[Literal["DNS", "URI", "IP_ADDRESS"], str], ...] = ()
    """Subject alternative names of which it must have one."""
    client: str | None = None
    """Name of the secret with the certificate that the gateway shows."""
    insecure: bool = False
    """The certificate is not looked at."""


LabelledTls = tuple[tuple[str, UpstreamTls], ...]
"""Label of endpoints → how they are reached; the empty label is that of all endpoints."""


class PoolBackend(msgspec.Struct, frozen=True):
    """An InferencePool: its picker names the endpoint."""

    cluster: str
    pool: Pool
    """Without endpoints."""
    tls: LabelledTls = ()
    """Label of endpoints → how they are reached; endpoints without a label are reached in clear text."""
    fallback: "Backend | None" = None
    """Where requests go that its picker names no endpoint for. It has none of its own."""


class HostsBackend(msgspec.Struct, frozen=True):
    """Plain hosts, taken in turns."""

    cluster: str
    protocol: Literal["http", "h2c", "http2-or-http1"] = "http"
    tls: LabelledTls = ()


Backend = PoolBackend | HostsBackend


class Keys(msgspec.Struct, frozen=True):
    """Clients that show a key."""

    clients: tuple[tuple[str, str], ...]
    """Who, and the key. Empty: nobody is let in."""
    header: str = "Authorization"

    def __repr__(self) -> str:
        """Nothing of them."""
        return "Keys(...)"


class Tokens(msgspec.Struct, frozen=True):
    """Clients that show a token (JWT)."""

    issuer: str
    """Empty: any."""
    audiences: tuple[str, ...]
    """Empty: any."""
    client_claim: str
    """Names the claim that says who the client is."""
    jwks: str | None
    """The issuer's public keys, a JSON Web Key Set."""
    uri: str | None
    """Where to get them instead."""


class Access(msgspec.Struct, frozen=True):
    """Who may call."""

    name: str
    """Of the policy: `namespace/name`."""
    keys: Keys = Keys(())
    tokens: Tokens | None = None
    """In place of keys."""


class Share(msgspec.Struct, frozen=True, kw_only=True):
    """One backend of a rule and its part of the requests."""

    weight: int
    backend: Backend | None
    """None: it cannot be served, and its part is answered with 500."""
    filters: tuple["Filter", ...] = ()
    """In the order in which they apply."""

    @property
    def fallback(self) -> Backend | None:
        """Where its requests go that a picker names no endpoint for."""
        return self.backend.fallback if isinstance(self.backend, PoolBackend) else None

    @property
    def is_relayed(self) -> bool:
        """It has a fallback, and the picker that is asked first is another vendor's (`envoy/relay.py`)."""
        first = self.backend
        return isinstance(first, PoolBackend) and first.fallback is not None and first.pool.picker is not None


class Timeouts(msgspec.Struct, frozen=True):
    """In seconds; None: nothing was said."""

    request_s: float | None = None
    """Until the answer is complete; 0: no limit."""
    attempt_s: float | None = None
    """Of one attempt at one server."""


class Retries(msgspec.Struct, frozen=True):
    """What is sent again, to another endpoint where there is one. Connections that fail are among it."""

    codes: tuple[int, ...] = ()
    """Answers that are not passed on while attempts are left."""
    attempts: int | None = None
    """After the first one; None: nothing was said."""
    backoff_s: float | None = None
    """Before the second attempt; later ones wait longer. None: nothing was said."""


class Session(msgspec.Struct, frozen=True):
    """Requests that show what an answer gave them go to the endpoint that gave the answer."""

    kind: Literal["cookie", "header"]
    name: str
    """Of the cookie or header."""
    lifetime_s: float | None = None
    """How long a cookie is kept; None: until the browser ends."""


class Forward(msgspec.Struct, frozen=True):
    """Requests go to backends."""

    shares: tuple[Share, ...]
    """At least one has weight and a backend."""
    timeouts: Timeouts = Timeouts()
    retries: Retries | None = None
    session: Session | None = None


class Fail(msgspec.Struct, frozen=True):
    """Requests are answered with an error."""

    reason: str
    message: str
    status: int = 500
    type: str = "server_error"


class Answer(msgspec.Struct, frozen=True):
    """A filter of the rule answers by itself; requests go no further."""


Action = Forward | Fail | Answer


class Rule(msgspec.Struct, frozen=True, kw_only=True):
    """One match and what becomes of its requests."""

    name: str
    """For logs: `namespace/route/rule/match`."""
    match: Match
    action: Action
    filters: tuple["Filter", ...] = ()
    """Of the rule, in the order in which they apply."""
    metadata: Mapping[str, str] = msgspec.field(default_factory=dict)
    """For people: name of the rule, where it has one."""

    @property
    def shares(self) -> tuple[Share, ...]:
        """Where its requests are led; none where they are answered."""
        return self.action.shares if isinstance(self.action, Forward) else ()


class Filter(msgspec.Struct, frozen=True):
    """Base of what filter plugins read; each renders itself (`gateway/api.py`)."""

    @property
    def backends(self) -> tuple[Backend, ...]:
        """Those that it sends requests to."""
        return ()
