"""The network annotations: read as Go reads them, written as the incumbent writes them."""

import json
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.rules.networks import (
    AllocationType,
    NetworkReference,
    NetworkRequest,
    NetworksError,
    networks_to_allocate,
    parse_pod_networks,
    parse_pod_networks_request,
    render_pod_networks,
)

FULL = NetworkRequest(
    interface="eth1",
    vswitch_ids=("vsw-1", "vsw-2"),
    security_group_ids=("sg-1",),
    eni_type="Trunk",
    selection_policy="most",
    resource_group_id="rg-1",
    traffic_mode="Standard",
    default_route=True,
    extra_routes=("10.1.0.0/16",),
    allocation=AllocationType("Fixed", "TTL", timedelta(hours=1), "1h"),
)


def test_all_keys_are_written_exactly_so() -> None:
    assert json.loads(render_pod_networks([FULL])) == {
        "podNetworks": [
            {
                "vSwitchOptions": ["vsw-1", "vsw-2"],
                "securityGroupIDs": ["sg-1"],
                "interface": "eth1",
                "extraRoutes": [{"dst": "10.1.0.0/16"}],
                "eniOptions": {"eniType": "Trunk"},
                "vSwitchSelectOptions": {"vSwitchSelectionPolicy": "most"},
                "resourceGroupID": "rg-1",
                "networkInterfaceTrafficMode": "Standard",
                "defaultRoute": True,
                "allocationType": {"type": "Fixed", "releaseStrategy": "TTL", "releaseAfter": "1h"},
            }
        ]
    }


def test_what_was_not_said_is_not_written() -> None:
    assert render_pod_networks([NetworkRequest()]) == (
        '{"podNetworks":[{"interface":"eth0","allocationType":{"type":"Elastic"}}]}'
    )


words = st.text(alphabet="abc-1é", min_size=1, max_size=6)
requests = st.builds(
    NetworkRequest,
    interface=words,
    vswitch_ids=st.lists(words, max_size=2).map(tuple),
    security_group_ids=st.lists(words, max_size=2).map(tuple),
    eni_type=st.sampled_from(["", "Default", "Trunk", "ENI"]),
    selection_policy=st.sampled_from(["", "ordered", "most"]),
    resource_group_id=st.sampled_from(["", "rg"]),
    traffic_mode=st.sampled_from(["", "Standard"]),
    default_route=st.sampled_from([None, True, False]),
    extra_routes=st.lists(words, max_size=2).map(tuple),
    allocation=st.sampled_from(
        [AllocationType(), FULL.allocation, AllocationType("Fixed", "Never")]
    ),
)


@given(st.lists(requests, max_size=3))
def test_what_is_written_is_read_back(networks: list[NetworkRequest]) -> None:
    assert parse_pod_networks(render_pod_networks(networks)) == tuple(networks)


def test_keys_are_read_without_regard_to_case_and_null_is_absent() -> None:
    network_text = (
        '{"VSWITCHOPTIONS":["vsw-1"],"allocationtype":{"Type":"Fixed"},"eniOptions":null}'
    )
    text = f'{{"PodNetworks":[{network_text}]}}'
    (network,) = parse_pod_networks(text)
    assert network.vswitch_ids == ("vsw-1",)
    assert network.allocation == AllocationType("Fixed")
    assert network.interface == ""


@pytest.mark.parametrize("text", ["", "null", "{}", '{"podNetworks":null}', '{"podNetworks":[]}'])
def test_no_networks(text: str) -> None:
    assert parse_pod_networks(text) == ()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "pod-networks: not JSON"),
        ("[" * 100_000, "pod-networks: not JSON"),
        ("[]", "a JSON object"),
        ('{"podNetworks":{}}', "pod-networks: podnetworks is a map"),
        ('{"podNetworks":[1]}', r"pod-networks\[0\]: a JSON object"),
        (
            '{"podNetworks":[{"vSwitchOptions":"vsw-1"}]}',
            r"pod-networks\[0\]: vswitchoptions is a s",
        ),
        ('{"podNetworks":[{"vSwitchOptions":[1]}]}', r"vswitchoptions\[0\] is a number"),
        ('{"podNetworks":[{"defaultRoute":"true"}]}', "defaultroute: true or false"),
        ('{"podNetworks":[{"extraRoutes":["10.0.0.0/8"]}]}', "extraroutes: a list of"),
        ('{"podNetworks":[{"allocationType":"Fixed"}]}', "allocationtype is a string"),
    ],
)
def test_a_malformed_annotation_names_the_element(text: str, message: str) -> None:
    with pytest.raises(NetworksError, match=message):
        parse_pod_networks(text)


def test_a_release_after_that_is_no_duration_is_kept_as_text() -> None:
    (network,) = parse_pod_networks(
        '{"podNetworks":[{"allocationType":{"type":"Fixed","releaseStrategy":"TTL","releaseAfter":"1d"}}]}'
    )
    assert network.allocation.release_after is None
    assert network.allocation.to_object()["releaseAfter"] == "1d"


def test_requests_by_reference() -> None:
    text = json.dumps(
        [
            {"network": "a"},
            {
                "network": "b",
                "interfaceName": "eth1",
                "defaultRoute": True,
                "routes": [{"dst": "10.0.0.0/8"}],
            },
        ]
    )
    assert parse_pod_networks_request(text) == (
        NetworkReference("a"),
        NetworkReference("b", "eth1", True, ("10.0.0.0/8",)),
    )
    assert parse_pod_networks_request("") == parse_pod_networks_request("null") == ()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("nonsense", "pod-networks-request: not JSON"),
        ("{}", "a JSON list"),
        ("[1]", r"pod-networks-request\[0\]: a JSON object"),
        ('[{"network":"a"},{"interfaceName":"eth1"}]', r"request\[1\]: network is empty"),
        ('[{"network":1}]', "network is a number"),
    ],
)
def test_a_malformed_request_names_the_element(text: str, message: str) -> None:
    with pytest.raises(NetworksError, match=message):
        parse_pod_networks_request(text)


def test_networks_to_allocate_takes_eth0_where_nothing_is_said() -> None:
    text = '{"podNetworks":[{"vSwitchOptions":["v"],"securityGroupIDs":["s"]}]}'
    assert [each.interface for each in networks_to_allocate(text)] == ["eth0"]


@pytest.mark.parametrize(
    ("elements", "message"),
    [
        ([{"securityGroupIDs": ["s"]}], "interface eth0 has no vSwitchOptions; .* recreate"),
        ([{"vSwitchOptions": ["v"]}], "interface eth0 has no securityGroupIDs"),
        ([{}, {}], "interface eth0"),
        (
            [
                {"vSwitchOptions": ["v"], "securityGroupIDs": ["s"]},
                {"vSwitchOptions": ["v"], "securityGroupIDs": ["s"]},
            ],
            "interface eth0 appears twice",
        ),
        (
            [
                {"vSwitchOptions": ["v"], "securityGroupIDs": ["s"], "defaultRoute": True},
                {
                    "interface": "eth1",
                    "vSwitchOptions": ["v"],
                    "securityGroupIDs": ["s"],
                    "defaultRoute": True,
                },
            ],
            "only one interface",
        ),
    ],
)
def test_nothing_is_allocated_from_contradictions(elements: list[object], message: str) -> None:
    with pytest.raises(NetworksError, match=message):
        networks_to_allocate(json.dumps({"podNetworks": elements}))
