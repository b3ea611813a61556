"""The port in the cloud's words: what is asked, how it pages, what is read."""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

import pytest

from consumers.cloud.api import Body, CloudOverApi
from consumers.cloud.port import CreateEni, EniQuery, InstanceTypeLimits, Refused, Unknown

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


class Recorder:
    """A transport that notes what was asked and answers by a function."""

    def __init__(self, answer: Callable[[str, Mapping[str, object]], Body]) -> None:
        self.asked: list[tuple[str, dict[str, object]]] = []
        self._answer = answer

    def __call__(self, api: str, parameters: Mapping[str, object], subject: str) -> Body:
        self.asked.append((api, dict(parameters)))
        assert subject, "every error must be able to name its object"
        return self._answer(api, parameters)


def cloud(recorder: Recorder) -> CloudOverApi:
    return CloudOverApi(recorder, region_id="cn-hangzhou", now=lambda: NOW)


def eni(eni_id: str = "eni-1", **changes: Any) -> dict[str, Any]:
    return {
        "NetworkInterfaceId": eni_id,
        "MacAddress": "00:16:3e:00:00:01",
        "Status": "InUse",
        "Type": "Member",
        "VpcId": "vpc-1",
        "VSwitchId": "vsw-1",
        "ZoneId": "cn-hangzhou-h",
        "PrivateIpAddress": "192.168.0.5",
        "Ipv6Sets": {"Ipv6Set": [{"Ipv6Address": "2408::5"}]},
        "SecurityGroupIds": {"SecurityGroupId": ["sg-1", "sg-2"]},
        "InstanceId": "i-1",
        "Attachment": {"DeviceIndex": 1001, "TrunkNetworkInterfaceId": "eni-t"},
        "Tags": {"Tag": [{"TagKey": "a", "TagValue": "b"}]},
        "CreationTime": "2026-01-01T00:00:00Z",
        "RequestId": "R-1",
    } | changes


def listing(*items: dict[str, Any], token: str = "") -> dict[str, Any]:
    return {
        "NetworkInterfaceSets": {"NetworkInterfaceSet": list(items)},
        "NextToken": token,
        "RequestId": f"R-{len(items)}",
    }


def test_create_asks_for_what_the_incumbent_asks_for() -> None:
    recorder = Recorder(lambda _api, _parameters: eni(Type="Secondary", CreationTime=None))
    answer = cloud(recorder).create_eni(
        CreateEni(
            vswitch_id="vsw-1",
            security_group_ids=("sg-1",),
            client_token="t-1",
            tags={"z": "1", "a": "2"},
            delete_on_release=False,
            ipv6_count=1,
        )
    )
    assert recorder.asked == [
        (
            "CreateNetworkInterface",
            {
                "RegionId": "cn-hangzhou",
                "VSwitchId": "vsw-1",
                "SecurityGroupIds": ["sg-1"],
                "InstanceType": "Secondary",
                "ClientToken": "t-1",
                "DeleteOnRelease": False,
                "SourceDestCheck": False,
                "Description": "interface create by eni-ledger",
                "Tag": [{"Key": "a", "Value": "2"}, {"Key": "z", "Value": "1"}],
                "Ipv6AddressCount": 1,
            },
        )
    ]
    assert answer.value.created_at == NOW
    assert answer.value.vlan is None, "only a Member's DeviceIndex is a VLAN id"


def test_without_ipv6_and_resource_group_they_are_not_sent() -> None:
    recorder = Recorder(lambda _api, _parameters: eni())
    cloud(recorder).create_eni(CreateEni("vsw-1", ("sg-1",), "t", {}, delete_on_release=True))
    assert not {"Ipv6AddressCount", "ResourceGroupId", "Tag"} & set(recorder.asked[0][1])


def test_a_member_is_read_whole() -> None:
    recorder = Recorder(lambda _api, _parameters: listing(eni()))
    (read,) = cloud(recorder).describe_enis(EniQuery(eni_ids=("eni-1",))).value
    assert (read.vlan, read.trunk_eni_id, read.instance_id) == (1001, "eni-t", "i-1")
    assert (read.ipv4, read.ipv6) == ("192.168.0.5", "2408::5")
    assert read.security_group_ids == ("sg-1", "sg-2")
    assert read.tags == {"a": "b"}
    assert read.created_at == datetime(2026, 1, 1, tzinfo=UTC)


def test_a_member_being_attached_has_no_vlan_yet() -> None:
    body = eni(Status="Attaching", Attachment={"DeviceIndex": 0, "InstanceId": "i-9"})
    body["InstanceId"] = ""
    recorder = Recorder(lambda _api, _parameters: listing(body))
    (read,) = cloud(recorder).describe_enis(EniQuery()).value
    assert read.vlan is None
    assert read.instance_id == "i-9"


