"""Certificates of a cluster's own parts: an authority, what it signs, and when that is made anew."""

import base64
import binascii
import datetime
import ipaddress
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from headgate.model.tls_material import AUTHORITIES, CHAIN, KEY

AUTHORITY_VALID = datetime.timedelta(days=3650)
VALID = datetime.timedelta(days=30)
"""Of what it signs."""
EARLY = datetime.timedelta(minutes=5)
"""Clocks differ."""

PREFIX = "spiffe://headgate.dev/gateway/"
"""Beginning of the URI in an Envoy's certificate; `namespace/name` of its Gateway follows."""


def uri_of(dataplane: str) -> str:
    """In the certificate of the Envoy of the Gateway *dataplane*, `namespace/name`."""
    return f"{PREFIX}{dataplane}"


class Signed(msgspec.Struct, frozen=True):
    """A certificate, its key, and whom its owner is to trust, PEM."""

    certificate: bytes
    key: bytes
    authorities: bytes

    def data(self) -> dict[str, str]:
        """As a Secret's `data`."""
        values = {CHAIN: self.certificate, KEY: self.key, AUTHORITIES: self.authorities}
        return {name: base64.b64encode(value).decode() for name, value in values.items()}

    def __repr__(self) -> str:
        """Nothing of it."""
        return "Signed()"


def from_secret(raw: object) -> Signed | None:
    """What a Secret holds; None when that is no certificate with its key and authorities."""
    found = raw.get("data") if isinstance(raw, Mapping) else None
    data = found if isinstance(found, Mapping) else {}
    try:
        values = [base64.b64decode(str(data[name]), validate=True) for name in (CHAIN, KEY, AUTHORITIES)]
        x509.load_pem_x509_certificate(values[0])
        serialization.load_pem_private_key(values[1], None)
        x509.load_pem_x509_certificates(values[2])
    except (TypeError, KeyError, ValueError, binascii.Error):
        return None
    return Signed(*values)


def is_fresh(signed: Signed, now: datetime.datetime) -> bool:
    """Whether more than a third of its time is left."""
    found = x509.load_pem_x509_certificate(signed.certificate)
    whole = found.not_valid_after_utc - found.not_valid_before_utc
    return found.not_valid_before_utc <= now < found.not_valid_after_utc - whole / 3


def new_authority(now: datetime.datetime, before: Signed | None = None) -> Signed:
    """A fresh authority. What *before* signed is trusted on, for as long as that is valid."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name(
        [x509.NameAttribute(NameOID.COMMON_NAME, f"headgate xDS {x509.random_serial_number():x}")]
    )
    made = (
        _builder(name, name, key, now, AUTHORITY_VALID)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
        .public_bytes(serialization.Encoding.PEM)
    )
    trusted = made + (before.certificate if before is not None else b"")
    return Signed(made, _pem(key), trusted)


def sign_server(authority: Signed, names: Sequence[str], now: datetime.datetime) -> Signed:
    """For a server of these host names and addresses."""
    return _sign(authority, [_general(each) for each in names], ExtendedKeyUsageOID.SERVER_AUTH, now)


def sign_client(authority: Signed, dataplane: str, now: datetime.datetime) -> Signed:
    """For the Envoy of the Gateway *dataplane*, `namespace/name`."""
    names = [x509.UniformResourceIdentifier(uri_of(dataplane))]
    return _sign(authority, names, ExtendedKeyUsageOID.CLIENT_AUTH, now)


def is_of(signed: Signed, authority: Signed, dataplane: str) -> bool:
    """Whether *authority* signed it for the Envoy of *dataplane*, and it trusts whom it should."""
    found = x509.load_pem_x509_certificate(signed.certificate)
    if not _issued(found, x509.load_pem_x509_certificate(authority.certificate)):
        return False
    try:
        names = found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (ValueError, x509.ExtensionNotFound):
        return False
    its_uris = names.get_values_for_type(x509.UniformResourceIdentifier)
    return its_uris == [uri_of(dataplane)] and signed.authorities == authority.authorities


def serves(signed: Signed, authority: Signed, name: str) -> bool:
    """Whether it is a server's of this name, signed by anybody whom those trust who trust *authority*."""
    found = x509.load_pem_x509_certificate(signed.certificate)
    try:
        names = found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (ValueError, x509.ExtensionNotFound):
        return False
    trusted = x509.load_pem_x509_certificates(authority.authorities)
    return _general(name) in names and any(_issued(found, each) for each in trusted)


def _issued(certificate: x509.Certificate, issuer: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(issuer)
    except (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm):
        return False
    return True


def _sign(
    authority: Signed, names: Sequence[x509.GeneralName], use: x509.ObjectIdentifier, now: datetime.datetime
) -> Signed:
    issuer = x509.load_pem_x509_certificate(authority.certificate)
    signer: Any = serialization.load_pem_private_key(authority.key, None)
    key = ec.generate_private_key(ec.SECP256R1())
    made = (
        _builder(x509.Name([]), issuer.subject, key, now, VALID)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName(names), critical=True)
        .add_extension(x509.ExtendedKeyUsage([use]), critical=False)
        .sign(signer, hashes.SHA256())
    )
    return Signed(made.public_bytes(serialization.Encoding.PEM), _pem(key), authority.authorities)


def _builder(
    subject: x509.Name,
    issuer: x509.Name,
    key: ec.EllipticCurvePrivateKey,
    now: datetime.datetime,
    valid: datetime.timedelta,
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - EARLY)
        .not_valid_after(now + valid)
    )


def _general(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
