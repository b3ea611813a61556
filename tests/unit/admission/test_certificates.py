"""Certificates: for the right names, renewed in time, trusted across every renewal."""

from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509

from consumers.admission.certificates import (
    Bundle,
    CertificateError,
    made_by_us,
    new_bundle,
    reason_to_renew,
)

NOW = datetime(2026, 1, 1, tzinfo=UTC)
NAMES = ("eni-ledger-webhook.kube-system.svc", "127.0.0.1")


def authorities(bundle: Bundle) -> list[x509.Certificate]:
    return x509.load_pem_x509_certificates(bundle.authorities)


def test_a_new_one_is_good_for_its_names_and_signed_by_its_authority() -> None:
    bundle = new_bundle(NAMES, NOW)
    certificate = bundle.server_certificate()
    certificate.verify_directly_issued_by(authorities(bundle)[0])
    assert reason_to_renew(bundle, NAMES, NOW) == ""
    assert bundle.ours
    assert Bundle.from_secret(bundle.to_secret()) == bundle


@pytest.mark.parametrize(("days", "renew"), [(0, False), (243, False), (244, True), (400, True)])
def test_it_is_renewed_when_a_third_of_its_life_is_left(days: int, renew: bool) -> None:
    bundle = new_bundle(NAMES, NOW)
    reason = reason_to_renew(bundle, NAMES, NOW + timedelta(days=days))
    assert ("expires" in reason) is renew


def test_it_is_renewed_for_a_name_it_lacks() -> None:
    assert reason_to_renew(new_bundle(NAMES, NOW), [*NAMES, "127.0.0.2"], NOW) == (
        "the certificate is not for 127.0.0.2"
    )


def test_renewal_keeps_the_authority_so_that_nobody_has_to_learn_a_new_one() -> None:
    first = new_bundle(NAMES, NOW)
    second = new_bundle(NAMES, NOW + timedelta(days=300), first)
    assert second.authorities == first.authorities
    assert second.certificate != first.certificate
    second.server_certificate().verify_directly_issued_by(authorities(first)[0])


def test_an_old_authority_is_replaced_and_trusted_for_a_while_longer() -> None:
    first = new_bundle(NAMES, NOW)
    second = new_bundle(NAMES, NOW + timedelta(days=3400), first)
    new, old = authorities(second)
    assert old == authorities(first)[0]
    second.server_certificate().verify_directly_issued_by(new)
    third = new_bundle(NAMES, NOW + timedelta(days=3700), second)
    assert authorities(third) == [new]


def test_only_our_own_authorities_count_as_ours() -> None:
    assert made_by_us(new_bundle(NAMES, NOW).authorities)
    assert not made_by_us(new_bundle(NAMES, NOW).certificate)
    assert not made_by_us(b"nonsense")


def test_a_secret_kept_by_somebody_else_is_not_ours() -> None:
    data = new_bundle(NAMES, NOW).to_secret()
    del data["ca.key"]
    assert not Bundle.from_secret(data).ours


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"tls.crt": b""}, "tls.crt is empty or missing"),
        ({"tls.crt": b"nonsense"}, "tls.crt is no PEM certificate"),
        ({"tls.key": b"nonsense"}, "is no PEM"),
        ({"ca.crt": b"nonsense"}, "is no PEM"),
        ({"tls.key": new_bundle(NAMES, NOW).key}, "does not belong to"),
    ],
)
def test_an_unusable_secret_says_which_part(change: dict[str, bytes], message: str) -> None:
    with pytest.raises(CertificateError, match=message):
        Bundle.from_secret({**new_bundle(NAMES, NOW).to_secret(), **change})
