"""The SDK adapter without a network: request models, and what the SDK's exceptions mean."""

from typing import Any

import pytest
from alibabacloud_credentials.exceptions import CredentialException
from alibabacloud_ecs20140526 import models as ecs_models
from alibabacloud_tea_openapi.exceptions import ClientException, ServerException
from alibabacloud_vpc20160428 import models as vpc_models
from darabonba.exceptions import RetryError, UnretryableException
from darabonba.policy.retry import RetryPolicyContext

from consumers.cloud.aliyun import CALLS, sdk_failure
from consumers.cloud.api import create_parameters, query_parameters
from consumers.cloud.credentials import CredentialsError
from consumers.cloud.failures import NO_CREDENTIALS
from consumers.cloud.port import CloudError, CreateEni, EniQuery, Refused, Throttled, Unknown

SENT: dict[str, dict[str, object]] = {
    "CreateNetworkInterface": create_parameters(
        CreateEni("vsw", ("sg",), "t", {"k": "v"}, True, 1, "rg-1")
    ),
    "AttachNetworkInterface": {
        "NetworkInterfaceId": "eni",
        "InstanceId": "i",
        "TrunkNetworkInstanceId": "t",
        "NetworkCardIndex": 1,
    },
    "DetachNetworkInterface": {
        "NetworkInterfaceId": "eni",
        "InstanceId": "i",
        "TrunkNetworkInstanceId": "t",
    },
    "DeleteNetworkInterface": {"NetworkInterfaceId": "eni"},
    "DescribeNetworkInterfaces": {
        **query_parameters(EniQuery((), "vpc", {"k": "v"}, "Member", "InUse", "i"), ["eni"]),
        "NextToken": "n",
    },
    "DescribeInstanceTypes": {"InstanceTypes": ["t"], "MaxResults": 100, "NextToken": "n"},
    "ModifyNetworkInterfaceAttribute": {"NetworkInterfaceId": "eni", "SecurityGroupId": ["sg"]},
    "DescribeVSwitches": {"VSwitchId": "vsw"},
}


@pytest.mark.parametrize("api", sorted(CALLS))
def test_the_sdk_drops_none_of_the_parameters_we_send(api: str) -> None:
    product, _, model = CALLS[api]
    models: Any = ecs_models if product == "ecs" else vpc_models
    sent = SENT[api] if api == "DescribeInstanceTypes" else {"RegionId": "r", **SENT[api]}
    kept = getattr(models, model)().from_map(dict(sent)).to_map()
    # Some models add empty lists; those don't travel.
    assert {name: value for name, value in kept.items() if value != []} == sent


def wrapped(error: Exception) -> Exception:
    """As the SDK's request loop raises it."""
    try:
        raise UnretryableException(RetryPolicyContext(retries_attempted=1, exception=error))
    except Exception as raised:  # noqa: BLE001 - whatever class it is, is what is judged
        return raised


def answered(kind: Any, status: int, code: str | None) -> Exception:
    data = {"RequestId": "R-1", "Message": "words", **({"Code": code} if code else {})}
    return wrapped(
        kind(
            status_code=status,
            code=f"{code}",
            message=f"code: {status}, words request id: R-1",
            data=data,
            request_id="R-1",
        )
    )


@pytest.mark.parametrize(
    ("error", "kind", "code"),
    [
        (answered(ClientException, 400, "Throttling.User"), Throttled, "Throttling.User"),
        (answered(ClientException, 403, "IdempotentFailed"), Refused, "IdempotentFailed"),
        (answered(ClientException, 403, None), Unknown, ""),
        (answered(ServerException, 503, "ServiceUnavailable"), Unknown, "ServiceUnavailable"),
        (wrapped(RetryError("read timed out")), Unknown, ""),
        (wrapped(ValueError("Expecting value: line 1")), Unknown, ""),
        (wrapped(CredentialsError("no file")), Refused, NO_CREDENTIALS),
        (wrapped(CredentialException("no provider")), Refused, NO_CREDENTIALS),
        (RuntimeError("anything else"), Unknown, ""),
    ],
)
def test_what_the_sdk_raises(error: Exception, kind: type[CloudError], code: str) -> None:
    judged = sdk_failure("DeleteNetworkInterface", "eni-1", error)
    assert type(judged) is kind
    assert judged.code == code


def test_the_clouds_own_words_and_request_id_are_kept() -> None:
    judged = sdk_failure("X", "eni-1", answered(ClientException, 403, "Forbidden.RAM"))
    assert (judged.message, judged.request_id) == ("words", "R-1")
