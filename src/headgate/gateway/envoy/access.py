"""Who may call, in Envoy's words: API keys and tokens, and the client's name on its way to the picker.

Every chain has the filters. API keys come with routes and hosts; how tokens are read is a part of the
listener, so that a changed token policy costs what a changed listener does.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from headgate.gateway import ir
from headgate.gateway.envoy.names import Json, duration, extension, typed
from headgate.model import headers

API_KEYS = "envoy.filters.http.api_key_auth"
TOKENS = "envoy.filters.http.jwt_authn"

_FILTERS = "envoy.extensions.filters.http"
_API_KEYS = f"{_FILTERS}.api_key_auth.v3"
_TOKENS = f"{_FILTERS}.jwt_authn.v3"

FETCH_TIMEOUT_S = 5.0
"""Longest time for an issuer's keys to arrive."""


def filters(policies: Sequence[tuple[str, ir.Tokens]]) -> list[Json]:
    """HTTP filters: keys, tokens by these policies (`namespace/name`), and the name that either leaves."""
    return [
        extension(API_KEYS, f"{_API_KEYS}.ApiKeyAuth") | {"disabled": True},
        extension(
            TOKENS,
            f"{_TOKENS}.JwtAuthentication",
            providers={name: _provider(each) for name, each in policies},
            requirement_map={name: {"provider_name": name} for name, _ in policies},
            bypass_cors_preflight=True,
        ),
        extension(
            "envoy.filters.http.header_to_metadata",
            f"{_FILTERS}.header_to_metadata.v3.Config",
            request_rules=[
                {
                    "header": headers.CLIENT,
                    "on_header_present": {
                        "metadata_namespace": headers.OWN_NAMESPACE,
                        "key": headers.CLIENT_KEY,
                        "type": "STRING",
                    },
                    "remove": True,
                }
            ],
        ),
    ]


def per_route(access: ir.Access) -> Json:
    """`typed_per_filter_config` of a route or host that these clients may call."""
    if access.tokens is not None:
        return {
            API_KEYS: typed("envoy.config.route.v3.FilterConfig", disabled=True),
            TOKENS: typed(f"{_TOKENS}.PerRouteConfig", requirement_name=access.name),
        }
    keys = typed(
        f"{_API_KEYS}.ApiKeyAuthPerRoute",
        credentials=list(_credentials(access.keys)),
        key_sources=[{"header": access.keys.header}],
        forwarding={"header": headers.CLIENT, "hide_credentials": True},
    )
    return {API_KEYS: keys, TOKENS: typed(f"{_TOKENS}.PerRouteConfig", disabled=True)}


def _credentials(keys: ir.Keys) -> Iterator[Json]:
    """Envoy takes off `Bearer ` as it is written here, and clients write schemes in lower case, too."""
    for client, key in keys.clients:
        yield {"key": key, "client": client}
        if keys.header.lower() == "authorization":
            yield {"key": f"bearer {key}", "client": client}


def masked(resource: Any) -> Any:
    """A resource for people: without clients' keys and those for backends."""
    if isinstance(resource, Mapping):
        hidden = None
        if {"key", "client"} == set(resource):
            hidden = "key"
        elif resource.get("key") == "authorization":
            hidden = "value"
        return {name: "..." if name == hidden else masked(each) for name, each in resource.items()}
    if isinstance(resource, list | tuple):
        return [masked(each) for each in resource]
    return resource


def _provider(tokens: ir.Tokens) -> Json:
    found: Json = {
        "forward": False,
        "from_headers": [
            {"name": "Authorization", "value_prefix": scheme} for scheme in ("Bearer ", "bearer ")
        ],
        "claim_to_headers": [{"header_name": headers.CLIENT, "claim_name": tokens.client_claim}],
    }
    if tokens.issuer:
        found["issuer"] = tokens.issuer
    if tokens.audiences:
        found["audiences"] = list(tokens.audiences)
    if tokens.uri is None:
        found["local_jwks"] = {"inline_string": tokens.jwks or ""}
    else:
        http = {
            "uri": tokens.uri,
            "cluster": issuer_cluster(tokens.uri),
            "timeout": duration(FETCH_TIMEOUT_S),
        }
        found["remote_jwks"] = {"http_uri": http, "cache_duration": "300s", "async_fetch": {}}
    return found


ISSUER = "issuer"
"""What names of clusters of token issuers begin with."""


def issuer_cluster(uri: str) -> str:
    """The cluster of the server of a URL."""
    scheme, _, rest = uri.partition("://")
    return f"{ISSUER}/{scheme}://{rest.partition('/')[0].partition('?')[0].lower()}"
