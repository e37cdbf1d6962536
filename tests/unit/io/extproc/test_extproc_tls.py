"""Certificates."""

import datetime
from pathlib import Path

import pytest
from cryptography import x509

from headgate.io.extproc.tls import fixed_credentials, read_pair, reloading_credentials, self_signed

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
