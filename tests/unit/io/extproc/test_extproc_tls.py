"""Certificates."""

import datetime
import os
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization

from headgate.io.extproc import tls
from headgate.io.extproc.tls import CertificateFiles, KeyPair, read_authorities, read_pair, self_signed

NOW = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)


def test_a_self_signed_pair_is_valid_around_now_and_usable() -> None:
    pair = self_signed(NOW)
    certificate = x509.load_pem_x509_certificate(pair.chain)
    assert certificate.not_valid_before_utc < NOW < certificate.not_valid_after_utc
    assert self_signed(NOW).key != pair.key


def test_a_folder_with_both_files_is_read(tmp_path: Path) -> None:
    pair = self_signed(NOW)
    with pytest.raises(FileNotFoundError):
        read_pair(tmp_path)
    (tmp_path / "tls.key").write_bytes(pair.key)
    (tmp_path / "tls.crt").write_bytes(pair.chain)
    assert read_pair(tmp_path) == pair


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


def write(folder: Path, pair: KeyPair) -> None:
    (folder / "tls.key").write_bytes(pair.key)
    (folder / "tls.crt").write_bytes(pair.chain)


def settle(folder: Path) -> None:
    """As if the files had been written a while ago."""
    for path in folder.iterdir():
        os.utime(path, (1_700_000_000, 1_700_000_000))


class Counted:
    """How often files were read and keys parsed."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.reads = self.keys = 0
        read, load = Path.read_bytes, serialization.load_pem_private_key

        def counted_read(path: Path) -> bytes:
            self.reads += 1
            return read(path)

        def counted_load(*args: Any, **options: Any) -> Any:
            self.keys += 1
            return load(*args, **options)

        monkeypatch.setattr(Path, "read_bytes", counted_read)
        monkeypatch.setattr(serialization, "load_pem_private_key", counted_load)


def test_files_that_did_not_change_are_neither_parsed_nor_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path, PAIR)
    (tmp_path / "ca.pem").write_bytes(PAIR.chain)
    files = CertificateFiles(tmp_path, tmp_path / "ca.pem")
    assert not files.look()
    counted = Counted(monkeypatch)
    assert not any(files.look() for _ in range(10))
    assert counted.keys == 0
    settle(tmp_path)
    files.look()
    counted.reads = 0
    assert not any(files.look() for _ in range(10))
    assert (counted.reads, counted.keys) == (0, 0)


def test_a_new_pair_and_new_authorities_are_found(tmp_path: Path) -> None:
    write(tmp_path, PAIR)
    (tmp_path / "ca.pem").write_bytes(PAIR.chain)
    files = CertificateFiles(tmp_path, tmp_path / "ca.pem")
    files.look()
    other = self_signed(NOW)
    write(tmp_path, other)
    assert files.look()
    assert files.current == tls.Material(other, PAIR.chain)
    (tmp_path / "ca.pem").write_bytes(other.chain)
    assert files.look()
    assert files.current == tls.Material(other, other.chain)
    assert not files.look()


@pytest.mark.parametrize("broken", ["tls.key", "tls.crt", "ca.pem"])
def test_what_is_not_whole_is_parsed_once_and_keeps_what_was(
    tmp_path: Path, broken: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    write(tmp_path, PAIR)
    (tmp_path / "ca.pem").write_bytes(PAIR.chain)
    files = CertificateFiles(tmp_path, tmp_path / "ca.pem")
    before = files.current
    (tmp_path / broken).write_bytes(b"half of")
    counted = Counted(monkeypatch)
    assert not any(files.look() for _ in range(10))
    assert files.current is before
    assert counted.keys <= 1
    assert len(caplog.records) == 1
    assert str(tmp_path / broken) in caplog.text
    (tmp_path / broken).unlink()
    assert not files.look()
    write(tmp_path, PAIR)
    other = self_signed(NOW)
    (tmp_path / "ca.pem").write_bytes(other.chain)
    assert files.look()
    assert files.current.client_ca == other.chain


def test_a_file_that_changes_within_its_stamp_is_seen(tmp_path: Path) -> None:
    other = self_signed(NOW)
    (tmp_path / "ca.pem").write_bytes(PAIR.chain)
    files = CertificateFiles(None, tmp_path / "ca.pem")
    files.look()
    stamp = (tmp_path / "ca.pem").stat()
    size = max(len(PAIR.chain), len(other.chain))
    (tmp_path / "ca.pem").write_bytes(other.chain.ljust(size, b"\n"))
    os.utime(tmp_path / "ca.pem", ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
    assert files.look()
