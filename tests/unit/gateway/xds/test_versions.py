"""Content versions and the names a resource mentions."""

from headgate.gateway.xds.versions import resource, target


def test_the_version_is_the_content_whatever_the_order_of_keys() -> None:
    one, other = resource("route", "r", {"a": 1, "b": 2}), resource("route", "r", {"b": 2, "a": 1})
    assert one.version == other.version
    assert one.version != resource("route", "r", {"a": 1, "b": 3}).version


def test_equal_content_is_taken_over_from_the_previous_target() -> None:
    first = target({"cluster": {"a": {"x": 1}, "b": {"x": 1}}})
    second = target({"cluster": {"a": {"x": 1}, "b": {"x": 2}}}, first)
    assert second.of("cluster")["a"] is first.of("cluster")["a"]
    assert second.of("cluster")["b"].version != first.of("cluster")["b"].version


def test_every_way_to_name_a_cluster_is_seen() -> None:
    content = {
        "routes": [
            {"route": {"cluster": "plain"}},
            {"route": {"weightedClusters": {"clusters": [{"name": "weighted", "weight": 1}]}}},
            {"route": {"requestMirrorPolicies": [{"cluster": "mirror"}]}},
            {"typedPerFilterConfig": {"x": {"grpcService": {"envoyGrpc": {"clusterName": "picker"}}}}},
        ]
    }
    assert resource("route", "r", content).names_clusters == {"plain", "weighted", "mirror", "picker"}


def test_endpoints_belong_to_eds_clusters_only_by_service_name_or_name() -> None:
    assert resource("cluster", "a", {"type": "EDS"}).names_endpoints == {"a"}
    named = {"type": "EDS", "edsClusterConfig": {"serviceName": "s"}}
    assert resource("cluster", "a", named).names_endpoints == {"s"}
    assert resource("cluster", "a", {"type": "STATIC"}).names_endpoints == frozenset()
