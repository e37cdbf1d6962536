"""Certificates in Secrets of files, while edits break and mend them."""

import base64

import pytest
from tests import manifests as manifest
from tests.live.harness.certificates import Authority

from headgate.io.extproc.tls import KeyPair
from headgate.io.sources.kept_pairs import KeptPairs
from headgate.model.objects import Object

CA = Authority()
FIRST, OTHER = CA.sign("a.example"), CA.sign("b.example")


def read(*, name: str = "tls", **values: bytes) -> Object:
    """The Secret with these values."""
    data = {key.replace("_", "."): base64.b64encode(value).decode() for key, value in values.items()}
    raw = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "data": data}
    (found,) = manifest.snapshot(raw).objects
    return found


def pair(of: KeyPair) -> Object:
    return read(tls_crt=of.chain, tls_key=of.key)


GOOD = pair(FIRST)


@pytest.mark.parametrize(
    ("broken", "says"),
    [
        (read(tls_crt=FIRST.chain, tls_key=OTHER.key), "not the key of the first certificate"),
        (read(tls_crt=b"hello", tls_key=FIRST.key), "no PEM certificate"),
        (read(tls_crt=FIRST.chain), "no key tls.key"),
        (read(tls_crt=b"", tls_key=b""), "no PEM certificate"),
    ],
)
def test_a_broken_pair_leaves_the_one_before_and_is_told_until_it_is_mended(
    broken: Object, says: str
) -> None:
    kept = KeptPairs()
    assert kept.sound(GOOD.identity, broken, GOOD) is GOOD
    (problem,) = kept.problems
    assert (problem.severity, problem.reason) == ("error", "InvalidCertificate")
    assert says in problem.message and "stay in force" in problem.message
    assert problem.place.object == "Secret default/tls"
    renewed = pair(OTHER)
    assert kept.sound(GOOD.identity, renewed, GOOD) is renewed
    assert kept.problems == ()


def test_nothing_is_kept_where_nothing_good_was_or_something_else_is_meant() -> None:
    kept = KeptPairs()
    broken, keys = read(tls_crt=b"hello", tls_key=b"hello"), read(alice=b"key")
    for found, before in ((broken, None), (broken, broken), (keys, GOOD), (None, GOOD), (GOOD, broken)):
        assert kept.sound(GOOD.identity, found, before) is found
        assert kept.problems == ()


def test_what_is_gone_is_told_no_more() -> None:
    kept = KeptPairs()
    kept.sound(GOOD.identity, read(tls_crt=b"hello"), GOOD)
    assert kept.sound(GOOD.identity, None, GOOD) is None
    assert kept.problems == ()
