"""Secrets (SDS): certificates that listeners and the gateway itself show."""

from headgate.gateway.envoy.names import Json
from headgate.model.tls_material import Pair

HIDDEN = "(not shown)"


def certificate(name: str, pair: Pair) -> Json:
    """A certificate with its private key: for Envoy alone."""
    return {
        "name": name,
        "tls_certificate": {
            "certificate_chain": {"inline_string": pair.chain},
            "private_key": {"inline_string": pair.key},
        },
    }


def shown(secret: Json) -> Json:
    """The same for people."""
    certificate = {**secret["tls_certificate"], "private_key": {"inline_string": HIDDEN}}
    return {**secret, "tls_certificate": certificate}
