"""AdmissionReview, the message of an admission webhook: read one, write the answer.

Both versions that the API server may speak are answered in kind: admission.k8s.io/v1 and v1beta1.
"""

import base64
from dataclasses import dataclass
from typing import Any

import msgspec

from ledger.rules.admission_decision import Decision
from ledger.rules.objects import KubeObject

GROUP = "admission.k8s.io"
VERSIONS = (f"{GROUP}/v1", f"{GROUP}/v1beta1")


class ReviewError(ValueError):
    """The request's body is no AdmissionReview: says why. There is nobody to answer by uid."""


class _Kind(msgspec.Struct):
    group: str = ""
    kind: str = ""


class _Request(msgspec.Struct):
    uid: str
    kind: _Kind
    operation: str = ""
    namespace: str = ""
    sub_resource: str = msgspec.field(name="subResource", default="")
    object: dict[str, Any] | None = None
    old_object: dict[str, Any] | None = msgspec.field(name="oldObject", default=None)


class _Review(msgspec.Struct):
    api_version: str = msgspec.field(name="apiVersion")
    kind: str
    request: _Request


@dataclass(frozen=True, slots=True)
class Review:
    """What is being admitted. `object` is empty for DELETE; `old` is None for CREATE."""

    api_version: str
    uid: str
    group: str
    kind: str
    operation: str
    namespace: str
    subresource: str
    object: KubeObject
    old: KubeObject | None


def read_review(body: bytes) -> Review:
    """Decode the body of a request. Raises ReviewError."""
    try:
        review = msgspec.json.decode(body, type=_Review)
    except (msgspec.MsgspecError, ValueError, RecursionError) as wrong:
        raise ReviewError(f"the body is no AdmissionReview: {wrong}") from wrong
    if review.kind != "AdmissionReview" or review.api_version not in VERSIONS:
        raise ReviewError(
            f"{review.api_version} {review.kind} is not understood: send AdmissionReview of "
            f"{' or '.join(VERSIONS)}"
        )
    asked = review.request
    return Review(
        api_version=review.api_version,
        uid=asked.uid,
        group=asked.kind.group,
        kind=asked.kind.kind,
        operation=asked.operation,
        namespace=asked.namespace,
        subresource=asked.sub_resource,
        object=asked.object or {},
        old=asked.old_object,
    )


def write_answer(review: Review, decision: Decision) -> bytes:
    """The AdmissionReview that answers `review` with `decision`."""
    response: dict[str, Any] = {
        "uid": review.uid,
        "allowed": decision.allowed,
        "status": {"code": decision.code, "message": decision.message},
    }
    if decision.patch:
        response["patchType"] = "JSONPatch"
        response["patch"] = base64.b64encode(msgspec.json.encode(decision.patch)).decode("ascii")
    if decision.warnings:
        response["warnings"] = decision.warnings
    return msgspec.json.encode(
        {"apiVersion": review.api_version, "kind": "AdmissionReview", "response": response}
    )
