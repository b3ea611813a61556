"""The server's own certificate authority, its serving certificate, and the kubeconfig that trusts them."""

import datetime
import ipaddress
import os
import secrets
from dataclasses import dataclass
from pathlib import Path

import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from deploy.local.kubernetes.errors import Json

_LIFETIME = datetime.timedelta(days=3650)
_NAMES = ("kubernetes", "kubernetes.default", "kubernetes.default.svc", "localhost")


@dataclass(frozen=True)
class Identity:
    """Where the files of one server are: PEM certificates and key, and its admin token."""

    directory: Path

    @property
    def ca(self) -> Path:
        """The CA certificate."""
        return self.directory / "ca.crt"

    @property
    def certificate(self) -> Path:
        """The serving certificate."""
        return self.directory / "server.crt"

    @property
    def key(self) -> Path:
        """The key of the serving certificate."""
        return self.directory / "server.key"

    @property
    def token_file(self) -> Path:
        """The bearer token of the user `admin`."""
        return self.directory / "admin.token"

    @property
    def token(self) -> str:
        """The bearer token itself."""
        return self.token_file.read_text().strip()


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _builder(subject: str, issuer: str, key: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(_name(subject))
        .issuer_name(_name(issuer))
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(minutes=5))
        .not_valid_after(now + _LIFETIME)
    )


def issue(names: tuple[str, ...] = _NAMES) -> tuple[bytes, bytes, bytes]:
    """A fresh CA and a serving certificate for loopback: (CA, certificate, key) as PEM."""
    ca_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    usage = x509.KeyUsage(
        digital_signature=True, content_commitment=False, key_encipherment=False,
        data_encipherment=False, key_agreement=False, key_cert_sign=True, crl_sign=True,
        encipher_only=False, decipher_only=False,
    )  # fmt: skip
    subject_key = x509.SubjectKeyIdentifier.from_public_key(ca_key.public_key())
    ca = (
        _builder("eni-ledger simulated CA", "eni-ledger simulated CA", ca_key.public_key())
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(subject_key, critical=False)
        .sign(ca_key, hashes.SHA256())
    )
    alternatives: list[x509.GeneralName] = [x509.DNSName(name) for name in names]
    alternatives.append(x509.IPAddress(ipaddress.ip_address("127.0.0.1")))
    authority = x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(subject_key)
    certificate = (
        _builder(names[0], "eni-ledger simulated CA", key.public_key())
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName(alternatives), critical=False)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(authority, critical=False)
        .sign(ca_key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    secret = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return ca.public_bytes(pem), certificate.public_bytes(pem), secret


def _write_secret(path: Path, content: bytes) -> None:
    path.touch(mode=0o600)
    path.chmod(0o600)
    path.write_bytes(content)


def prepare(directory: Path) -> Identity:
    """The identity kept in a directory, made where it is not there yet."""
    directory.mkdir(parents=True, exist_ok=True)
    identity = Identity(directory)
    files = (identity.ca, identity.certificate, identity.key)
    if not all(path.exists() for path in files):
        ca, certificate, key = issue()
        identity.ca.write_bytes(ca)
        identity.certificate.write_bytes(certificate)
        _write_secret(identity.key, key)
    if not identity.token_file.exists():
        _write_secret(identity.token_file, secrets.token_urlsafe(24).encode())
    return identity


def kubeconfig(identity: Identity, address: str, secure: bool) -> Json:
    """A kubeconfig for the user `admin`; certificates and token are embedded."""
    import base64

    cluster: Json = {"server": address}
    if secure:
        ca = base64.b64encode(identity.ca.read_bytes()).decode()
        cluster["certificate-authority-data"] = ca
    name = "eni-ledger-simulated"
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": name, "cluster": cluster}],
        "users": [{"name": "admin", "user": {"token": identity.token}}],
        "contexts": [
            {"name": name, "context": {"cluster": name, "user": "admin", "namespace": "default"}}
        ],
        "current-context": name,
    }


def write_kubeconfig(path: Path, content: Json) -> None:
    """Writes it whole or not at all, readable by its owner only."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    _write_secret(temporary, yaml.safe_dump(content, sort_keys=False).encode())
    temporary.replace(path)
