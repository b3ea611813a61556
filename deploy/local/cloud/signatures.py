"""Checks who signed a call: ACS3-HMAC-SHA256 (headers) and the older V1 RPC (HMAC-SHA1, query).

Follows the cloud's published signature rules; the unit tests compare with the official SDK's own
signer byte for byte. Refusals never repeat a key or the signed string. Not checked: the age of a
signature, because the simulator's clock can be moved.
"""

import base64
import hashlib
import hmac
import re
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from urllib.parse import quote

from deploy.local.cloud.apis import ApiError
from deploy.local.cloud.world import AccessKey

ACS3 = "ACS3-HMAC-SHA256"
_AUTHORIZATION = re.compile(
    rf"^{ACS3} Credential=(?P<key>[^,]+),\s*SignedHeaders=(?P<headers>[^,]+),"
    r"\s*Signature=(?P<signature>[0-9a-fA-F]+)$"
)
# What the cloud insists on being signed.
_MUST_BE_SIGNED = ("host", "x-acs-action", "x-acs-content-sha256", "x-acs-date", "x-acs-version")
_NONCES_KEPT = 50_000


@dataclass(frozen=True, slots=True)
class Request:
    """What a signature covers.

    Attributes:
        headers: names in lower case. query, form: decoded, in any order.
    """

    method: str
    path: str
    headers: Mapping[str, str]
    query: Mapping[str, str]
    form: Mapping[str, str]
    body: bytes


class SignatureCheck:
    """Knows the world's keys, and the nonces already used."""

    def __init__(self, keys: Iterable[AccessKey]) -> None:
        self._keys = {key.id: key for key in keys}
        self._nonces: OrderedDict[str, None] = OrderedDict()

    def check(self, request: Request) -> None:
        """Raise ApiError unless a known key signed this request."""
        if "authorization" in request.headers:
            nonce = self._check_acs3(request)
        elif "Signature" in request.query or "Signature" in request.form:
            nonce = self._check_v1(request)
        else:
            raise ApiError(
                "MissingSignature",
                f"The call is not signed; sign it with {ACS3} or with SignatureVersion 1.0.",
            )
        self._use(nonce)

    def _check_acs3(self, request: Request) -> str:
        parsed = _AUTHORIZATION.match(request.headers["authorization"].strip())
        if parsed is None:
            raise ApiError(
                "IncompleteSignature",
                f"Authorization must be '{ACS3} Credential=…,SignedHeaders=…,Signature=…'.",
            )
        key = self._key(parsed["key"])
        names = parsed["headers"].split(";")
        unsigned = [name for name in _MUST_BE_SIGNED if name not in names]
        absent = [name for name in names if name not in request.headers]
        if unsigned or absent:
            raise ApiError(
                "IncompleteSignature",
                f"Not signed: {', '.join(unsigned) or '-'}; signed but absent: "
                f"{', '.join(absent) or '-'}.",
            )
        payload_hash = hashlib.sha256(request.body).hexdigest()
        if request.headers["x-acs-content-sha256"] != payload_hash:
            raise ApiError("SignatureDoesNotMatch", "x-acs-content-sha256 is not the body's hash.")
        expected = acs3_signature(request, names, payload_hash, key.secret)
        if not hmac.compare_digest(expected, parsed["signature"].lower()):
            raise _mismatch()
        self._check_token(key, request.headers.get("x-acs-security-token", ""))
        return request.headers.get("x-acs-signature-nonce", "")

    def _check_v1(self, request: Request) -> str:
        parameters = {**request.form, **request.query}
        if parameters.get("SignatureVersion", "1.0") != "1.0":
            raise ApiError("UnsupportedSignatureVersion", "SignatureVersion must be 1.0.")
        if parameters.get("SignatureMethod") != "HMAC-SHA1":
            raise ApiError("UnsupportedSignatureMethod", "SignatureMethod must be HMAC-SHA1.")
        if not parameters.get("SignatureNonce") or not parameters.get("Timestamp"):
            raise ApiError("IncompleteSignature", "SignatureNonce and Timestamp are mandatory.")
        key = self._key(parameters.get("AccessKeyId", ""))
        expected = v1_signature(request.method, parameters, key.secret)
        if not hmac.compare_digest(expected, parameters["Signature"]):
            raise _mismatch()
        self._check_token(key, parameters.get("SecurityToken", ""))
        return parameters["SignatureNonce"]

    def _key(self, identity: str) -> AccessKey:
        key = self._keys.get(identity)
        if key is None:
            raise ApiError(
                "InvalidAccessKeyId.NotFound", "The access key is not one of the world file's.", 404
            )
        return key

    def _check_token(self, key: AccessKey, token: str) -> None:
        if not hmac.compare_digest(key.security_token.encode(), token.encode()):
            raise ApiError("InvalidSecurityToken", "The security token is not this key's.")

    def _use(self, nonce: str) -> None:
        if not nonce:
            return
        if nonce in self._nonces:
            raise ApiError("SignatureNonceUsed", "The request signature nonce has been used.")
        self._nonces[nonce] = None
        if len(self._nonces) > _NONCES_KEPT:
            self._nonces.popitem(last=False)


def acs3_signature(
    request: Request, signed_headers: Iterable[str], payload_hash: str, secret: str
) -> str:
    """The hexadecimal signature of an ACS3-HMAC-SHA256 request."""
    names = sorted(signed_headers)
    canonical = "\n".join(
        (
            request.method,
            request.path,
            _canonical_query(request.query),
            "".join(f"{name}:{request.headers[name].strip()}\n" for name in names),
            ";".join(names),
            payload_hash,
        )
    )
    hashed = hashlib.sha256(canonical.encode()).hexdigest()
    to_sign = f"{ACS3}\n{hashed}"
    return hmac.new(secret.encode(), to_sign.encode(), hashlib.sha256).hexdigest()


def v1_signature(method: str, parameters: Mapping[str, str], secret: str) -> str:
    """The base64 signature of an RPC request of SignatureVersion 1.0."""
    covered = {name: value for name, value in parameters.items() if name != "Signature"}
    to_sign = f"{method}&%2F&{_encoded(_canonical_query(covered))}"
    digest = hmac.new(f"{secret}&".encode(), to_sign.encode(), hashlib.sha1).digest()
    return base64.b64encode(digest).decode()


def _canonical_query(parameters: Mapping[str, str]) -> str:
    return "&".join(f"{_encoded(name)}={_encoded(parameters[name])}" for name in sorted(parameters))


def _encoded(text: str) -> str:
    return quote(text, safe="~")


def _mismatch() -> ApiError:
    return ApiError(
        "SignatureDoesNotMatch", "The signature is not the one calculated with this key's secret."
    )
