"""TLS certificates of the webhook server: make them, read them, judge them. No I/O.

A certificate authority of our own (EC P-256, ten years) signs the server's certificate (EC P-256,
one year). Its key stays in the Secret, so that the server's certificate can be renewed without
anybody's trust having to change.
"""

import ipaddress
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

AUTHORITY_LIFE = timedelta(days=3650)
SERVER_LIFE = timedelta(days=365)
#: Renewed when a third of its life is left: months to notice that renewing fails.
RENEW_BEFORE = SERVER_LIFE / 3
#: Clocks of API servers and nodes differ a little.
BACKDATED = timedelta(hours=1)

AUTHORITY_NAME = "eni-ledger webhook authority"
CERTIFICATE, KEY, AUTHORITIES, AUTHORITY_KEY = "tls.crt", "tls.key", "ca.crt", "ca.key"


class CertificateError(ValueError):
    """A Secret's certificate can't be used: says which key of it, and what to do."""


@dataclass(frozen=True, slots=True)
class Bundle:
    """What the Secret holds, all PEM.

    `authorities` begins with the signing certificate; older ones may follow while webhook
    configurations still trust them. `authority_key` is empty in a Secret that somebody else keeps
    (cert-manager, an administrator): it is used as it is, and never renewed by us.
    """

    certificate: bytes
    key: bytes
    authorities: bytes
    authority_key: bytes = b""

    @classmethod
    def from_secret(cls, data: Mapping[str, bytes]) -> "Bundle":
        """Read the decoded data of the Secret. Raises CertificateError."""
        for name in (CERTIFICATE, KEY, AUTHORITIES):
            if not data.get(name):
                raise CertificateError(f"{name} is empty or missing: delete the Secret to renew it")
        bundle = cls(data[CERTIFICATE], data[KEY], data[AUTHORITIES], data.get(AUTHORITY_KEY, b""))
        bundle.server_certificate()
        try:
            private = serialization.load_pem_private_key(bundle.key, None)
            x509.load_pem_x509_certificates(bundle.authorities)
        except (ValueError, TypeError) as wrong:
            raise CertificateError(f"{KEY} or {AUTHORITIES} is no PEM: {wrong}") from wrong
        if private.public_key() != bundle.server_certificate().public_key():
            raise CertificateError(f"{KEY} does not belong to {CERTIFICATE}: delete the Secret")
        return bundle

    def to_secret(self) -> dict[str, bytes]:
        """The data of the Secret, decoded."""
        data = {CERTIFICATE: self.certificate, KEY: self.key, AUTHORITIES: self.authorities}
        return data | ({AUTHORITY_KEY: self.authority_key} if self.authority_key else {})

    @property
    def ours(self) -> bool:
        return bool(self.authority_key)

    def server_certificate(self) -> x509.Certificate:
        try:
            return x509.load_pem_x509_certificate(self.certificate)
        except ValueError as wrong:
            raise CertificateError(f"{CERTIFICATE} is no PEM certificate: {wrong}") from wrong


def new_bundle(names: Sequence[str], now: datetime, previous: Bundle | None = None) -> Bundle:
    """A server certificate for `names` (DNS names and IP addresses), valid from `now`.

    The authority of `previous` signs it while that will outlive it; otherwise a new one does, and
    the previous one stays in `authorities`, for webhook configurations that still carry it.
    """
    authority, authority_key, older = _authority(now, previous)
    key = ec.generate_private_key(ec.SECP256R1())
    certificate = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, names[0][:64])]))
        .issuer_name(authority.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - BACKDATED)
        .not_valid_after(now + SERVER_LIFE)
        .add_extension(x509.SubjectAlternativeName([_general_name(each) for each in names]), False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), False)
        .add_extension(_key_usage(signs_certificates=False), True)
        .add_extension(_issued_by(authority), False)
        .sign(authority_key, hashes.SHA256())
    )
    return Bundle(
        certificate=certificate.public_bytes(serialization.Encoding.PEM),
        key=_private_pem(key),
        authorities=authority.public_bytes(serialization.Encoding.PEM) + older,
        authority_key=_private_pem(authority_key),
    )


def reason_to_renew(bundle: Bundle, names: Sequence[str], now: datetime) -> str:
    """Why `bundle` should be replaced; empty while it is good."""
    certificate = bundle.server_certificate()
    left = certificate.not_valid_after_utc - now
    if left <= RENEW_BEFORE:
        return f"the certificate expires at {certificate.not_valid_after_utc.isoformat()}"
    missing = [name for name in names if name not in _names(certificate)]
    return f"the certificate is not for {', '.join(missing)}" if missing else ""


def made_by_us(authorities: bytes) -> bool:
    """Whether a caBundle holds nothing but authorities of ours: then it may be replaced."""
    try:
        certificates = x509.load_pem_x509_certificates(authorities)
    except ValueError:
        return False
    return all(each.subject == _authority_subject() for each in certificates)


def _authority(
    now: datetime, previous: Bundle | None
) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey, bytes]:
    """The signing certificate with its key, and the older ones (PEM) to go on trusting."""
    older = b""
    if previous is not None and previous.ours:
        known = x509.load_pem_x509_certificates(previous.authorities)
        key = serialization.load_pem_private_key(previous.authority_key, None)
        current = known[0]
        if isinstance(key, ec.EllipticCurvePrivateKey) and key.public_key() == current.public_key():
            if current.not_valid_after_utc > now + SERVER_LIFE:
                return current, key, b""
            older = current.public_bytes(serialization.Encoding.PEM)
    key = ec.generate_private_key(ec.SECP256R1())
    subject = _authority_subject()
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - BACKDATED)
        .not_valid_after(now + AUTHORITY_LIFE)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), True)
        .add_extension(_key_usage(signs_certificates=True), True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), False)
        .sign(key, hashes.SHA256())
    )
    return certificate, key, older


def _authority_subject() -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, AUTHORITY_NAME)])


def _key_usage(signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )


def _issued_by(authority: x509.Certificate) -> x509.AuthorityKeyIdentifier:
    identifier = authority.extensions.get_extension_for_class(x509.SubjectKeyIdentifier)
    return x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier.value)


def _private_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _names(certificate: x509.Certificate) -> set[str]:
    try:
        found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return set()
    addresses = found.get_values_for_type(x509.IPAddress)
    return {*found.get_values_for_type(x509.DNSName), *(str(each) for each in addresses)}
