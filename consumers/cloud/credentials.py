"""Where the adapter's credentials come from: the SDK's chain, a key pair, or ACK's token file.

The token file is JSON {"access.key.id", "access.key.secret", "security.token", "expiration",
"keyring", "error"?}; each of the first three is base64(IV[16] ‖ AES-CBC(key = keyring's bytes,
PKCS#7)), and `error`, where present, is why there are none (platform facts §4). No message of this
module holds a credential.
"""

import base64
import binascii
import json
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.padding import PKCS7

from consumers.cloud.settings import CredentialsSource, StaticKey, TokenFile

#: Read the file again this long before its credentials expire. ACK renews it well before.
REFRESH_BEFORE = timedelta(minutes=10)

_IV_BYTES = 16
_NEXT_STEP = (
    "Check the Secret kube-system/addon.network.token and that it is mounted here; ACK renews it."
)


class CredentialsError(Exception):
    """No credentials could be had. The message names the source, the cause and the next step."""


@dataclass(frozen=True, slots=True)
class Credentials:
    """What signs a call. Has the getters the SDK's ICredentials asks for."""

    access_key_id: str
    access_key_secret: str = field(repr=False)
    security_token: str = field(repr=False)
    expires_at: datetime
    provider_name: str = "ack_token_file"

    def get_access_key_id(self) -> str:
        return self.access_key_id

    def get_access_key_secret(self) -> str:
        return self.access_key_secret

    def get_security_token(self) -> str:
        return self.security_token

    def get_provider_name(self) -> str:
        return self.provider_name


class TokenFileProvider:
    """The SDK's ICredentialsProvider over ACK's token file. Threads may share one.

    Keeps what it read until shortly before expiry, or until the file is another one.
    """

    def __init__(
        self, path: Path, *, now: Callable[[], datetime] = lambda: datetime.now(UTC)
    ) -> None:
        self._path = path
        self._now = now
        self._lock = threading.Lock()
        self._read: Credentials | None = None
        self._version: tuple[int, int, int] | None = None

    def get_credentials(self) -> Credentials:
        """Current credentials. Raises CredentialsError."""
        with self._lock:
            version = self._file_version()
            now = self._now()
            held = self._read
            if held is None or version != self._version or now >= held.expires_at - REFRESH_BEFORE:
                held = read_token_file(self._path)
                self._read, self._version = held, version
            if now >= held.expires_at:
                raise CredentialsError(
                    f"the token file {self._path} expired at {held.expires_at:%Y-%m-%dT%H:%M:%SZ} "
                    f"and was not renewed. {_NEXT_STEP}"
                )
            return held

    async def get_credentials_async(self) -> Credentials:
        """The same; the SDK's interface asks for it, the adapter does not use it."""
        return self.get_credentials()

    def get_provider_name(self) -> str:
        return "ack_token_file"

    def _file_version(self) -> tuple[int, int, int]:
        try:
            stat = self._path.stat()
        except OSError as error:
            raise CredentialsError(
                f"the token file {self._path} can't be read: {error.strerror}. {_NEXT_STEP}"
            ) from error
        return (stat.st_ino, stat.st_mtime_ns, stat.st_size)


def read_token_file(path: Path) -> Credentials:
    """Read and decrypt the file once. Raises CredentialsError; never quotes the contents."""
    try:
        content = json.loads(path.read_bytes())
    except OSError as error:
        raise CredentialsError(
            f"the token file {path} can't be read: {error.strerror}. {_NEXT_STEP}"
        ) from error
    except ValueError:
        # The parser's message quotes the text, so it is not chained.
        raise CredentialsError(f"the token file {path} is not JSON. {_NEXT_STEP}") from None
    if not isinstance(content, dict):
        raise CredentialsError(f"the token file {path} is not a JSON object. {_NEXT_STEP}")
    if content.get("error"):
        raise CredentialsError(
            f"the token file {path} holds an error instead of credentials: {content['error']}. "
            "Put right what it names (usually the cluster's RAM role authorisation)."
        )
    return Credentials(
        access_key_id=_decrypted(path, content, "access.key.id"),
        access_key_secret=_decrypted(path, content, "access.key.secret"),
        security_token=_decrypted(path, content, "security.token"),
        expires_at=_expiration(path, content),
    )


def sdk_credential(source: CredentialsSource) -> Any:
    """The SDK's credentials client for a source. Imports the SDK (0.7 s)."""
    from alibabacloud_credentials.client import Client
    from alibabacloud_credentials.models import Config

    if isinstance(source, StaticKey):
        if source.security_token:
            return Client(
                Config(
                    type="sts",
                    access_key_id=source.access_key_id,
                    access_key_secret=source.access_key_secret,
                    security_token=source.security_token,
                )
            )
        return Client(
            Config(
                type="access_key",
                access_key_id=source.access_key_id,
                access_key_secret=source.access_key_secret,
            )
        )
    if isinstance(source, TokenFile):
        return Client(provider=TokenFileProvider(source.path))
    return Client()


def _decrypted(path: Path, content: dict[str, Any], name: str) -> str:
    try:
        blob = base64.b64decode(content[name], validate=True)
        key = str(content["keyring"]).encode()
        cipher = Cipher(algorithms.AES(key), modes.CBC(blob[:_IV_BYTES])).decryptor()
        padded = cipher.update(blob[_IV_BYTES:]) + cipher.finalize()
        unpadder = PKCS7(algorithms.AES.block_size).unpadder()
        return (unpadder.update(padded) + unpadder.finalize()).decode()
    except KeyError as missing:
        raise CredentialsError(
            f"the token file {path} lacks {missing.args[0]!r}. {_NEXT_STEP}"
        ) from None
    except (ValueError, TypeError, binascii.Error):
        # What went wrong in decryption may quote what was decrypted.
        raise CredentialsError(
            f"the token file {path}: {name!r} can't be decrypted with its keyring. {_NEXT_STEP}"
        ) from None


def _expiration(path: Path, content: dict[str, Any]) -> datetime:
    text = str(content.get("expiration", ""))
    try:
        expires_at = datetime.fromisoformat(text.replace("Z", "+00:00"))
    except ValueError:
        raise CredentialsError(
            f"the token file {path}: expiration {text!r} is not a time like 2026-01-31T08:00:00Z. "
            f"{_NEXT_STEP}"
        ) from None
    return expires_at if expires_at.tzinfo else expires_at.replace(tzinfo=UTC)
