"""The picker's certificate: self-signed at start, or read from a folder and read again when it changes."""

import datetime
from pathlib import Path
from typing import Any

import grpc
import msgspec
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

VALID = datetime.timedelta(days=3650)


class KeyPair(msgspec.Struct, frozen=True):
    """A certificate chain and its private key, PEM."""

    key: bytes
    chain: bytes


def self_signed(now: datetime.datetime) -> KeyPair:
    """A fresh P-256 key and a certificate over it, valid ten years from *now*; gateways do not verify it."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "headgate-picker")])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(minutes=5))
        .not_valid_after(now + VALID)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return KeyPair(pem, certificate.public_bytes(serialization.Encoding.PEM))


def read_pair(folder: Path) -> KeyPair:
    """`tls.key` and `tls.crt` of *folder*; raises OSError when one cannot be read."""
    return KeyPair((folder / "tls.key").read_bytes(), (folder / "tls.crt").read_bytes())


def fixed_credentials(pair: KeyPair) -> grpc.ServerCredentials:
    """Server credentials that stay."""
    return grpc.ssl_server_credentials([(pair.key, pair.chain)])


def reloading_credentials(folder: Path) -> grpc.ServerCredentials:
    """Server credentials that follow the files of *folder*; a half-written pair keeps the one before."""

    current = read_pair(folder)

    def fetch() -> Any:
        nonlocal current
        try:
            pair = read_pair(folder)
        except OSError:
            return None
        if pair == current:
            return None
        current = pair
        return grpc.ssl_server_certificate_configuration([(pair.key, pair.chain)])

    first = grpc.ssl_server_certificate_configuration([(current.key, current.chain)])
    return grpc.dynamic_ssl_server_credentials(first, fetch)
