"""Sessions that stay with an endpoint: Envoy's stateful_session filter, idle until a route says how."""

from headgate.gateway import ir
from headgate.gateway.envoy.names import Json, duration, extension, typed

NAME = "envoy.filters.http.stateful_session"

_FILTER = "envoy.extensions.filters.http.stateful_session.v3"
_STATE = "envoy.extensions.http.stateful_session"


def idle() -> Json:
    """The filter of every chain: it does nothing by itself."""
    return extension(NAME, f"{_FILTER}.StatefulSession")


def per_route(session: ir.Session) -> Json:
    """`typed_per_filter_config` of a route. The cookie or header holds the endpoint's address."""
    if session.kind == "header":
        config = typed(f"{_STATE}.header.v3.HeaderBasedSessionState", name=session.name)
        state: Json = {"name": "envoy.http.stateful_session.header", "typed_config": config}
    else:
        cookie: Json = {"name": session.name, "path": "/"}
        if session.lifetime_s is not None:
            cookie["ttl"] = duration(session.lifetime_s)
        state = extension(
            "envoy.http.stateful_session.cookie",
            f"{_STATE}.cookie.v3.CookieBasedSessionState",
            cookie=cookie,
        )
    return {NAME: typed(f"{_FILTER}.StatefulSessionPerRoute", stateful_session={"session_state": state})}
