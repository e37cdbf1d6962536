"""Whom an https model server must be signed by: one answer for probes, scrapes and Envoy."""

import logging
import os
import ssl
import stat
from collections.abc import Iterable, Mapping
from functools import lru_cache
from pathlib import Path

import msgspec

log = logging.getLogger(__name__)

MAX_BYTES = 1 << 20
"""Of a file of CA certificates; the largest public bundles have a quarter of that."""

BUNDLES = (
    "/etc/ssl/certs/ca-certificates.crt",  # Debian, Ubuntu, Arch, Alpine
    "/etc/pki/tls/certs/ca-bundle.crt",  # Fedora, RHEL, Amazon Linux
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",  # RHEL 7 and later
    "/etc/ssl/ca-bundle.pem",  # openSUSE, SLES
    "/etc/ssl/cert.pem",  # Alpine, macOS
    "/usr/local/share/certs/ca-root-nss.crt",  # FreeBSD
)
"""Where systems keep the public CA certificates."""

ENVIRONMENT = "SSL_CERT_FILE"


class AuthoritiesError(ValueError):
    """A file that holds no usable CA certificates; the message says why and does not name the file."""


class Trust(msgspec.Struct, frozen=True):
    """What certificates are checked by where a ModelServer does not say otherwise."""

    ca_file: str = ""
    """PEM file; empty: OpenSSL's own default."""
    insecure: bool = False
    """Any certificate will do."""


def default_trust(named: Path | None, *, insecure: bool, environ: Mapping[str, str] = os.environ) -> Trust:
    """By the file *named*, else by the one in SSL_CERT_FILE, else by the system's bundle.

    Raises:
        AuthoritiesError: *named* holds no CA certificates; the message names it.
    """
    if named is not None:
        try:
            read_authorities(named)
        except AuthoritiesError as error:
            raise AuthoritiesError(f"{named}: {error}") from None
        return Trust(str(named.absolute()), insecure)
    return Trust(bundle(environ), insecure)


def bundle(environ: Mapping[str, str] = os.environ, known: Iterable[str] = BUNDLES) -> str:
    """The file of CA certificates that this machine uses; empty when there is none."""
    asked = environ.get(ENVIRONMENT)
    if asked:
        if os.access(asked, os.R_OK):
            return asked
        log.warning(
            "%s names %s, which cannot be read: the system's certificates are used", ENVIRONMENT, asked
        )
    found = next((path for path in known if os.access(path, os.R_OK)), None)
    return found or ssl.get_default_verify_paths().cafile or ""


def read_authorities(path: Path) -> str:
    """The CA certificates in *path*, as PEM text.

    Raises:
        AuthoritiesError: it cannot be read, is no regular file, is too large, or has no valid certificate.
    """
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise AuthoritiesError("it is no regular file")
        with path.open("rb") as file:
            raw = file.read(MAX_BYTES + 1)
    except (OSError, ValueError) as error:
        if isinstance(error, AuthoritiesError):
            raise
        raise AuthoritiesError(f"it cannot be read: {getattr(error, 'strerror', None) or error}") from None
    if len(raw) > MAX_BYTES:
        raise AuthoritiesError(f"it is longer than {MAX_BYTES >> 20} MiB")
    try:
        text = raw.decode("ascii")
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.load_verify_locations(cadata=text)
    except (UnicodeDecodeError, ssl.SSLError, ValueError):
        raise AuthoritiesError("it holds no PEM certificates") from None
    return text


def context(trust: Trust) -> ssl.SSLContext:
    """What a client of an https server checks its certificate with; a changed file counts at once.

    Raises:
        OSError: the file cannot be read (ssl.SSLError: it holds no certificates).
    """
    changed = Path(trust.ca_file).stat().st_mtime_ns if trust.ca_file and not trust.insecure else 0
    return _context(trust, changed)


@lru_cache(maxsize=64)
def _context(trust: Trust, _changed: int) -> ssl.SSLContext:
    if not trust.insecure:
        return ssl.create_default_context(cafile=trust.ca_file or None)
    anybody = ssl.create_default_context()
    anybody.check_hostname = False
    anybody.verify_mode = ssl.CERT_NONE
    return anybody
