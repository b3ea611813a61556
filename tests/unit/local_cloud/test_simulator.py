"""A call's way through limits and faults, and what the call log says of it."""

from collections.abc import Callable
from typing import Any

import pytest
from pydantic import ValidationError

from consumers.cloud.api import CloudOverApi
from consumers.cloud.port import CreateEni, EniQuery, Refused, Throttled, Unknown
from deploy.local.cloud.faults import read_fault
from deploy.local.cloud.port_adapter import simulated_cloud
from deploy.local.cloud.simulator import Simulator

from .conftest import Clock

REQUEST = CreateEni("vsw-h", ("sg-1",), "token-1", {"k": "v"}, delete_on_release=True)


def put(simulator: Simulator, **fault: Any) -> int:
    return simulator.faults.put(read_fault(fault)).number


def enis(cloud: CloudOverApi) -> int:
    return len(cloud.describe_enis(EniQuery(tags={"k": "v"})).value)


def test_a_time_out_before_the_effect(cloud: CloudOverApi, simulator: Simulator) -> None:
    put(simulator, kind="timeout", api="CreateNetworkInterface", effect="before", times=1)
    with pytest.raises(Unknown):
        cloud.create_eni(REQUEST)
    assert enis(cloud) == 0
    cloud.create_eni(REQUEST)
    assert enis(cloud) == 1


def test_a_time_out_after_the_effect_is_resolved_by_the_token(
    cloud: CloudOverApi, simulator: Simulator, clock: Clock
) -> None:
    put(simulator, kind="timeout", api="CreateNetworkInterface", effect="after", times=1)
    before = clock.now
    with pytest.raises(Unknown, match="timed out"):
        cloud.create_eni(REQUEST)
    assert (clock.now - before).total_seconds() == 10, "the caller waited its read timeout"
    (hidden,) = cloud.describe_enis(EniQuery(tags={"k": "v"})).value
    assert cloud.create_eni(REQUEST).value.id == hidden.id
    assert enis(cloud) == 1


@pytest.mark.parametrize(("effect", "left"), [("before", 1), ("after", 0)])
def test_a_gateway_error_says_nothing(
    cloud: CloudOverApi, simulator: Simulator, clock: Clock, effect: str, left: int
) -> None:
    eni = cloud.create_eni(REQUEST).value
    put(simulator, kind="gateway", api="DeleteNetworkInterface", effect=effect, times=1)
    with pytest.raises(Unknown):
        cloud.delete_eni(eni.id)
    clock.advance(1)
    assert enis(cloud) == left


def test_error_and_throttle_on_demand(cloud: CloudOverApi, simulator: Simulator) -> None:
    put(
        simulator,
        kind="error",
        api="DescribeVSwitches",
        code="Forbidden.RAM",
        status=403,
        message="no right",
        times=1,
    )
    with pytest.raises(Refused, match=r"Forbidden\.RAM: no right"):
        cloud.describe_vswitch("vsw-h")
    number = put(simulator, kind="throttle", api="*")
    with pytest.raises(Throttled):
        cloud.describe_vswitch("vsw-h")
    simulator.clear_faults(number)
    assert cloud.describe_vswitch("vsw-h").value is not None
    put(simulator, kind="error", api="DescribeVSwitches", code="ServiceUnavailable", status=503)
    with pytest.raises(Unknown):
        cloud.describe_vswitch("vsw-h")


def test_a_fault_can_wait_for_certain_parameters(cloud: CloudOverApi, simulator: Simulator) -> None:
    one = cloud.create_eni(REQUEST).value
    fault = {"kind": "throttle", "api": "DeleteNetworkInterface"}
    put(simulator, **fault, parameters={"NetworkInterfaceId": "eni-other"})
    cloud.delete_eni(one.id)


def test_a_slow_answer_is_an_answer_unless_it_is_too_slow(
    cloud: CloudOverApi, simulator: Simulator, clock: Clock
) -> None:
    put(simulator, kind="slow", api="CreateNetworkInterface", seconds=4, times=1)
    before = clock.now
    eni = cloud.create_eni(REQUEST).value
    assert (clock.now - before).total_seconds() == 4
    put(simulator, kind="slow", api="DeleteNetworkInterface", seconds=11, times=1)
    with pytest.raises(Unknown):
        cloud.delete_eni(eni.id)
    assert enis(cloud) == 0, "it took effect"


def test_rate_and_burst_per_api(make: Callable[..., Simulator], clock: Clock) -> None:
    limits = {"DescribeVSwitches": {"per_minute": 60, "burst": 3}}
    cloud = simulated_cloud(make(rate_limits=limits), now=clock)
    for _ in range(3):
        cloud.describe_vswitch("vsw-h")
    with pytest.raises(Throttled) as raised:
        cloud.describe_vswitch("vsw-h")
    assert raised.value.code == "Throttling.User"
    cloud.describe_enis(EniQuery())
    clock.advance(1)
    cloud.describe_vswitch("vsw-h")
    with pytest.raises(Throttled):
        cloud.describe_vswitch("vsw-h")
    clock.advance(3600)
    for _ in range(3):
        cloud.describe_vswitch("vsw-h")
    with pytest.raises(Throttled):
        cloud.describe_vswitch("vsw-h")


