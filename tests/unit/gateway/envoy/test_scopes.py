"""Scopes: names and keys, and an expression that Envoy can read."""

from typing import Any

from headgate.gateway.envoy import listeners, scopes
from headgate.gateway.envoy.routes import configuration
from headgate.gateway.host_groups import WEIGHTS
from headgate.gateway.settings import GatewaySettings
from headgate.model import headers


def test_a_scope_is_found_by_its_name() -> None:
    name = scopes.name("port-8443/*.example", 17)
    assert scopes.parts(name) == ("port-8443/*.example", 17)
    assert scopes.outer(name)["key"] == {"fragments": [{"string_key": name}]}


def test_no_server_sees_the_key() -> None:
    whole = configuration("port-8080", by_model=False, base_models={})
    scoped = scopes.configuration("port-8080/1", whole)
    assert scoped["name"] == "port-8080/1"
    assert scoped["request_headers_to_remove"] == [*whole["request_headers_to_remove"], headers.HOST_GROUP]


def test_the_key_is_made_of_the_host_whatever_the_client_says() -> None:
    (plain, key, removed) = scopes.key_header("port-8080")["typed_config"]["mutations"]
    assert plain["append"]["append_action"] == key["append"]["append_action"] == "OVERWRITE_IF_EXISTS_OR_ADD"
    assert removed == {"remove": plain["append"]["header"]["key"]}
    text = key["append"]["header"]["value"]
    assert text.startswith("port-8080/%CEL(") and text.endswith(")%")
    assert ")%" not in text[:-2], "the end of the expression for Envoy"
    assert all(f"contains('{each}')" in text for each in WEIGHTS)


def test_a_listener_gets_routes_from_one_or_from_scopes() -> None:
    def manager(grouped: bool) -> Any:
        chain = listeners.Chain("port-8080", grouped=grouped)
        made = listeners.listener("port-8080", 8080, [chain], GatewaySettings())
        return made["filter_chains"][0]["filters"][0]["typed_config"]

    assert "rds" in manager(False) and "scoped_routes" not in manager(False)
    assert "rds" not in manager(True) and "scoped_routes" in manager(True)
    assert len(manager(True)["early_header_mutation_extensions"]) == 2
