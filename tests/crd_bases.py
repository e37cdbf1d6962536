"""Valid objects that use as many fields of their CRDs as go together, several of a kind where some exclude others."""

from typing import Any

Json = dict[str, Any]
GATEWAY = "gateway.networking.k8s.io"
INFERENCE = "inference.networking.k8s.io"
INFERENCE_X = "inference.networking.x-k8s.io"


def _made(api: str, kind: str, spec: Json) -> Json:
    return {"apiVersion": api, "kind": kind, "metadata": {"name": "x", "namespace": "default"}, "spec": spec}


def _route(*rules: Json, **more: Any) -> Json:
    return _made(f"{GATEWAY}/v1", "HTTPRoute", {"parentRefs": [{"name": "g"}], "rules": list(rules), **more})


def _grpc(*rules: Json) -> Json:
    return _made(f"{GATEWAY}/v1", "GRPCRoute", {"parentRefs": [{"name": "g"}], "rules": list(rules)})


def _gateway(*listeners: Json, **more: Any) -> Json:
    return _made(
        f"{GATEWAY}/v1", "Gateway", {"gatewayClassName": "headgate", "listeners": list(listeners), **more}
    )


_HEADERS: Json = {"set": [{"name": "a", "value": "b"}], "add": [{"name": "c", "value": "d"}], "remove": ["e"]}
_BACKEND: Json = {"name": "s", "port": 80, "weight": 1}
_PREFIX: Json = {"path": {"type": "PathPrefix", "value": "/a"}}
_TLS: Json = {"mode": "Terminate", "certificateRefs": [{"name": "c"}]}

