"""Content versions and the names a resource mentions."""

from tests.xds_resources import made, wanted_of

from headgate.gateway.xds.versions import Changes, apply, difference


def test_the_version_is_the_content_whatever_the_order_of_keys() -> None:
    one, other = made("route", "r", {"a": 1, "b": 2}), made("route", "r", {"b": 2, "a": 1})
    assert one.version == other.version
    assert one.version != made("route", "r", {"a": 1, "b": 3}).version


def test_a_difference_leads_from_one_to_the_other() -> None:
    before = wanted_of({"cluster": {"a": {"x": 1}, "b": {"x": 1}, "gone": {}}})
    after = wanted_of({"cluster": {"a": {"x": 1}, "b": {"x": 2}}, "route": {"r": {}}})
    changes = difference(before, after)
    assert [(each.kind, each.name) for each in changes.changed] == [("cluster", "b"), ("route", "r")]
    assert changes.removed == (("cluster", "gone"),)
    apply(before, changes)
    assert before == after
    assert not difference(before, after) and not Changes()


def test_every_way_to_name_a_cluster_is_seen() -> None:
    content = {
        "routes": [
            {"route": {"cluster": "plain"}},
            {"route": {"weightedClusters": {"clusters": [{"name": "weighted", "weight": 1}]}}},
            {"route": {"requestMirrorPolicies": [{"cluster": "mirror"}]}},
            {"typedPerFilterConfig": {"x": {"grpcService": {"envoyGrpc": {"clusterName": "picker"}}}}},
        ]
    }
    assert made("route", "r", content).names_clusters == {"plain", "weighted", "mirror", "picker"}


def test_endpoints_belong_to_eds_clusters_only_by_service_name_or_name() -> None:
    assert made("cluster", "a", {"type": "EDS"}).names_endpoints == {"a"}
    named = {"type": "EDS", "edsClusterConfig": {"serviceName": "s"}}
    assert made("cluster", "a", named).names_endpoints == {"s"}
    assert made("cluster", "a", {"type": "STATIC"}).names_endpoints == frozenset()
