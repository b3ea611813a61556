"""Keeps the webhook's certificate: in a Secret, renewed in time, loaded into the live TLS context.

Replicas share the Secret. Whoever finds it missing or old writes it, guarded by its
resourceVersion; whoever loses that race takes what the winner wrote.
"""

import base64
import binascii
import ssl
import tempfile
from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path

import structlog

from consumers.admission.apiserver import ApiServer
from consumers.admission.certificates import (
    Bundle,
    CertificateError,
    new_bundle,
    reason_to_renew,
)
from consumers.kube.port import AlreadyExists, Conflict, KubeObject
from consumers.kube.resources import SECRETS

_log = structlog.get_logger(__name__)


class CertificateKeeper:
    """One per process. `names` are what API servers call the server by."""

    def __init__(
        self,
        api: ApiServer,
        secret: str,
        namespace: str,
        names: Sequence[str],
        now: Callable[[], datetime],
    ) -> None:
        self._api = api
        self._secret = secret
        self._namespace = namespace
        self._names = tuple(names)
        self._now = now
        self._loaded: Bundle | None = None
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.minimum_version = ssl.TLSVersion.TLSv1_2

    async def refresh(self) -> Bundle:
        """Look at the Secret, renew it where needed, and serve with it from the next handshake on.

        At rest this is one read. Raises KubeError, and CertificateError for a Secret that is not
        ours and can't be used.
        """
        bundle = await self._current()
        if bundle != self._loaded:
            self._load(bundle)
        return bundle

    async def _current(self) -> Bundle:
        for _ in range(3):  # a lost race means that a good one is there: look again
            found = await self._api.get(SECRETS, self._secret, self._namespace)
            # An empty one is installed so that we need no right to create Secrets.
            previous = self._read(found) if found is not None and found.get("data") else None
            if previous is not None:
                reason = reason_to_renew(previous, self._names, self._now())
                if not reason:
                    return previous
                if not previous.ours:
                    _log.warning(
                        "the webhook's certificate needs renewal by whoever keeps its Secret",
                        secret=f"{self._namespace}/{self._secret}",
                        reason=reason,
                    )
                    return previous
                _log.info("renewing the webhook's certificate", reason=reason)
            bundle = new_bundle(self._names, self._now(), previous)
            try:
                await self._write(bundle, found)
            except (AlreadyExists, Conflict):
                continue
            return bundle
        raise CertificateError(
            f"Secret {self._namespace}/{self._secret} keeps changing under us: see who writes it"
        )

    def _read(self, secret: KubeObject) -> Bundle:
        try:
            data = {
                name: base64.b64decode(value, validate=True)
                for name, value in (secret.get("data") or {}).items()
            }
            return Bundle.from_secret(data)
        except (binascii.Error, TypeError, CertificateError) as wrong:
            raise CertificateError(f"Secret {self._namespace}/{self._secret}: {wrong}") from wrong

    async def _write(self, bundle: Bundle, found: KubeObject | None) -> None:
        data = {
            name: base64.b64encode(value).decode("ascii")
            for name, value in bundle.to_secret().items()
        }
        if found is not None:
            await self._api.replace(SECRETS, {**found, "data": data})
            return
        metadata = {"name": self._secret, "namespace": self._namespace}
        await self._api.create(
            SECRETS,
            {
                "apiVersion": "v1",
                "kind": "Secret",
                "type": "kubernetes.io/tls",
                "metadata": metadata,
                "data": data,
            },
        )

    def _load(self, bundle: Bundle) -> None:
        """OpenSSL reads certificates from files only: they exist, for us alone, while it does."""
        with tempfile.TemporaryDirectory(prefix="eni-ledger-tls-") as directory:
            certificate, key = Path(directory, "tls.crt"), Path(directory, "tls.key")
            certificate.write_bytes(bundle.certificate)
            key.touch(mode=0o600)
            key.write_bytes(bundle.key)
            try:
                self.context.load_cert_chain(certificate, key)
            except ssl.SSLError as wrong:
                raise CertificateError(
                    f"Secret {self._namespace}/{self._secret}: OpenSSL refuses it: {wrong}"
                ) from wrong
        self._loaded = bundle
        expires = bundle.server_certificate().not_valid_after_utc
        _log.info("serving with certificate", expires=expires.isoformat(), names=self._names)
