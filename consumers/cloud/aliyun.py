"""The real cloud: the port over Alibaba Cloud's official ECS and VPC SDKs.

Uses the SDK's sync methods only: they pool connections and cost 2 ms a call, while the async ones
open a TCP connection and build an SSL context per call (platform facts §4). The SDK is imported at
the first call, because importing it takes a second and 88 MB. One call is one attempt.
"""

import importlib
import logging
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

from consumers.cloud.api import Body, CloudOverApi
from consumers.cloud.credentials import CredentialsError, sdk_credential
from consumers.cloud.failures import NO_CREDENTIALS, failure
from consumers.cloud.port import CloudError
from consumers.cloud.settings import CloudSettings

Product = Literal["ecs", "vpc"]

#: Which SDK client serves an API, its method (…_with_options) and its request model.
CALLS: Mapping[str, tuple[Product, str, str]] = {
    "CreateNetworkInterface": ("ecs", "create_network_interface", "CreateNetworkInterfaceRequest"),
    "AttachNetworkInterface": ("ecs", "attach_network_interface", "AttachNetworkInterfaceRequest"),
    "DetachNetworkInterface": ("ecs", "detach_network_interface", "DetachNetworkInterfaceRequest"),
    "DeleteNetworkInterface": ("ecs", "delete_network_interface", "DeleteNetworkInterfaceRequest"),
    "DescribeNetworkInterfaces": (
        "ecs",
        "describe_network_interfaces",
        "DescribeNetworkInterfacesRequest",
    ),
    "DescribeInstanceTypes": ("ecs", "describe_instance_types", "DescribeInstanceTypesRequest"),
    "ModifyNetworkInterfaceAttribute": (
        "ecs",
        "modify_network_interface_attribute",
        "ModifyNetworkInterfaceAttributeRequest",
    ),
    "DescribeVSwitches": ("vpc", "describe_vswitches", "DescribeVSwitchesRequest"),
}

# At import the SDK sets its own loggers to DEBUG, and they print requests.
_SDK_LOGGERS = ("darabonba-core", "alibabacloud-tea", "credentials")


def aliyun_cloud(
    settings: CloudSettings, *, now: Callable[[], datetime] = lambda: datetime.now(UTC)
) -> CloudOverApi:
    """The real cloud behind `consumers.cloud.port.Cloud`. Makes no call and imports no SDK yet."""
    return CloudOverApi(SdkTransport(settings), region_id=settings.region_id, now=now)


def import_sdk() -> None:
    """Import the SDK now, for those whose deadline should not pay for it: a second, more on a busy
    machine."""
    for module in ("alibabacloud_ecs20140526.client", "alibabacloud_vpc20160428.client"):
        importlib.import_module(module)


@dataclass(frozen=True, slots=True)
class _Sdk:
    """What the first call imports and builds."""

    clients: Mapping[Product, Any]
    models: Mapping[Product, Any]
    runtime: Any


class SdkTransport:
    """`consumers.cloud.api.Transport` over the official SDK. Threads may share one."""

    def __init__(self, settings: CloudSettings) -> None:
        self._settings = settings
        self._lock = threading.Lock()
        self._sdk: _Sdk | None = None

    def __call__(self, api: str, parameters: Mapping[str, object], subject: str) -> Body:
        """One attempt. Raises Throttled, Refused or Unknown."""
        product, method, model = CALLS[api]
        sdk = self._loaded()
        request = getattr(sdk.models[product], model)().from_map(dict(parameters))
        call = getattr(sdk.clients[product], f"{method}_with_options")
        try:
            body: Body = call(request, sdk.runtime).body.to_map()
        except Exception as error:  # noqa: BLE001 - the SDK raises unrelated, also bare classes
            # Whatever it was, the caller must learn whether the call may have taken effect.
            raise sdk_failure(api, subject, error) from None
        return body

    def _loaded(self) -> _Sdk:
        with self._lock:
            if self._sdk is None:
                self._sdk = _load(self._settings)
            return self._sdk


def sdk_failure(api: str, subject: str, error: Exception) -> CloudError:
    """What an exception out of the SDK means. Pure; knows the SDK's classes by their attributes,
    so that judging an error does not import the SDK."""
    cause = getattr(error, "inner_exception", None) or error
    if isinstance(cause, CredentialsError) or type(cause).__name__ == "CredentialException":
        return failure(
            api,
            subject=subject,
            status=None,
            code=NO_CREDENTIALS,
            message=str(cause),
            request_id="",
        )
    data = getattr(cause, "data", None)
    answer: Mapping[str, Any] = data if isinstance(data, Mapping) else {}
    status = getattr(cause, "status_code", None)
    # The SDK turns an absent code into the text "None".
    code = str(answer.get("Code") or answer.get("code") or "")
    message = str(answer.get("Message") or answer.get("message") or "")
    return failure(
        api,
        subject=subject,
        status=status if isinstance(status, int) else None,
        code=code,
        message=message or _words(cause),
        request_id=str(answer.get("RequestId") or answer.get("requestId") or ""),
    )


def _words(cause: BaseException) -> str:
    text = str(getattr(cause, "message", "") or cause)
    return f"{type(cause).__name__}: {text}" if text else type(cause).__name__


def _load(settings: CloudSettings) -> _Sdk:
    from alibabacloud_ecs20140526 import models as ecs_models
    from alibabacloud_ecs20140526.client import Client as EcsClient
    from alibabacloud_tea_openapi.utils_models import Config
    from alibabacloud_vpc20160428 import models as vpc_models
    from alibabacloud_vpc20160428.client import Client as VpcClient
    from darabonba.runtime import RuntimeOptions

    for name in _SDK_LOGGERS:
        logging.getLogger(name).setLevel(logging.WARNING)
    credential = sdk_credential(settings.credentials)

    def config(product: Product) -> Any:
        return Config(
            credential=credential,
            region_id=settings.region_id,
            endpoint=settings.endpoint(product),
            protocol=settings.protocol,
            user_agent="eni-ledger",
        )

    runtime = RuntimeOptions(
        autoretry=False,
        max_attempts=1,
        connect_timeout=int(settings.connect_timeout_s * 1000),
        read_timeout=int(settings.read_timeout_s * 1000),
        max_idle_conns=settings.connections,
    )
    return _Sdk(
        clients={"ecs": EcsClient(config("ecs")), "vpc": VpcClient(config("vpc"))},
        models={"ecs": ecs_models, "vpc": vpc_models},
        runtime=runtime,
    )