def test_ids_go_in_groups_of_a_hundred_and_pages_are_followed() -> None:
    def answer(_api: str, parameters: Mapping[str, object]) -> Body:
        ids = parameters["NetworkInterfaceId"]
        assert isinstance(ids, list)
        if len(ids) == 100 and "NextToken" not in parameters:
            return listing(eni(ids[0]), token="more")
        return listing(eni(ids[-1]))

    recorder = Recorder(answer)
    ids = tuple(f"eni-{number}" for number in range(150))
    found = cloud(recorder).describe_enis(EniQuery(eni_ids=ids))
    assert [one.id for one in found.value] == ["eni-0", "eni-99", "eni-149"]
    assert found.calls == 3
    assert all(parameters["MaxResults"] == 500 for _, parameters in recorder.asked)
    assert recorder.asked[1][1]["NextToken"] == "more"


def test_filters_are_sent_and_empty_ones_are_not() -> None:
    recorder = Recorder(lambda _api, _parameters: listing())
    query = EniQuery(vpc_id="vpc-1", tags={"k": "v"}, type="Member", status="InUse")
    assert cloud(recorder).describe_enis(query).value == ()
    assert recorder.asked[0][1] == {
        "RegionId": "cn-hangzhou",
        "MaxResults": 500,
        "VpcId": "vpc-1",
        "Type": "Member",
        "Status": "InUse",
        "Tag": [{"Key": "k", "Value": "v"}],
    }


def test_a_page_token_that_repeats_does_not_loop_for_ever() -> None:
    recorder = Recorder(lambda _api, _parameters: listing(eni(), token="same"))
    with pytest.raises(Unknown, match="NextToken"):
        cloud(recorder).describe_enis(EniQuery())
    assert len(recorder.asked) == 2


def refusing(code: str) -> Recorder:
    def answer(api: str, _parameters: Mapping[str, object]) -> Body:
        raise Refused(api, code, "no", "R-9")

    return Recorder(answer)


@pytest.mark.parametrize("code", ["InvalidEniId.NotFound", "InvalidEcsId.NotFound"])
def test_detaching_what_is_gone_succeeds_and_says_so(code: str) -> None:
    answer = cloud(refusing(code)).detach_eni("eni-1", "i-1", "eni-t")
    assert answer.already_gone
    assert answer.request_id == "R-9"


def test_deleting_what_is_gone_succeeds_and_says_so() -> None:
    assert cloud(refusing("InvalidEniId.NotFound")).delete_eni("eni-1").already_gone


def test_other_refusals_stay_refusals() -> None:
    with pytest.raises(Refused):
        cloud(refusing("InvalidEcsId.NotFound")).delete_eni("eni-1")
    with pytest.raises(Refused):
        cloud(refusing("InvalidEniId.NotFound")).attach_eni("eni-1", "i-1", None, None)
    with pytest.raises(Refused):
        cloud(refusing("InvalidOperation.InvalidEniState")).detach_eni("eni-1", "i-1", None)


def test_attach_sends_trunk_and_card_only_where_given() -> None:
    recorder = Recorder(lambda _api, _parameters: {"RequestId": "R"})
    cloud(recorder).attach_eni("eni-1", "i-1", "eni-t", 0)
    cloud(recorder).attach_eni("eni-1", "i-1", None, None)
    assert recorder.asked[0][1]["TrunkNetworkInstanceId"] == "eni-t"
    assert recorder.asked[0][1]["NetworkCardIndex"] == 0
    assert set(recorder.asked[1][1]) == {"RegionId", "NetworkInterfaceId", "InstanceId"}


def test_an_unknown_vswitch_is_none_and_another_one_is_not_taken_for_it() -> None:
    empty = Recorder(lambda _api, _parameters: {"VSwitches": {"VSwitch": []}})
    assert cloud(empty).describe_vswitch("vsw-1").value is None
    other = {"VSwitchId": "vsw-2", "ZoneId": "z", "CidrBlock": "10.0.0.0/24"}
    wrong = Recorder(lambda _api, _parameters: {"VSwitches": {"VSwitch": [other]}})
    assert cloud(wrong).describe_vswitch("vsw-1").value is None


def test_instance_types_go_in_groups_of_ten_without_a_region() -> None:
    recorder = Recorder(lambda _api, _parameters: {"InstanceTypes": {"InstanceType": []}})
    answer = cloud(recorder).describe_instance_types([f"t{number}" for number in range(11)])
    assert answer.calls == 2
    assert "RegionId" not in recorder.asked[0][1]
    assert cloud(recorder).describe_instance_types([]).calls == 0


def test_an_answer_without_what_every_eni_has_is_no_answer() -> None:
    recorder = Recorder(lambda _api, _parameters: {"RequestId": "R-1"})
    request = CreateEni("vsw-1", ("sg-1",), "t", {}, delete_on_release=True)
    with pytest.raises(Unknown, match="Type"):
        cloud(recorder).create_eni(request)


@pytest.mark.parametrize(
    ("trunk", "quantity", "total", "limit"),
    [(True, 4, 24, 20), (False, 4, 24, 0), (True, 8, 6, 0), (True, 2, 1, 0)],
)
def test_member_limit(trunk: bool, quantity: int, total: int, limit: int) -> None:
    assert InstanceTypeLimits("t", quantity, total, trunk, 10, 10).member_limit == limit