def test_the_rate_over_a_while_is_the_configured_one(
    make: Callable[..., Simulator], clock: Clock
) -> None:
    simulator = make(rate_limits={"DescribeVSwitches": {"per_minute": 90, "burst": 5}})
    for _ in range(1200):
        simulator.call("DescribeVSwitches", {"RegionId": "cn-hangzhou"})
        clock.advance(0.1)
    admitted = sum(call.outcome == "ok" for call in simulator.calls())
    assert admitted in (184, 185), "5 at once and 90 a minute for two minutes"


def test_the_call_log_tells_what_happened(cloud: CloudOverApi, simulator: Simulator) -> None:
    eni = cloud.create_eni(REQUEST).value
    put(simulator, kind="timeout", api="DeleteNetworkInterface", effect="after", times=1)
    with pytest.raises(Unknown):
        cloud.delete_eni(eni.id)
    with pytest.raises(Refused):
        cloud.attach_eni("eni-p-h1", "i-h1", None, None)
    cloud.describe_vswitch("vsw-h")
    create, delete, attach, describe = simulator.calls()
    assert (create.sequence, create.api, create.outcome, create.mutating, create.effect) == (
        1,
        "CreateNetworkInterface",
        "ok",
        True,
        True,
    )
    assert create.parameters["ClientToken"] == "token-1"
    assert create.parameters["Tag.1.Key"] == "k"
    assert (delete.outcome, delete.delivery, delete.effect) == ("ok", "silence", True)
    assert (attach.outcome, attach.effect) == ("InvalidOperation.InvalidEniState", False)
    assert (describe.mutating, describe.effect) == (False, False)
    assert [call.sequence for call in simulator.calls(since=2)] == [3, 4]
    assert simulator.calls(since=4) == []


def test_a_repeated_create_took_effect_once(cloud: CloudOverApi, simulator: Simulator) -> None:
    first = cloud.create_eni(REQUEST).value
    assert cloud.create_eni(REQUEST).value.id == first.id
    told = [(call.outcome, call.effect) for call in simulator.calls()]
    assert told == [("ok", True), ("ok", False)]


def test_the_log_holds_nothing_that_authenticates(simulator: Simulator) -> None:
    simulator.call(
        "DescribeVSwitches",
        {
            "RegionId": "cn-hangzhou",
            "AccessKeyId": "id",
            "Signature": "s",
            "SecurityToken": "t",
            "SignatureNonce": "n",
        },
    )
    assert simulator.calls()[-1].parameters == {"RegionId": "cn-hangzhou"}


@pytest.mark.parametrize(
    ("api", "parameters", "code"),
    [
        ("DescribeVSwitches", {}, "MissingRegionId"),
        ("DescribeVSwitches", {"RegionId": "moon"}, "InvalidRegionId.NotFound"),
        (
            "DescribeNetworkInterfaces",
            {"RegionId": "cn-hangzhou", "MaxResults": "501"},
            "InvalidMaxResults",
        ),
        (
            "DescribeNetworkInterfaces",
            {"RegionId": "cn-hangzhou", "Status": "Broken"},
            "InvalidStatus",
        ),
        (
            "DescribeNetworkInterfaces",
            {"RegionId": "cn-hangzhou", "NextToken": "zzz"},
            "InvalidNextToken",
        ),
        (
            "CreateNetworkInterface",
            {"RegionId": "cn-hangzhou", "VSwitchId": "vsw-h", "QueueNumber": "4"},
            "UnsupportedParameter",
        ),
        (
            "DescribeInstances",
            {"RegionId": "cn-hangzhou", "InstanceIds": "i-h1"},
            "InvalidInstanceIds.Malformed",
        ),
    ],
)
def test_wrong_parameters(
    simulator: Simulator, api: str, parameters: dict[str, str], code: str
) -> None:
    outcome = simulator.call(api, parameters)
    assert outcome.status in (400, 404)
    assert outcome.body["Code"] == code
    assert set(outcome.body) == {"RequestId", "HostId", "Code", "Message", "Recommend"}


def test_describe_instances_and_attribute(simulator: Simulator) -> None:
    region = {"RegionId": "cn-hangzhou"}
    body = simulator.call("DescribeInstances", region | {"InstanceIds": '["i-h1"]'}).body
    (instance,) = body["Instances"]["Instance"]
    assert instance["VpcAttributes"]["PrivateIpAddress"]["IpAddress"] == ["192.168.0.9"]
    enis = instance["NetworkInterfaces"]["NetworkInterface"]
    assert [eni["NetworkInterfaceId"] for eni in enis] == ["eni-p-h1", "eni-t-h1"]
    asked = region | {"NetworkInterfaceId": "eni-t-h1", "Attribute": "basic"}
    assert simulator.call("DescribeNetworkInterfaceAttribute", asked).body["Type"] == "Trunk"
    asked = region | {"NetworkInterfaceId": "eni-no"}
    assert simulator.call("DescribeNetworkInterfaceAttribute", asked).status == 404


@pytest.mark.parametrize(
    ("fault", "says"),
    [
        ({"kind": "storm"}, "storm"),
        ({"kind": "throttle", "api": "Fly"}, "CreateNetworkInterface"),
        ({"kind": "throttle"}, "Field required"),
        ({"kind": "timeout", "api": "*", "effect": "during"}, "before"),
        ({"kind": "slow", "api": "*", "seconds": 0}, "greater than 0"),
        ({"kind": "throttle", "api": "*", "times": 0}, "greater than or equal to 1"),
        ({"kind": "throttle", "api": "*", "tmies": 2}, "allowed: times"),
    ],
)
def test_wrong_faults(fault: dict[str, Any], says: str) -> None:
    with pytest.raises(ValidationError, match=says):
        read_fault(fault)
