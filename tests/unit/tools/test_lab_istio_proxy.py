"""What a stock Envoy is told in the place of Istio's proxy image: who it is, and where its configuration is."""

from tools.lab_istio_proxy import bootstrap, downward, node

ENVIRON = {
    "POD_NAME": "gate-istio-abc",
    "POD_NAMESPACE": "team",
    "INSTANCE_IP": "10.244.0.7",
    "SERVICE_ACCOUNT": "gate-istio",
    "CA_ADDR": "istiod.istio-system.svc:15012",
    "ISTIO_META_CLUSTER_ID": "Kubernetes",
    "PROXY_CONFIG": '{"concurrency": 1}\n',
    "HOME": "/",
}


def test_labels_are_read_as_the_downward_api_writes_them() -> None:
    assert downward('app="a=b"\nquoted="a \\"b\\""\n') == {"app": "a=b", "quoted": 'a "b"'}


def test_it_is_a_router_of_its_pod() -> None:
    made = node(ENVIRON, {"gateway.networking.k8s.io/gateway-name": "gate"})
    assert made["id"] == "router~10.244.0.7~gate-istio-abc.team~team.svc.cluster.local"
    metadata = made["metadata"]
    assert metadata["LABELS"] == {"gateway.networking.k8s.io/gateway-name": "gate"}
    assert (metadata["NAMESPACE"], metadata["CLUSTER_ID"]) == ("team", "Kubernetes")
    assert metadata["PROXY_CONFIG"] == {"concurrency": 1} and "HOME" not in metadata


def test_its_configuration_comes_from_istiod_in_plain_text() -> None:
    made = bootstrap(ENVIRON, {})
    xds = next(each for each in made["static_resources"]["clusters"] if each["name"] == "xds-grpc")
    [[endpoint]] = [each["lb_endpoints"] for each in xds["load_assignment"]["endpoints"]]
    address = endpoint["endpoint"]["address"]["socket_address"]
    assert address == {"address": "istiod.istio-system.svc.cluster.local", "port_value": 15010}
    assert "transport_socket" not in xds
