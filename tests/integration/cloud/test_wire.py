"""The simulator's HTTP face without an SDK: the older signature, error bodies, the control side."""

import base64
import hashlib
import hmac
import uuid
from typing import Any
from urllib.parse import quote

import httpx2
import pytest

from .conftest import KEY, RunningSimulator


def sign_v1(method: str, secret: str, **parameters: str) -> dict[str, str]:
    """A V1 RPC signature written from the published rules, independently of the simulator's."""
    full = {
        "Format": "JSON",
        "AccessKeyId": KEY.access_key_id,
        "SignatureMethod": "HMAC-SHA1",
        "SignatureVersion": "1.0",
        "SignatureNonce": uuid.uuid4().hex,
        "Timestamp": "2026-01-01T00:00:00Z",
        "Version": "2014-05-26",
        "RegionId": "cn-hangzhou",
        **parameters,
    }
    query = "&".join(f"{quote(k, safe='~')}={quote(full[k], safe='~')}" for k in sorted(full))
    to_sign = f"{method}&{quote('/', safe='')}&{quote(query, safe='~')}"
    digest = hmac.new(f"{secret}&".encode(), to_sign.encode(), hashlib.sha1).digest()
    return full | {"Signature": base64.b64encode(digest).decode()}


def get(simulator: RunningSimulator, **parameters: str) -> httpx2.Response:
    return simulator.control.get("/", params=sign_v1("GET", KEY.access_key_secret, **parameters))


def test_the_older_signature_by_get_and_by_form(simulator: RunningSimulator) -> None:
    found = get(simulator, **{"Action": "DescribeNetworkInterfaces", "Type": "Trunk"}).json()
    assert found["TotalCount"] == 4
    paged = get(
        simulator,
        **{"Action": "DescribeNetworkInterfaces", "PageNumber": "2", "PageSize": "3"},
    ).json()
    assert len(paged["NetworkInterfaceSets"]["NetworkInterfaceSet"]) == 3
    assert (paged["TotalCount"], paged["PageNumber"]) == (8, 2)
    form = sign_v1(
        "POST",
        KEY.access_key_secret,
        Action="DescribeVSwitches",
        Version="2016-04-28",
        VSwitchId="vsw-bpxxxx",
    )
    switches = simulator.control.post("/", data=form).json()
    assert switches["VSwitches"]["VSwitch"][0]["ZoneId"] == "cn-hangzhou-h"


def test_errors_have_the_clouds_shape_and_status(simulator: RunningSimulator) -> None:
    action = {"Action": "DescribeNetworkInterfaceAttribute", "NetworkInterfaceId": "eni-no"}
    absent = get(simulator, **action)
    assert absent.status_code == 404
    body = absent.json()
    assert set(body) == {"RequestId", "HostId", "Code", "Message", "Recommend"}
    assert body["Code"] == "InvalidEniId.NotFound"


@pytest.mark.parametrize(
    ("secret", "parameters", "status", "code"),
    [
        ("wrong", {"Action": "DescribeVSwitches"}, 400, "SignatureDoesNotMatch"),
        (KEY.access_key_secret, {"Action": "RunInstances"}, 404, "InvalidAction.NotFound"),
        (KEY.access_key_secret, {"Action": "DescribeVSwitches"}, 400, "InvalidVersion"),
        (
            KEY.access_key_secret,
            {"Action": "DescribeInstances", "Format": "XML"},
            400,
            "UnsupportedFormat",
        ),
    ],
)
def test_refusals_at_the_door(
    simulator: RunningSimulator, secret: str, parameters: dict[str, str], status: int, code: str
) -> None:
    answer = simulator.control.get("/", params=sign_v1("GET", secret, **parameters))
    assert (answer.status_code, answer.json()["Code"]) == (status, code)
    (logged,) = simulator.calls()
    assert logged["outcome"] == code
    assert not {"Signature", "AccessKeyId", "SignatureNonce"} & set(logged["parameters"])


def test_unsigned_is_refused(simulator: RunningSimulator) -> None:
    answer = simulator.control.get("/", params={"Action": "DescribeInstances"})
    assert answer.json()["Code"] == "MissingSignature"


def test_the_control_side_looks_inside(simulator: RunningSimulator) -> None:
    assert simulator.control.get("/_sim/health").json()["status"] == "ok"
    assert len(simulator.enis(type="Trunk", status="InUse")) == 4
    get(simulator, Action="DescribeInstances")
    (call,) = simulator.calls()
    assert (call["api"], call["outcome"], call["mutating"]) == ("DescribeInstances", "ok", False)
    later = simulator.control.get("/_sim/calls", params={"since": call["sequence"]}).json()
    assert later == {"calls": []}


def test_faults_are_put_up_listed_and_taken_down(simulator: RunningSimulator) -> None:
    number = simulator.put_fault(kind="throttle", api="DescribeInstances")
    assert get(simulator, Action="DescribeInstances").json()["Code"] == "Throttling.User"
    (standing,) = simulator.control.get("/_sim/faults").json()["faults"]
    assert (standing["number"], standing["struck"], standing["left"]) == (number, 1, None)
    assert simulator.control.delete(f"/_sim/faults/{number}").json() == {"cleared": 1}
    assert get(simulator, Action="DescribeInstances").status_code == 200
    simulator.put_fault(kind="throttle", api="*")
    simulator.put_fault(kind="attach_fails")
    assert simulator.control.delete("/_sim/faults").json() == {"cleared": 2}


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ({"kind": "storm"}, "storm"),
        ({"kind": "throttle", "api": "Fly"}, "CreateNetworkInterface"),
        ({"kind": "stuck", "state": "InUse"}, "Attaching"),
        ({"kind": "slow", "api": "*", "second": 1}, "unknown key(s) second"),
        ({"kind": "ip_exhaustion", "vswitch_id": "vsw-no"}, "vsw-no"),
    ],
)
def test_a_bad_fault_is_refused_with_what_is_allowed(
    simulator: RunningSimulator, body: dict[str, Any], says: str
) -> None:
    answer = simulator.control.post("/_sim/faults", json=body)
    assert answer.status_code == 400
    assert says in answer.json()["error"]
    assert answer.json()["allowed"]


def test_other_bad_control_requests(simulator: RunningSimulator) -> None:
    control = simulator.control
    assert control.post("/_sim/faults", content="{").status_code == 400
    assert control.get("/_sim/calls", params={"since": "x"}).status_code == 400
    assert control.post("/_sim/clock/advance", json={"seconds": -1}).status_code == 400
    unknown = control.post("/_sim/instances/i-no/kill")
    assert unknown.status_code == 404
    assert "i-bp1demo0h1" in unknown.json()["allowed"]
    assert control.delete("/_sim/faults/9").status_code == 404


def test_the_clock_can_be_moved(simulator: RunningSimulator) -> None:
    before = simulator.control.get("/_sim/clock").json()["now"]
    after = simulator.control.post("/_sim/clock/advance", json={"seconds": 86_400}).json()["now"]
    assert after[:10] > before[:10]
