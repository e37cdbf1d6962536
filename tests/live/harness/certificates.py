"""Certificate authorities of a test, and what they sign."""

import datetime
import ssl
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from headgate.io.extproc.tls import KeyPair


class Authority:
    """Signs certificates, its own one first."""

    def __init__(self) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        # Chains are built by name: two authorities of one name would be taken for each other.
        name = f"authority {x509.random_serial_number()}"
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        self.pem = self._certificate(self._name, self._key, authority=True)

    def sign(self, name: str, curve: ec.EllipticCurve | None = None) -> KeyPair:
        """A fresh key and a certificate over it for the host *name*, which servers and clients can use."""
        key = ec.generate_private_key(curve or ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        pem = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        return KeyPair(pem, self._certificate(subject, key, authority=False))

    def _certificate(self, subject: x509.Name, key: ec.EllipticCurvePrivateKey, *, authority: bool) -> bytes:
        now = datetime.datetime.now(datetime.UTC)
        (common,) = subject.get_attributes_for_oid(NameOID.COMMON_NAME)
        certificate = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(minutes=5))
            .not_valid_after(now + datetime.timedelta(hours=1))
            .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
            .add_extension(x509.SubjectAlternativeName([x509.DNSName(str(common.value))]), critical=False)
            .sign(self._key, hashes.SHA256())
        )
        return certificate.public_bytes(serialization.Encoding.PEM)


def server_tls(folder: Path, pair: KeyPair) -> ssl.SSLContext:
    """What a server that shows *pair* is run with; the files stay in *folder*."""
    write_pair(folder, pair)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "tls.crt", folder / "tls.key")
    return context


def write_pair(folder: Path, pair: KeyPair) -> Path:
    """*folder* with the two files of *pair*, as a Kubernetes Secret is mounted."""
    folder.mkdir(exist_ok=True)
    (folder / "tls.key").write_bytes(pair.key)
    (folder / "tls.crt").write_bytes(pair.chain)
    return folder
