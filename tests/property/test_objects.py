"""Whatever stands in a manifest: decoding never raises, and what was decoded can be translated to Envoy."""

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from headgate.gateway.envoy import protos
from headgate.gateway.settings import GatewaySettings
from headgate.gateway.translate import translate
from headgate.manifests.decode import decode_all
from headgate.manifests.schema import KINDS
from headgate.model.snapshot import Snapshot

NAMES = st.sampled_from(["a", "b", "gw", "llm", "*", "", "a.example.com", "*.example.com", "/v1", "/", "%"])
SCALARS = NAMES | st.none() | st.booleans() | st.integers(-1, 70000) | st.floats(allow_nan=False)
FIELDS = st.sampled_from(
    [
        "name",
        "namespace",
        "spec",
        "metadata",
        "status",
        "labels",
        "selector",
        "matchLabels",
        "targetPorts",
        "number",
        "endpointPickerRef",
        "port",
        "listeners",
        "protocol",
        "hostname",
        "allowedRoutes",
        "namespaces",
        "from",
        "parentRefs",
        "hostnames",
        "rules",
        "matches",
        "path",
        "value",
        "type",
        "headers",
        "method",
        "filters",
        "backendRefs",
        "weight",
        "group",
        "kind",
        "timeouts",
        "request",
        "url",
        "podIP",
        "items",
    ]
)
ANYTHING = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(FIELDS, inner, max_size=5),
    max_leaves=25,
)
POOL_REF = {"group": "inference.networking.k8s.io", "kind": "InferencePool", "name": "llm"}
MATCHES = st.fixed_dictionaries(
    {
        "path": st.fixed_dictionaries(
            {
                "type": st.sampled_from(["Exact", "PathPrefix", "RegularExpression"]),
                "value": st.text("/ab(?*+)[]\\1", max_size=8).map(lambda text: "/" + text),
            }
        )
    }
)
ROUTES = st.builds(
    lambda hostnames, matches, weight: {
        "parentRefs": [{"name": "gw"}],
        "hostnames": hostnames,
        "rules": [{"matches": matches, "backendRefs": [{**POOL_REF, "weight": weight}]}],
    },
    st.lists(NAMES, max_size=2),
    st.lists(MATCHES, max_size=3),
    st.integers(0, 2),
)
GATEWAY = {"gatewayClassName": "x", "listeners": [{"name": "http", "port": 80, "protocol": "HTTP"}]}


def document(api: str, kind: str, name: str, spec: Any) -> dict[str, Any]:
    return {"apiVersion": api, "kind": kind, "metadata": {"name": name}, "spec": spec}


@given(st.sampled_from(sorted(KINDS)), ANYTHING, ANYTHING)
def test_decoding_never_raises(key: tuple[str, str], metadata: Any, spec: Any) -> None:
    api, kind = key
    for raw in (spec, {"apiVersion": api, "kind": kind, "metadata": metadata, "spec": spec, "status": spec}):
        for decoded in decode_all(raw, "f.yaml", lambda _: 1):
            assert decoded.object is None or decoded.identity is not None
            assert all(problem.place.file == "f.yaml" for problem in decoded.problems)


@settings(max_examples=60)
@given(st.lists(ROUTES, max_size=3), ANYTHING)
def test_what_was_decoded_can_be_translated(routes: list[dict[str, Any]], pool: Any) -> None:
    api = "gateway.networking.k8s.io/v1"
    raw = [document(api, "Gateway", "gw", GATEWAY)]
    raw += [document(api, "HTTPRoute", f"r{index}", spec) for index, spec in enumerate(routes)]
    raw.append(document("inference.networking.k8s.io/v1", "InferencePool", "llm", pool))
    decoded = [each for document in raw for each in decode_all(document, "", lambda _: 0)]
    found = Snapshot(tuple(each.object for each in decoded if each.object is not None))
    for kind, resources in translate(found, GatewaySettings()).resources.items():
        for resource in resources.values():
            protos.serialized(kind, resource)  # type: ignore[arg-type]