BASES: tuple[Json, ...] = (
    _made(
        f"{GATEWAY}/v1",
        "GatewayClass",
        {
            "controllerName": "headgate.dev/gateway-controller",
            "parametersRef": {
                "group": "headgate.dev",
                "kind": "GatewayParameters",
                "name": "p",
                "namespace": "n",
            },
        },
    ),
    _gateway(
        {
            "name": "http",
            "port": 80,
            "protocol": "HTTP",
            "hostname": "*.a.b",
            "allowedRoutes": {
                "namespaces": {"from": "Selector", "selector": {"matchLabels": {"a": "b"}}},
                "kinds": [{"group": GATEWAY, "kind": "HTTPRoute"}],
            },
        },
        {"name": "https", "port": 443, "protocol": "HTTPS", "hostname": "a.b", "tls": _TLS},
        tls={
            "frontend": {
                "default": {
                    "validation": {"caCertificateRefs": [{"group": "", "kind": "ConfigMap", "name": "ca"}]}
                },
                "perPort": [
                    {
                        "port": 443,
                        "tls": {
                            "validation": {
                                "mode": "AllowInsecureFallback",
                                "caCertificateRefs": [{"group": "", "kind": "ConfigMap", "name": "ca"}],
                            }
                        },
                    }
                ],
            },
            "backend": {"clientCertificateRef": {"name": "c", "namespace": "n"}},
        },
        addresses=[{"type": "IPAddress", "value": "1.2.3.4"}],
        infrastructure={
            "labels": {"a": "b"},
            "annotations": {"c": "d"},
            "parametersRef": {"group": "a.b", "kind": "K", "name": "n"},
        },
        allowedListeners={
            "namespaces": {
                "from": "Selector",
                "selector": {"matchExpressions": [{"key": "a", "operator": "In", "values": ["b"]}]},
            }
        },
    ),
    _gateway({"name": "http", "port": 80, "protocol": "HTTP"}),
    _made(
        f"{GATEWAY}/v1",
        "ListenerSet",
        {
            "parentRef": {"name": "g", "namespace": "n"},
            "listeners": [
                {"name": "http", "port": 80, "protocol": "HTTP"},
                {"name": "https", "port": 443, "protocol": "HTTPS", "hostname": "a.b", "tls": _TLS},
            ],
        },
    ),
    _made(f"{GATEWAY}/v1", "HTTPRoute", {"parentRefs": [{"name": "g"}]}),
    _route(
        {
            "name": "first",
            "matches": [
                {
                    "path": {"type": "Exact", "value": "/a"},
                    "method": "GET",
                    "headers": [{"type": "Exact", "name": "h", "value": "v"}],
                    "queryParams": [{"type": "RegularExpression", "name": "q", "value": "v"}],
                },
                {"path": {"type": "RegularExpression", "value": "/a.*"}},
            ],
            "filters": [
                {"type": "RequestHeaderModifier", "requestHeaderModifier": _HEADERS},
                {"type": "ResponseHeaderModifier", "responseHeaderModifier": _HEADERS},
                {
                    "type": "RequestMirror",
                    "requestMirror": {"backendRef": {"name": "s", "port": 80}, "percent": 5},
                },
                {
                    "type": "RequestMirror",
                    "requestMirror": {
                        "backendRef": {"name": "s", "port": 80},
                        "fraction": {"numerator": 1, "denominator": 3},
                    },
                },
                {
                    "type": "CORS",
                    "cors": {
                        "allowOrigins": ["https://*.a.b"],
                        "allowMethods": ["GET"],
                        "allowHeaders": ["x"],
                        "exposeHeaders": ["y"],
                        "allowCredentials": True,
                        "maxAge": 5,
                    },
                },
                {
                    "type": "URLRewrite",
                    "urlRewrite": {
                        "hostname": "a.b",
                        "path": {"type": "ReplaceFullPath", "replaceFullPath": "/x"},
                    },
                },
            ],
            "backendRefs": [
                {
                    **_BACKEND,
                    "filters": [{"type": "RequestHeaderModifier", "requestHeaderModifier": _HEADERS}],
                }
            ],
            "timeouts": {"request": "10s", "backendRequest": "5s"},
            "retry": {"codes": [500, 503], "attempts": 2, "backoff": "100ms"},
            "sessionPersistence": {
                "sessionName": "s",
                "type": "Cookie",
                "absoluteTimeout": "1h",
                "cookieConfig": {"lifetimeType": "Permanent"},
            },
        },
        hostnames=["a.b", "*.c.d"],
    ),
    _route(
        {
            "matches": [_PREFIX],
            "filters": [
                {
                    "type": "RequestRedirect",
                    "requestRedirect": {
                        "scheme": "https",
                        "hostname": "a.b",
                        "port": 8443,
                        "statusCode": 301,
                        "path": {"type": "ReplacePrefixMatch", "replacePrefixMatch": "/x"},
                    },
                }
            ],
        }
    ),
    _route(
        {
            "matches": [_PREFIX],
            "filters": [
                {
                    "type": "URLRewrite",
                    "urlRewrite": {"path": {"type": "ReplacePrefixMatch", "replacePrefixMatch": "/x"}},
                }
            ],
            "backendRefs": [_BACKEND],
        }
    ),
    _route(
        {"backendRefs": [{"group": INFERENCE, "kind": "InferencePool", "name": "p"}]},
        parentRefs=[
            {"name": "g", "sectionName": "a", "port": 80},
            {"name": "g", "sectionName": "b", "port": 80},
            {"group": "", "kind": "Service", "name": "s", "port": 80},
        ],
    ),
    _grpc(),
    _grpc(
        {
            "name": "first",
            "matches": [
                {
                    "method": {"type": "Exact", "service": "a.B", "method": "C"},
                    "headers": [{"name": "h", "value": "v"}],
                },
                {"method": {"type": "RegularExpression", "service": "a.*"}},
            ],
            "filters": [
                {"type": "RequestHeaderModifier", "requestHeaderModifier": _HEADERS},
                {"type": "ResponseHeaderModifier", "responseHeaderModifier": _HEADERS},
                {"type": "RequestMirror", "requestMirror": {"backendRef": {"name": "s", "port": 80}}},
            ],
            "backendRefs": [_BACKEND],
        }
    ),
    _made(
        f"{GATEWAY}/v1",
        "ReferenceGrant",
        {
            "from": [{"group": GATEWAY, "kind": "HTTPRoute", "namespace": "n"}],
            "to": [{"group": "", "kind": "Service", "name": "s"}],
        },
    ),
    _made(
        f"{GATEWAY}/v1",
        "BackendTLSPolicy",
        {
            "targetRefs": [{"group": "", "kind": "Service", "name": "s", "sectionName": "http"}],
            "validation": {
                "hostname": "a.b",
                "caCertificateRefs": [{"group": "", "kind": "ConfigMap", "name": "ca"}],
                "subjectAltNames": [
                    {"type": "Hostname", "hostname": "a.b"},
                    {"type": "URI", "uri": "spiffe://a/b"},
                ],
            },
        },
    ),
    _made(
        f"{GATEWAY}/v1",
        "BackendTLSPolicy",
        {
            "targetRefs": [{"group": "", "kind": "Service", "name": "s"}],
            "validation": {"hostname": "a.b", "wellKnownCACertificates": "System"},
        },
    ),
    _made(
        f"{INFERENCE}/v1",
        "InferencePool",
        {
            "selector": {"matchLabels": {"app": "x"}},
            "targetPorts": [{"number": 8000}, {"number": 8001}],
            "appProtocol": "http",
            "endpointPickerRef": {"name": "epp", "port": {"number": 9002}, "failureMode": "FailOpen"},
        },
    ),
    _made(
        f"{INFERENCE_X}/v1alpha2",
        "InferencePool",
        {
            "selector": {"app": "x"},
            "targetPortNumber": 8000,
            "extensionRef": {"name": "epp", "portNumber": 9002, "failureMode": "FailOpen"},
        },
    ),
    _made(
        f"{INFERENCE_X}/v1alpha2",
        "InferenceModel",
        {
            "modelName": "m",
            "criticality": "Critical",
            "poolRef": {"name": "p"},
            "targetModels": [{"name": "m-1", "weight": 10}, {"name": "m-2", "weight": 90}],
        },
    ),
    _made(f"{INFERENCE_X}/v1alpha2", "InferenceObjective", {"priority": 1, "poolRef": {"name": "p"}}),
)
