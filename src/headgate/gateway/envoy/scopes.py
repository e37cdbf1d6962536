"""Scopes (SRDS): a route configuration for each group of hosts, found by a number made of the request's host.

See `gateway/host_groups.py` for why a number. Envoy's own choice among the hosts of a scope is as it always
is: letters in capitals, ports, wildcards and hosts that are not known mean what they mean in one table.
"""

from headgate.gateway.envoy.names import Json, extension
from headgate.gateway.host_groups import GROUPS, WEIGHTS
from headgate.model import headers

_PLAIN_HOST = "x-headgate-plain-host"
"""Request header with the host without its port; it stays only as long as the number is made."""

_ADS: Json = {"ads": {}, "resource_api_version": "V3"}


def name(table: str, group: int) -> str:
    """Of a scope and of its key; unique among all tables of an Envoy, which hears of all scopes at once."""
    return f"{table}/{group}"


def parts(scope: str) -> tuple[str, int]:
    """The table and the group of a scope's name."""
    table, _, group = scope.rpartition("/")
    return table, int(group)


def outer(scope: str) -> Json:
    """A ScopedRouteConfiguration without its routes."""
    return {"name": scope, "key": {"fragments": [{"string_key": scope}]}}


def configuration(scope: str, whole: Json) -> Json:
    """A route configuration without its hosts, as it is for the *whole* table, for a scope."""
    removed = [*whole["request_headers_to_remove"], headers.HOST_GROUP]
    return {**whole, "name": scope, "request_headers_to_remove": removed}


def scoped_routes() -> Json:
    """Where a connection manager gets its routes from. All of them have the same words, so that Envoy keeps
    the scopes once."""
    key = {"header_value_extractor": {"name": headers.HOST_GROUP, "index": 0}}
    return {
        "name": "hosts",
        "scope_key_builder": {"fragments": [key]},
        "rds_config_source": _ADS,
        "scoped_rds": {"scoped_rds_config_source": _ADS},
    }


def key_header(table: str) -> Json:
    """Writes the name of the scope into a header, whatever the client has put there."""
    group = f"{_HAS_PORT} ? {_group(_PLAIN)} : {_group('request.host')}"
    mutations = [
        _set(_PLAIN_HOST, f"%CEL({_HAS_PORT} ? {_WITHOUT_PORT} : '')%"),
        _set(headers.HOST_GROUP, f"{table.replace('%', '%%')}/%CEL({group})%"),
        {"remove": _PLAIN_HOST},
    ]
    return extension(
        "envoy.http.early_header_mutation.header_mutation",
        "envoy.extensions.http.early_header_mutation.header_mutation.v3.HeaderMutation",
        mutations=mutations,
    )


def _set(header: str, value: str) -> Json:
    return {
        "append": {
            "header": {"key": header, "value": value},
            "append_action": "OVERWRITE_IF_EXISTS_OR_ADD",
            "keep_empty_value": True,
        }
    }


_HAS_PORT = "request.host.contains(':')"
_WITHOUT_PORT = r"re.extract(request.host, '([^:]*)', r'\1')"
"""Names of hosts have no colon; what else stands before a port, such as an IPv6 address, is in any group."""
_PLAIN = f"request.headers['{_PLAIN_HOST}']"

_TOGETHER = 7
"""Terms of a sum that stand beside each other: each is a level deeper for Envoy, which takes 32."""


def _group(host: str) -> str:
    terms = [f"({_has(host, each)} ? {weight} : 0)" for each, weight in WEIGHTS.items()]
    groups = [" + ".join(terms[at : at + _TOGETHER]) for at in range(0, len(terms), _TOGETHER)]
    return f"({' + '.join(f'({each})' for each in groups)}) % {GROUPS}"


def _has(host: str, character: str) -> str:
    spellings = dict.fromkeys((character, character.upper()))
    return " || ".join(f"{host}.contains('{each}')" for each in spellings)
