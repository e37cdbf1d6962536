"""Mutual TLS between the Envoys that are made on a cluster and Headgate's own parts: controllers and picker.

An Envoy shows the certificate that the controllers issued it, and believes whom their authority signed. Both
are files in its Pod, which it reads again when they change.
"""

from collections.abc import Mapping
from typing import Any

Json = Mapping[str, Any]

CERTIFICATES = "/etc/headgate/tls"
"""Folder of the Secret with `tls.crt`, `tls.key` and `ca.crt`."""

SECRETS = "/etc/headgate/envoy"
"""Folder of the ConfigMap with the bootstrap and `secrets`."""

_TLS = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3"


def secrets() -> Mapping[str, Json]:
    """File of SECRETS → where Envoy finds its certificate and whom it trusts."""
    folder = {"path": CERTIFICATES}
    certificate = {
        "certificateChain": {"filename": f"{CERTIFICATES}/tls.crt"},
        "privateKey": {"filename": f"{CERTIFICATES}/tls.key"},
        "watchedDirectory": folder,
    }
    authority = {"trustedCa": {"filename": f"{CERTIFICATES}/ca.crt"}, "watchedDirectory": folder}
    return {
        "certificate.json": _secret({"name": "certificate", "tlsCertificate": certificate}),
        "authority.json": _secret({"name": "authority", "validationContext": authority}),
    }


def transport_socket(host: str) -> dict[str, Any]:
    """Towards a part of Headgate whose certificate names *host*, a host's name or an IP address."""
    names = [{"sanType": kind, "matcher": {"exact": host}} for kind in ("DNS", "IP_ADDRESS")]
    context = {
        "@type": f"{_TLS}.UpstreamTlsContext",
        "sni": host,
        "commonTlsContext": {
            "tlsParams": {
                "tlsMinimumProtocolVersion": "TLSv1_3",
                "tlsMaximumProtocolVersion": "TLSv1_3",
            },
            "alpnProtocols": ["h2"],
            "tlsCertificateSdsSecretConfigs": [_from_file("certificate")],
            "combinedValidationContext": {
                "defaultValidationContext": {"matchTypedSubjectAltNames": names},
                "validationContextSdsSecretConfig": _from_file("authority"),
            },
        },
    }
    return {"name": "envoy.transport_sockets.tls", "typedConfig": context}


def _secret(secret: Json) -> Json:
    return {"resources": [{"@type": f"{_TLS}.Secret", **secret}]}


def _from_file(name: str) -> Json:
    source = {"pathConfigSource": {"path": f"{SECRETS}/{name}.json"}, "resourceApiVersion": "V3"}
    return {"name": name, "sdsConfig": source}
