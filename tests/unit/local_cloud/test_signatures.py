"""The simulator's signature checks, byte for byte against the official SDK's own signer."""

import hashlib
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from alibabacloud_tea_openapi.utils import Utils
from darabonba.request import DaraRequest

from deploy.local.cloud.apis import ApiError
from deploy.local.cloud.signatures import (
    ACS3,
    Request,
    SignatureCheck,
    acs3_signature,
    v1_signature,
)
from deploy.local.cloud.world import AccessKey

KEY = AccessKey(id="key-1", secret="secret-1")
QUERY = {
    "RegionId": "cn-hangzhou",
    "Tag.1.Key": "a b/c*d~e",
    "Tag.1.Value": "ü+&=%",
    "ClientToken": "t-1",
    "Empty": "",
}
EMPTY_HASH = hashlib.sha256(b"").hexdigest()


def signed(nonce: str = "n-1") -> Request:
    """A request as the SDK signs and sends it."""
    theirs: Any = DaraRequest()
    theirs.method, theirs.pathname, theirs.query = "POST", "/", dict(QUERY)
    theirs.headers = {
        "host": "127.0.0.1:1",
        "x-acs-version": "2014-05-26",
        "x-acs-action": "DescribeNetworkInterfaces",
        "user-agent": "eni-ledger",
        "x-acs-date": "2026-01-01T00:00:00Z",
        "x-acs-signature-nonce": nonce,
        "accept": "application/json",
        "x-acs-content-sha256": EMPTY_HASH,
    }
    authorization = Utils.get_authorization(theirs, ACS3, EMPTY_HASH, KEY.id, KEY.secret)
    headers = {**theirs.headers, "authorization": authorization}
    return Request("POST", "/", headers, dict(QUERY), {}, b"")


def v1(method: str = "GET", **changes: str) -> Request:
    parameters = QUERY | {
        "Action": "DescribeNetworkInterfaces",
        "Version": "2014-05-26",
        "Format": "JSON",
        "AccessKeyId": KEY.id,
        "SignatureMethod": "HMAC-SHA1",
        "SignatureVersion": "1.0",
        "SignatureNonce": "n-1",
        "Timestamp": "2026-01-01T00:00:00Z",
    }
    parameters["Signature"] = Utils.get_rpcsignature(parameters, method, KEY.secret)
    return Request(method, "/", {}, parameters | changes, {}, b"")


@pytest.fixture
def check() -> SignatureCheck:
    return SignatureCheck([KEY])


def test_acs3_is_the_sdks_byte_for_byte() -> None:
    request = signed()
    names = request.headers["authorization"].split("SignedHeaders=")[1].split(",")[0].split(";")
    ours = acs3_signature(request, names, EMPTY_HASH, KEY.secret)
    assert request.headers["authorization"].endswith(f"Signature={ours}")


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_v1_is_the_sdks_byte_for_byte(method: str) -> None:
    request = v1(method)
    assert v1_signature(method, request.query, KEY.secret) == request.query["Signature"]


@pytest.mark.parametrize("request_", [signed(), v1(), v1("POST")])
def test_a_good_signature_is_accepted_once(check: SignatureCheck, request_: Request) -> None:
    check.check(request_)
    with pytest.raises(ApiError, match="SignatureNonceUsed"):
        check.check(request_)


def test_v1_in_a_form_is_accepted(check: SignatureCheck) -> None:
    request = v1("POST")
    check.check(replace(request, query={}, form=request.query))


def without(name: str) -> Callable[[Request], Request]:
    def change(request: Request) -> Request:
        return replace(
            request,
            headers={key: value for key, value in request.headers.items() if key != name},
        )

    return change


def with_header(name: str, value: str) -> Callable[[Request], Request]:
    return lambda request: replace(request, headers={**request.headers, name: value})


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (lambda r: replace(r, query={**r.query, "ClientToken": "t-2"}), "SignatureDoesNotMatch"),
        (lambda r: replace(r, method="GET"), "SignatureDoesNotMatch"),
        (lambda r: replace(r, body=b"x=1"), "SignatureDoesNotMatch"),
        (with_header("x-acs-action", "DeleteNetworkInterface"), "SignatureDoesNotMatch"),
        (with_header("x-acs-security-token", "t"), "InvalidSecurityToken"),
        (with_header("authorization", "Bearer x"), "IncompleteSignature"),
        (
            with_header(
                "authorization", f"{ACS3} Credential=key-1,SignedHeaders=host,Signature=00"
            ),
            "IncompleteSignature",
        ),
        (
            with_header("authorization", f"{ACS3} Credential=k,SignedHeaders=host,Signature=00"),
            "InvalidAccessKeyId.NotFound",
        ),
        (without("accept"), "IncompleteSignature"),
        (without("authorization"), "MissingSignature"),
    ],
)
def test_acs3_refusals(
    check: SignatureCheck, change: Callable[[Request], Request], code: str
) -> None:
    with pytest.raises(ApiError) as raised:
        check.check(change(signed()))
    assert raised.value.code == code
    assert KEY.secret not in raised.value.message


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"ClientToken": "t-2"}, "SignatureDoesNotMatch"),
        ({"Signature": "AAAA"}, "SignatureDoesNotMatch"),
        ({"AccessKeyId": "who"}, "InvalidAccessKeyId.NotFound"),
        ({"SignatureMethod": "HMAC-SHA256"}, "UnsupportedSignatureMethod"),
        ({"SignatureVersion": "2.0"}, "UnsupportedSignatureVersion"),
        ({"SignatureNonce": ""}, "IncompleteSignature"),
    ],
)
def test_v1_refusals(check: SignatureCheck, changes: dict[str, str], code: str) -> None:
    with pytest.raises(ApiError) as raised:
        check.check(v1(**changes))
    assert raised.value.code == code
