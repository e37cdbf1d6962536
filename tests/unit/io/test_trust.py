"""Which CA certificates count for https model servers."""

import os
import ssl
from pathlib import Path

import pytest
from tests.live.harness.certificates import Authority

from headgate.io.trust import AuthoritiesError, Trust, bundle, context, default_trust, read_authorities


@pytest.fixture
def pem(tmp_path: Path) -> Path:
    path = tmp_path / "ca.pem"
    path.write_bytes(Authority().pem)
    return path


def test_the_bundle_is_the_environments_then_the_first_that_is_there(tmp_path: Path, pem: Path) -> None:
    known = (str(tmp_path / "not-here"), str(pem), str(tmp_path / "later"))
    assert bundle({}, known) == str(pem)
    assert bundle({"SSL_CERT_FILE": "/dev/null"}, known) == "/dev/null"
    assert bundle({"SSL_CERT_FILE": str(tmp_path / "gone")}, known) == str(pem)


def test_a_named_file_wins_and_must_be_good(tmp_path: Path, pem: Path) -> None:
    environ = {"SSL_CERT_FILE": "/dev/null"}
    assert default_trust(pem, insecure=False, environ=environ) == Trust(str(pem))
    assert default_trust(None, insecure=True, environ=environ) == Trust("/dev/null", insecure=True)
    with pytest.raises(AuthoritiesError, match=r"gone\.pem: it cannot be read: No such file"):
        default_trust(tmp_path / "gone.pem", insecure=False)


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "no PEM"),
        (b"hello", "no PEM"),
        (b"\xff\xfe", "no PEM"),
        (b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "no PEM"),
        (b"x" * (1 << 20) + b"x", "longer than 1 MiB"),
    ],
)
def test_what_holds_no_certificates_is_refused(tmp_path: Path, content: bytes, why: str) -> None:
    path = tmp_path / "ca.pem"
    path.write_bytes(content)
    with pytest.raises(AuthoritiesError, match=why):
        read_authorities(path)


def test_only_regular_files_are_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    for path in (tmp_path, tmp_path / "fifo"):
        with pytest.raises(AuthoritiesError, match="no regular file"):
            read_authorities(path)


def test_a_changed_file_counts_at_once(pem: Path) -> None:
    trust = Trust(str(pem))
    before = context(trust)
    assert context(trust) is before
    assert (before.verify_mode, len(before.get_ca_certs())) == (ssl.CERT_REQUIRED, 1)
    pem.write_bytes(pem.read_bytes() + Authority().pem)
    os.utime(pem, ns=(1, 1))
    assert len(context(trust).get_ca_certs()) == 2


def test_insecure_takes_anybody() -> None:
    taken = context(Trust("/nowhere", insecure=True))
    assert (taken.verify_mode, taken.check_hostname) == (ssl.CERT_NONE, False)
