"""Certificates and keys as objects hold them, checked before Envoy sees them. No message shows a value."""

import base64
import binascii
from collections.abc import Mapping
from typing import Any

import msgspec
from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization

from headgate.model.objects import ConfigMap, Secret

CHAIN, KEY, AUTHORITIES = "tls.crt", "tls.key", "ca.crt"
"""Keys of Secrets and ConfigMaps, as Kubernetes has them."""

LONGEST = 1 << 20
"""Bytes of one value."""


class Pair(msgspec.Struct, frozen=True):
    """A certificate chain and its private key, PEM."""

    chain: str
    key: str

    def __repr__(self) -> str:
        """Nothing of it."""
        return "Pair(...)"


def read_pair(secret: Secret) -> Pair | str:
    """The pair in a Secret, or a sentence that says what is wrong with it."""
    values = [read_value(secret, name) for name in (CHAIN, KEY)]
    for value in values:
        if isinstance(value, ValueError):
            return str(value)
    chain, key = map(str, values)
    try:
        certificates = x509.load_pem_x509_certificates(chain.encode())
    except ValueError:
        return f"{CHAIN} is no PEM certificate"
    try:
        private = serialization.load_pem_private_key(key.encode(), None)
    except TypeError:
        return f"{KEY} is encrypted; write it without a passphrase"
    except (ValueError, UnsupportedAlgorithm):
        return f"{KEY} is no PEM private key"
    form = (serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    if private.public_key().public_bytes(*form) != certificates[0].public_key().public_bytes(*form):
        return f"{KEY} is not the key of the first certificate in {CHAIN}"
    return Pair(chain, key)


def read_authorities(found: ConfigMap | Secret) -> str | ValueError:
    """The CA certificates (PEM) in an object, or what is wrong with them."""
    if isinstance(found, ConfigMap):
        if AUTHORITIES not in found.data:
            return ValueError(f"it has no key {AUTHORITIES}")
        value: str | ValueError = found.data[AUTHORITIES]
    else:
        value = read_value(found, AUTHORITIES)
    if isinstance(value, ValueError):
        return value
    try:
        x509.load_pem_x509_certificates(value.encode())
    except ValueError:
        return ValueError(f"{AUTHORITIES} is no PEM certificate")
    return value


def read_value(secret: Secret, name: str) -> str | ValueError:
    """One value of a Secret as text; `stringData` counts before `data`."""
    text: Any = secret.string_data.get(name) if isinstance(secret.string_data, Mapping) else None
    if text is None:
        encoded: Any = secret.data.get(name) if isinstance(secret.data, Mapping) else None
        if encoded is None:
            return ValueError(f"it has no key {name}")
        try:
            text = base64.b64decode(encoded, validate=True).decode()
        except (ValueError, TypeError, binascii.Error):
            return ValueError(f"data.{name} must be base64 of text; plain text belongs below stringData")
    if not isinstance(text, str):
        return ValueError(f"stringData.{name} must be a string: write it in quotes")
    if len(text) > LONGEST:
        return ValueError(f"{name} is longer than {LONGEST} bytes")
    return text
