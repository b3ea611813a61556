"""The API calls the cloud simulator knows, and how it refuses one.

Spelling, versions and error codes are the cloud's (ECS 2014-05-26, VPC 2016-04-28).
"""

from typing import Literal, get_args

ApiName = Literal[
    "CreateNetworkInterface",
    "AttachNetworkInterface",
    "DetachNetworkInterface",
    "DeleteNetworkInterface",
    "ModifyNetworkInterfaceAttribute",
    "DescribeNetworkInterfaces",
    "DescribeNetworkInterfaceAttribute",
    "DescribeInstanceTypes",
    "DescribeInstances",
    "DescribeVSwitches",
]
API_NAMES: tuple[str, ...] = get_args(ApiName)

#: Calls that change the cloud. The others only look.
MUTATING = frozenset(name for name in API_NAMES if not name.startswith("Describe"))

ECS_VERSION = "2014-05-26"
VPC_VERSION = "2016-04-28"


def version_of(api: str) -> str:
    """The version of the product that serves this API."""
    return VPC_VERSION if api == "DescribeVSwitches" else ECS_VERSION


class ApiError(Exception):
    """The simulated cloud's no: what becomes {Code, Message} with an HTTP status."""

    def __init__(self, code: str, message: str, status: int = 400) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message
        self.status = status


def not_found(code: str, what: str, identity: str) -> ApiError:
    return ApiError(code, f"The specified {what} {identity} does not exist.", 404)
