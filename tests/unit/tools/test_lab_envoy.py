"""The preStop hook that the lab's node does not run is found in Envoy's bootstrap."""

from tools.lab_envoy import hook

from headgate.gateway.provision.bootstrap import READY_PORT, bootstrap


def test_the_hook_is_found_in_the_bootstrap_of_a_gateways_envoy() -> None:
    made = bootstrap("ns/gate", "controller.svc", 18000, 1 << 30, 30, "/drain/secret")
    assert hook(made) == f"http://127.0.0.1:{READY_PORT}/drain/secret"


def test_another_envoy_has_none() -> None:
    assert hook({"staticResources": {"clusters": []}}) is None
