"""Certificates."""

import datetime
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization

from headgate.io.extproc.tls import (
    KeyPair,
    fixed_credentials,
    read_authorities,
    read_pair,
    reloading_credentials,
    self_signed,
)

NOW = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)


def test_a_self_signed_pair_is_valid_around_now_and_usable() -> None:
    pair = self_signed(NOW)
    certificate = x509.load_pem_x509_certificate(pair.chain)
    assert certificate.not_valid_before_utc < NOW < certificate.not_valid_after_utc
    assert self_signed(NOW).key != pair.key
    assert fixed_credentials(pair) is not None


def test_a_folder_with_both_files_is_read(tmp_path: Path) -> None:
    pair = self_signed(NOW)
    with pytest.raises(FileNotFoundError):
        read_pair(tmp_path)
    (tmp_path / "tls.key").write_bytes(pair.key)
    (tmp_path / "tls.crt").write_bytes(pair.chain)
    assert read_pair(tmp_path) == pair
    assert reloading_credentials(tmp_path) is not None


PAIR = self_signed(NOW)
LOCKED = serialization.load_pem_private_key(PAIR.key, None).private_bytes(
    serialization.Encoding.PEM,
    serialization.PrivateFormat.PKCS8,
    serialization.BestAvailableEncryption(b"secret"),
)


@pytest.mark.parametrize(
    ("pair", "file", "why"),
    [
        (KeyPair(PAIR.key, b""), "tls.crt", "no certificates"),
        (KeyPair(PAIR.key, PAIR.key), "tls.crt", "no certificates"),
        (KeyPair(PAIR.key, PAIR.chain[:100]), "tls.crt", "no certificates"),
        (KeyPair(b"nonsense", PAIR.chain), "tls.key", "no private key"),
        (KeyPair(PAIR.chain, PAIR.chain), "tls.key", "no private key"),
        (KeyPair(LOCKED, PAIR.chain), "tls.key", "without a password"),
        (KeyPair(self_signed(NOW).key, PAIR.chain), "tls.key", "not the private key of"),
    ],
    ids=["none", "a key", "half", "no key", "a certificate", "locked", "another key"],
)
def test_what_is_wrong_with_a_pair_is_told_with_the_file(
    tmp_path: Path, pair: KeyPair, file: str, why: str
) -> None:
    (tmp_path / "tls.key").write_bytes(pair.key)
    (tmp_path / "tls.crt").write_bytes(pair.chain)
    with pytest.raises(ValueError, match=why) as told:
        read_pair(tmp_path)
    assert str(told.value).startswith(f"{tmp_path / file}: ")


def test_authorities_are_one_certificate_or_more(tmp_path: Path) -> None:
    file = tmp_path / "ca.pem"
    with pytest.raises(FileNotFoundError):
        read_authorities(file)
    file.write_bytes(PAIR.key)
    with pytest.raises(ValueError, match="no certificates in PEM"):
        read_authorities(file)
    both = b"# ours\n" + PAIR.chain + self_signed(NOW).chain
    file.write_bytes(both)
    assert read_authorities(file) == both
