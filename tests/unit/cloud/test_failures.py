"""What a failed cloud call means (P4: an unknown outcome is never taken for a definite one)."""

import pickle

import pytest

from consumers.cloud.failures import NO_CREDENTIALS, failure, presentable
from consumers.cloud.port import CloudError, Refused, Throttled, Unknown


@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [
        (400, "Throttling", Throttled),
        (400, "Throttling.User", Throttled),
        (503, "Throttling.Api", Throttled),
        (403, "InvalidVSwitchId.IpNotEnough", Refused),
        (400, "IdempotentFailed", Refused),
        (404, "InvalidEniId.NotFound", Refused),
        (None, NO_CREDENTIALS, Refused),
        (500, "InternalError", Unknown),
        (400, "InternalError", Unknown),
        (503, "ServiceUnavailable", Unknown),
        (403, "IdempotentProcessing", Unknown),
        (502, "SomethingNew", Unknown),
        (None, "", Unknown),
        (502, "", Unknown),
        (403, "", Unknown),
        (None, "Whatever", Unknown),
    ],
)
def test_classification(status: int | None, code: str, kind: type[CloudError]) -> None:
    error = failure(
        "DeleteNetworkInterface",
        subject="eni-1",
        status=status,
        code=code,
        message="m",
        request_id="R-1",
    )
    assert type(error) is kind


def test_the_text_names_api_object_code_request_and_next_step() -> None:
    error = failure(
        "AttachNetworkInterface",
        subject="eni-1 to i-1",
        status=403,
        code="InvalidOperation.InvalidEniState",
        message="not Available",
        request_id="R-1",
    )
    text = str(error)
    for part in ("AttachNetworkInterface", "eni-1 to i-1", error.code, "R-1", Refused.next_step):
        assert part in text


def test_no_credential_survives_in_a_message() -> None:
    signed = (
        "Specified signature is not matched with our calculation. server string to sign is:"
        "GET&%2F&AccessKeyId%3DLTAIsecretid%26SecurityToken%3DCAISsecrettoken"
    )
    assert "secret" not in presentable(signed)
    url = "Max retries exceeded with url: /?AccessKeyId=LTAIsecretid&x=1 (Caused by timeout)"
    assert "secret" not in presentable(url)
    assert "Caused by timeout" in presentable(url)
    assert len(presentable("x" * 5000)) < 500


def test_errors_survive_pickling_whole() -> None:
    error = Throttled("CreateNetworkInterface", "Throttling", "slow down", "R-1", subject="vsw-1")
    copy = pickle.loads(pickle.dumps(error))
    assert type(copy) is Throttled
    assert (copy.api, copy.code, copy.message, copy.request_id, copy.subject) == (
        "CreateNetworkInterface",
        "Throttling",
        "slow down",
        "R-1",
        "vsw-1",
    )
    assert str(copy) == str(error)
