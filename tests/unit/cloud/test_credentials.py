"""ACK's encrypted token file, and that nothing of it gets out."""

import base64
import json
import os
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.padding import PKCS7

from consumers.cloud.credentials import CredentialsError, TokenFileProvider, sdk_credential
from consumers.cloud.settings import CloudSettings, StaticKey, TokenFile

KEYRING = "0123456789abcdef"
START = datetime(2026, 1, 1, tzinfo=UTC)


def encrypted(text: str) -> str:
    iv = os.urandom(16)
    padder = PKCS7(128).padder()
    padded = padder.update(text.encode()) + padder.finalize()
    encryptor = Cipher(algorithms.AES(KEYRING.encode()), modes.CBC(iv)).encryptor()
    return base64.b64encode(iv + encryptor.update(padded) + encryptor.finalize()).decode()


def content(
    key: str = "STS.id", *, expires: datetime = START + timedelta(hours=1)
) -> dict[str, Any]:
    return {
        "access.key.id": encrypted(key),
        "access.key.secret": encrypted("the-secret"),
        "security.token": encrypted("the-token"),
        "expiration": expires.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "keyring": KEYRING,
    }


@pytest.fixture
def write(tmp_path: Path) -> Callable[[object], Path]:
    path = tmp_path / "token-config"

    def put(data: object) -> Path:
        # A Secret volume swaps a link: the file is another one, not an edited one.
        fresh = tmp_path / "fresh"
        fresh.write_text(data if isinstance(data, str) else json.dumps(data))
        return fresh.rename(path)

    return put


class Clock:
    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> datetime:
        return self.now


def test_reads_and_decrypts(write: Callable[[object], Path]) -> None:
    credentials = TokenFileProvider(write(content()), now=Clock()).get_credentials()
    assert credentials.get_access_key_id() == "STS.id"
    assert credentials.get_access_key_secret() == "the-secret"
    assert credentials.get_security_token() == "the-token"
    assert "the-secret" not in repr(credentials)
    assert "the-token" not in repr(credentials)


def test_a_new_file_is_read_and_an_old_one_is_not_read_again(
    write: Callable[[object], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    provider = TokenFileProvider(write(content("one")), now=Clock())
    first = provider.get_credentials()
    assert provider.get_credentials() is first
    write(content("two"))
    assert provider.get_credentials().get_access_key_id() == "two"


def test_shortly_before_expiry_the_file_is_read_again_however_alike_it_looks(
    write: Callable[[object], Path],
) -> None:
    clock = Clock()
    path = write(content("one"))
    provider = TokenFileProvider(path, now=clock)
    provider.get_credentials()
    stat = path.stat()
    path.write_text(json.dumps(content("two", expires=START + timedelta(hours=2))))
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert path.stat().st_size == stat.st_size
    clock.now = START + timedelta(minutes=51)
    assert provider.get_credentials().get_access_key_id() == "two"


def test_expired_and_not_renewed_is_an_error(write: Callable[[object], Path]) -> None:
    clock = Clock()
    provider = TokenFileProvider(write(content()), now=clock)
    provider.get_credentials()
    clock.now = START + timedelta(minutes=55)
    assert provider.get_credentials().get_access_key_id() == "STS.id", "still valid"
    clock.now = START + timedelta(hours=1)
    with pytest.raises(CredentialsError, match="expired at 2026-01-01T01:00:00Z"):
        provider.get_credentials()


def test_an_error_in_the_file_is_the_error(write: Callable[[object], Path]) -> None:
    provider = TokenFileProvider(write(content() | {"error": "role not authorised"}), now=Clock())
    with pytest.raises(CredentialsError, match="role not authorised"):
        provider.get_credentials()


@pytest.mark.parametrize(
    ("data", "says"),
    [
        ("not json: the-secret", "not JSON"),
        ("[]", "not a JSON object"),
        (content() | {"keyring": "0123456789abcdeX"}, "can't be decrypted"),
        (content() | {"keyring": "short"}, "can't be decrypted"),
        (content() | {"access.key.secret": "the-secret"}, "can't be decrypted"),
        (content() | {"expiration": "tomorrow"}, "not a time like"),
        ({"keyring": KEYRING}, "lacks 'access.key.id'"),
    ],
)
def test_wrong_files_are_told_apart_without_quoting_them(
    write: Callable[[object], Path], data: object, says: str
) -> None:
    with pytest.raises(CredentialsError, match=says) as raised:
        TokenFileProvider(write(data), now=Clock()).get_credentials()
    assert "the-secret" not in str(raised.value)
    assert raised.value.__cause__ is None


def test_a_missing_file_names_the_secret(tmp_path: Path) -> None:
    with pytest.raises(CredentialsError, match=r"addon\.network\.token"):
        TokenFileProvider(tmp_path / "absent").get_credentials()


def test_the_sdk_takes_each_source(write: Callable[[object], Path]) -> None:
    expires = datetime.now(UTC) + timedelta(hours=1)
    model = sdk_credential(TokenFile(write(content(expires=expires)))).get_credential()
    assert (model.access_key_id, model.security_token) == ("STS.id", "the-token")
    assert sdk_credential(StaticKey("a", "b")).get_credential().access_key_secret == "b"
    assert sdk_credential(StaticKey("a", "b", "t")).get_credential().security_token == "t"


def test_settings_keep_secrets_out_of_repr() -> None:
    settings = CloudSettings("cn-hangzhou", StaticKey("id", "the-secret", "the-token"))
    assert "the-" not in repr(settings)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"region_id": ""}, "region_id"),
        ({"network": "moon"}, "vpc"),
        ({"protocol": "ftp"}, "https"),
        ({"read_timeout_s": 0}, "read_timeout_s"),
        ({"ecs_endpoint": "http://x"}, "scheme in protocol"),
    ],
)
def test_wrong_settings_say_what_is_allowed(changes: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        CloudSettings(**({"region_id": "cn-hangzhou"} | changes))


def test_endpoints() -> None:
    assert CloudSettings("cn-x").endpoint("ecs") == "ecs-vpc.cn-x.aliyuncs.com"
    assert CloudSettings("cn-x", network="public").endpoint("vpc") is None
    assert CloudSettings("cn-x", ecs_endpoint="h:1").endpoint("ecs") == "h:1"
