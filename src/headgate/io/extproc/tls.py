"""The picker's certificate: self-signed at start, or read from a folder and read again when it changes."""

import datetime
from pathlib import Path
from typing import Any

import grpc
import msgspec
from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
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
    """`tls.key` and `tls.crt` of *folder*.

    Raises OSError when one cannot be read, ValueError when they are no certificate and its key.
    """
    key_file, chain_file = folder / "tls.key", folder / "tls.crt"
    pair = KeyPair(key_file.read_bytes(), chain_file.read_bytes())
    first, *_ = _certificates(pair.chain, chain_file)
    try:
        key = serialization.load_pem_private_key(pair.key, None)
        belongs = key.public_key() == first.public_key()
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise ValueError(f"{key_file}: no private key in PEM that can be read without a password") from None
    if not belongs:
        raise ValueError(f"{key_file}: not the private key of the first certificate in {chain_file}")
    return pair


def read_authorities(file: Path) -> bytes:
    """The certificates of *file*, PEM; raises OSError when it cannot be read, ValueError when it has none."""
    pem = file.read_bytes()
    _certificates(pem, file)
    return pem


def _certificates(pem: bytes, file: Path) -> list[x509.Certificate]:
    try:
        return x509.load_pem_x509_certificates(pem)
    except ValueError:
        raise ValueError(f"{file}: no certificates in PEM") from None


def fixed_credentials(pair: KeyPair, client_ca: bytes | None = None) -> grpc.ServerCredentials:
    """Server credentials that stay. *client_ca*: clients must show a certificate signed by one of these."""
    return grpc.ssl_server_credentials([(pair.key, pair.chain)], client_ca, client_ca is not None)


def reloading_credentials(folder: Path, client_ca: bytes | None = None) -> grpc.ServerCredentials:
    """The same following the files of *folder*; a half-written pair keeps the one before."""

    current = read_pair(folder)

    def configuration() -> Any:
        return grpc.ssl_server_certificate_configuration([(current.key, current.chain)], client_ca)

    def fetch() -> Any:
        nonlocal current
        try:
            pair = read_pair(folder)
        except (OSError, ValueError):
            return None
        if pair == current:
            return None
        current = pair
        return configuration()

    return grpc.dynamic_ssl_server_credentials(configuration(), fetch, client_ca is not None)
