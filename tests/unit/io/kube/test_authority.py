"""Certificates of xDS: whom they are for, and when they are made anew."""

import datetime

from cryptography import x509

from headgate.io.kube.authority import (
    Signed,
    from_secret,
    is_fresh,
    is_of,
    new_authority,
    sign_client,
    sign_server,
    uri_of,
)

NOW = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
DAY = datetime.timedelta(days=1)


def names(signed: Signed) -> x509.SubjectAlternativeName:
    found = x509.load_pem_x509_certificate(signed.certificate)
    return found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value


def test_an_envoy_is_told_by_its_uri_and_a_server_by_its_names() -> None:
    authority = new_authority(NOW)
    client = sign_client(authority, "infra/gate", NOW)
    assert names(client).get_values_for_type(x509.UniformResourceIdentifier) == [uri_of("infra/gate")]
    server = sign_server(authority, ["headgate.svc", "10.0.0.1"], NOW)
    assert names(server).get_values_for_type(x509.DNSName) == ["headgate.svc"]
    assert [str(each) for each in names(server).get_values_for_type(x509.IPAddress)] == ["10.0.0.1"]
    assert client.authorities == server.authorities == authority.certificate
    assert "BEGIN" not in repr(client)


def test_a_certificate_counts_for_its_gateway_and_its_authority_alone() -> None:
    authority, other = new_authority(NOW), new_authority(NOW)
    client = sign_client(authority, "infra/gate", NOW)
    assert is_of(client, authority, "infra/gate")
    assert not is_of(client, authority, "infra/other")
    assert not is_of(client, other, "infra/gate")


def test_it_is_made_anew_when_a_third_of_its_time_is_left() -> None:
    client = sign_client(new_authority(NOW), "infra/gate", NOW)
    assert is_fresh(client, NOW) and is_fresh(client, NOW + 19 * DAY)
    assert not is_fresh(client, NOW + 21 * DAY) and not is_fresh(client, NOW - DAY)


def test_a_new_authority_trusts_what_the_one_before_it_signed() -> None:
    before = new_authority(NOW)
    after = new_authority(NOW + DAY, before)
    trusted = x509.load_pem_x509_certificates(after.authorities)
    old = x509.load_pem_x509_certificate(sign_client(before, "infra/gate", NOW).certificate)
    old.verify_directly_issued_by(trusted[1])
    assert not is_of(sign_client(before, "infra/gate", NOW), after, "infra/gate"), "made anew at once"


def test_a_secret_holds_it_and_nothing_else_is_taken_for_one() -> None:
    signed = sign_client(new_authority(NOW), "infra/gate", NOW)
    assert from_secret({"data": signed.data()}) == signed
    for wrong in (
        None,
        {},
        {"data": None},
        {"data": {**signed.data(), "tls.key": "%"}},
        {"data": {"tls.crt": "eA=="}},
    ):
        assert from_secret(wrong) is None
