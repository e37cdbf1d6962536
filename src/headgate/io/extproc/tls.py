"""The picker's certificate: self-signed at start, or read from a folder and read again when it changes."""

import datetime
import logging
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, Protocol

import grpc
import msgspec
from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

VALID = datetime.timedelta(days=3650)
KEY, CHAIN, AUTHORITIES = "tls.key", "tls.crt", "ca.crt"
RELOAD_S = 1.0
"""How often certificate files are looked at."""
SETTLED_NS = 2_000_000_000
"""Age at which a file's time of change says that it did not change since."""

log = logging.getLogger(__name__)


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
    key_file, chain_file = folder / KEY, folder / CHAIN
    pair = KeyPair(key_file.read_bytes(), chain_file.read_bytes())
    _check_pair(pair, folder)
    return pair


def _check_pair(pair: KeyPair, folder: Path) -> None:
    key_file, chain_file = folder / KEY, folder / CHAIN
    first, *_ = _certificates(pair.chain, chain_file)
    try:
        # An RSA key's numbers are not proved prime, which takes up to a third of a second: it is our own.
        key = serialization.load_pem_private_key(pair.key, None, unsafe_skip_rsa_key_validation=True)
        belongs = key.public_key() == first.public_key()
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise ValueError(f"{key_file}: no private key in PEM that can be read without a password") from None
    if not belongs:
        raise ValueError(f"{key_file}: not the private key of the first certificate in {chain_file}")


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


class Material(msgspec.Struct, frozen=True):
    """What a port shows, and asks for."""

    pair: KeyPair
    client_ca: bytes | None = None
    """PEM; clients must show a certificate signed by one of these."""


def checked(material: Material, where: str) -> Material:
    """The same. Raises ValueError, which says *where*, when it is no certificate, its key and authorities."""
    _check_pair(material.pair, Path(where))
    if material.client_ca is not None:
        _certificates(material.client_ca, Path(where) / AUTHORITIES)
    return material


class Follows(Protocol):
    """Where a port's certificates come from."""

    current: Material
    """What is to be used now."""

    def follow(self, changed: Callable[[Material], None] = ...) -> None:
        """*changed* is called, on any thread, when `current` is another, until `stop`."""

    def stop(self) -> None:
        """Follow no more."""


class CertificateFiles:
    """The files of a port's certificates, looked at again and again on a thread of their own.

    Nothing is parsed, nor read, before it looks different; what is not whole keeps what was there before.
    """

    def __init__(self, folder: Path | None, client_ca: Path | None) -> None:
        """*folder* None: a self-signed pair, that stays. Raises as `read_pair` does."""
        self._folder, self._client_ca = folder, client_ca
        pair = self_signed(datetime.datetime.now(datetime.UTC)) if folder is None else read_pair(folder)
        self.current = Material(pair, None if client_ca is None else read_authorities(client_ca))
        """What is to be used now."""
        self._paths = (*(() if folder is None else (folder / KEY, folder / CHAIN)), client_ca)
        self._stamps: tuple[tuple[int, ...], ...] | None = None
        self._seen: tuple[bytes, ...] = ()
        self._stopped = threading.Event()

    def look(self) -> bool:
        """Reads what changed; whether `current` is new. Blocks as long as the files do."""
        paths = [path for path in self._paths if path is not None]
        try:
            stamps = tuple(_stamp(path) for path in paths)
            if stamps == self._stamps:
                return False
            seen = tuple(path.read_bytes() for path in paths)
        except OSError as error:
            log.debug("certificates kept: %s", error)
            return False
        # A file written a moment ago may change again and have the same stamp.
        settled = all(time.time_ns() - stamp[0] > SETTLED_NS for stamp in stamps)
        self._stamps = stamps if settled else None
        if seen == self._seen:
            return False
        self._seen = seen
        try:
            new = self._checked(list(seen))
        except ValueError as error:
            log.warning("certificates kept: %s", error)
            return False
        if new == self.current:
            return False
        self.current = new
        return True

    def _checked(self, contents: list[bytes]) -> Material:
        pair, authorities = self.current.pair, None
        if self._folder is not None:
            pair = KeyPair(contents.pop(0), contents.pop(0))
            _check_pair(pair, self._folder)
        if self._client_ca is not None:
            authorities = contents.pop(0)
            _certificates(authorities, self._client_ca)
        return Material(pair, authorities)

    def follow(self, changed: Callable[[Material], None] = lambda _: None) -> None:
        """Looks every `RELOAD_S` until `stop`; *changed* is called on the thread that looks."""

        def run() -> None:
            while not self._stopped.wait(RELOAD_S):
                try:
                    if self.look():
                        changed(self.current)
                        log.info("new certificates from %s", ", ".join(map(str, filter(None, self._paths))))
                except Exception:
                    log.exception("certificates kept")

        # A file system that hangs holds up neither requests nor the end of the process.
        threading.Thread(target=run, name="headgate-certificates", daemon=True).start()

    def stop(self) -> None:
        """Looks no more."""
        self._stopped.set()


def _stamp(path: Path) -> tuple[int, ...]:
    found = path.stat()
    return found.st_mtime_ns, found.st_size, found.st_ino, found.st_dev


class Certificates(msgspec.Struct, frozen=True, kw_only=True):
    """A port's certificates."""

    files: Follows
    reload: bool = False
    """Follow changes."""
    min_version: Literal["1.2", "1.3"] = "1.2"
    """Lowest TLS version; the portable wire cannot refuse 1.2."""


def server_credentials(certificates: Certificates) -> grpc.ServerCredentials:
    """For the gRPC server; with `reload`, new connections get the newest of the files."""
    files = certificates.files
    current = files.current
    asks = current.client_ca is not None
    if not certificates.reload:
        pairs = [(current.pair.key, current.pair.chain)]
        return grpc.ssl_server_credentials(pairs, current.client_ca, asks)
    given = current

    def configuration() -> Any:
        return grpc.ssl_server_certificate_configuration(
            [(given.pair.key, given.pair.chain)], given.client_ca
        )

    def fetch() -> Any:
        nonlocal given
        newest = files.current
        if newest is given:
            return None
        given = newest
        return configuration()

    return grpc.dynamic_ssl_server_credentials(configuration(), fetch, asks)
