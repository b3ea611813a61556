"""The simulated cloud's rules, through the port: what the reconciler would meet."""

from collections.abc import Callable

import pytest

from consumers.cloud.api import CloudOverApi
from consumers.cloud.port import CreateEni, Eni, EniQuery, Refused
from deploy.local.cloud.faults import read_fault
from deploy.local.cloud.port_adapter import simulated_cloud
from deploy.local.cloud.simulator import Simulator

from .conftest import Clock


def request(token: str = "t-1", **changes: object) -> CreateEni:
    fields: dict[str, object] = {
        "vswitch_id": "vsw-h",
        "security_group_ids": ("sg-1",),
        "client_token": token,
        "tags": {"creator": "eni-ledger"},
        "delete_on_release": True,
    }
    return CreateEni(**(fields | changes))  # type: ignore[arg-type]


def look(cloud: CloudOverApi, eni_id: str) -> Eni | None:
    found = cloud.describe_enis(EniQuery(eni_ids=(eni_id,))).value
    return found[0] if found else None


def state(cloud: CloudOverApi, eni_id: str) -> str:
    eni = look(cloud, eni_id)
    return eni.status if eni else "gone"


def member(cloud: CloudOverApi, clock: Clock, token: str = "t-1", instance: str = "h1") -> Eni:
    eni = cloud.create_eni(request(token)).value
    cloud.attach_eni(eni.id, f"i-{instance}", f"eni-t-{instance}", None)
    clock.advance(2)
    attached = look(cloud, eni.id)
    assert attached is not None
    return attached


def test_a_whole_life(cloud: CloudOverApi, clock: Clock) -> None:
    eni = cloud.create_eni(request(ipv6_count=1)).value
    assert (eni.status, eni.type, eni.zone, eni.vpc_id) == ("Available", "Secondary", "h", "vpc-1")
    assert eni.mac.startswith("00:16:3e:")
    assert eni.ipv6 is not None
    cloud.attach_eni(eni.id, "i-h1", "eni-t-h1", None)
    attaching = look(cloud, eni.id)
    assert attaching is not None
    assert (attaching.status, attaching.vlan) == ("Attaching", None)
    clock.advance(1.9)
    assert state(cloud, eni.id) == "Attaching"
    clock.advance(0.1)
    attached = look(cloud, eni.id)
    assert attached is not None
    assert (attached.status, attached.type, attached.vlan) == ("InUse", "Member", 1001)
    assert (attached.instance_id, attached.trunk_eni_id) == ("i-h1", "eni-t-h1")
    cloud.detach_eni(eni.id, "i-h1", "eni-t-h1")
    assert state(cloud, eni.id) == "Detaching"
    clock.advance(3)
    detached = look(cloud, eni.id)
    assert detached is not None
    assert (detached.status, detached.type, detached.vlan) == ("Available", "Secondary", None)
    assert (detached.instance_id, detached.trunk_eni_id) == (None, None)
    assert detached.ipv4 == eni.ipv4
    cloud.delete_eni(eni.id)
    assert state(cloud, eni.id) == "Deleting"
    clock.advance(1)
    assert state(cloud, eni.id) == "gone"
    assert cloud.delete_eni(eni.id).already_gone


Act = Callable[[CloudOverApi, str], object]

REFUSED: list[tuple[Act, str]] = [
    (lambda c, e: c.attach_eni("eni-no", "i-h1", None, None), "InvalidEniId.NotFound"),
    (lambda c, e: c.attach_eni(e, "i-no", None, None), "InvalidEcsId.NotFound"),
    (
        lambda c, e: c.attach_eni(e, "i-i1", "eni-t-i1", None),
        "InvalidOperation.AvailabilityZoneMismatch",
    ),
    (
        lambda c, e: c.attach_eni(e, "i-h1", "eni-t-h2", None),
        "InvalidParameter.TrunkNetworkInstanceId",
    ),
    (
        lambda c, e: c.attach_eni(e, "i-h1", "eni-p-h1", None),
        "InvalidParameter.TrunkNetworkInstanceId",
    ),
    (lambda c, e: c.detach_eni(e, "i-h1", None), "InvalidOperation.InvalidEniState"),
    (
        lambda c, e: c.detach_eni("eni-p-h1", "i-h1", None),
        "InvalidOperation.DetachPrimaryEniNotAllowed",
    ),
    (lambda c, e: c.delete_eni("eni-t-h1"), "InvalidOperation.InvalidEniState"),
    (
        lambda c, e: c.create_eni(request("t", vswitch_id="vsw-no")),
        "InvalidVSwitchId.NotFound",
    ),
    (
        lambda c, e: c.create_eni(request("t", security_group_ids=("sg-no",))),
        "InvalidSecurityGroupId.NotFound",
    ),
    (
        lambda c, e: c.create_eni(request("t", security_group_ids=("sg-1",) * 11)),
        "SecurityGroupInstanceLimitExceed",
    ),
    (
        lambda c, e: c.create_eni(request("t", vswitch_id="vsw-i", ipv6_count=1)),
        "InvalidVSwitch.Ipv6NotTurnOn",
    ),
    (lambda c, e: c.create_eni(request("x" * 65)), "InvalidClientToken"),
    (
        lambda c, e: c.modify_eni_security_groups(e, ["sg-no"]),
        "InvalidSecurityGroupId.NotFound",
    ),
]


@pytest.mark.parametrize(("act", "code"), REFUSED)
def test_refusals(cloud: CloudOverApi, act: Act, code: str) -> None:
    eni = cloud.create_eni(request())
    with pytest.raises(Refused) as raised:
        act(cloud, eni.value.id)
    assert raised.value.code == code
    assert state(cloud, eni.value.id) == "Available", "nothing happened"


def test_an_eni_in_use_is_neither_attached_again_nor_deleted_nor_detached_elsewhere(
    cloud: CloudOverApi, clock: Clock
) -> None:
    eni = member(cloud, clock)
    wrong: list[Callable[[], object]] = [
        lambda: cloud.attach_eni(eni.id, "i-h2", "eni-t-h2", None),
        lambda: cloud.delete_eni(eni.id),
        lambda: cloud.detach_eni(eni.id, "i-h2", "eni-t-h2"),
        lambda: cloud.detach_eni("eni-t-h1", "i-h1", None),
    ]
    for act in wrong:
        with pytest.raises(Refused, match="InvalidEniState"):
            act()
    assert state(cloud, eni.id) == "InUse"


def test_a_token_repeated_gives_the_same_eni_and_used_otherwise_fails(
    cloud: CloudOverApi, simulator: Simulator
) -> None:
    first = cloud.create_eni(request())
    again = cloud.create_eni(request())
    assert again.value == first.value
    assert len(simulator.model.enis()) == 8
    with pytest.raises(Refused, match="IdempotentFailed"):
        cloud.create_eni(request(security_group_ids=("sg-2",)))
    assert cloud.create_eni(request("t-2")).value.id != first.value.id


def test_a_token_is_forgotten_after_a_day(cloud: CloudOverApi, clock: Clock) -> None:
    first = cloud.create_eni(request())
    clock.advance(24 * 3600 + 1)
    assert cloud.create_eni(request()).value.id != first.value.id


def test_a_full_vswitch_refuses_until_an_address_is_free_again(
    cloud: CloudOverApi, clock: Clock
) -> None:
    one = cloud.create_eni(request("a", vswitch_id="vsw-small")).value
    cloud.create_eni(request("b", vswitch_id="vsw-small"))
    switch = cloud.describe_vswitch("vsw-small").value
    assert switch is not None
    assert switch.available_ips == 0
    with pytest.raises(Refused, match=r"InvalidVSwitchId\.IpNotEnough"):
        cloud.create_eni(request("c", vswitch_id="vsw-small"))
    cloud.delete_eni(one.id)
    clock.advance(1)
    # The other addresses of the vSwitch are somebody else's: only this one is free.
    assert cloud.create_eni(request("c", vswitch_id="vsw-small")).value.status == "Available"


def test_addresses_leave_out_what_the_cloud_keeps_for_itself(
    make: Callable[..., Simulator],
) -> None:
    simulator = make(
        vswitches=[
            {"id": "vsw-h", "zone": "h", "cidr": "192.168.0.0/28"},
            {"id": "vsw-i", "zone": "i", "cidr": "192.168.2.0/28"},
        ]
    )
    cloud = simulated_cloud(simulator, now=lambda: Clock().now)
    switch = cloud.describe_vswitch("vsw-h").value
    assert switch is not None
    for number in range(switch.available_ips):
        cloud.create_eni(request(f"t-{number}"))
    given = {eni.ipv4 for eni in simulator.model.enis() if eni.vswitch_id == "vsw-h"}
    assert given == {f"192.168.0.{last}" for last in range(1, 13)}


@pytest.mark.parametrize(("at_once", "same"), [(True, True), (False, False)])
def test_a_freed_address_comes_back_at_once_or_after_a_turn(
    make: Callable[..., Simulator], clock: Clock, at_once: bool, same: bool
) -> None:
    cloud = simulated_cloud(make(reuse_addresses_at_once=at_once), now=clock)
    first = cloud.create_eni(request("a")).value
    cloud.delete_eni(first.id)
    clock.advance(1)
    second = cloud.create_eni(request("b")).value
    assert (second.ipv4 == first.ipv4) is same


def test_vlans_are_unique_per_trunk_and_a_released_one_comes_back(
    cloud: CloudOverApi, clock: Clock
) -> None:
    first = member(cloud, clock, "a")
    second = member(cloud, clock, "b")
    elsewhere = member(cloud, clock, "c", instance="h2")
    assert (first.vlan, second.vlan, elsewhere.vlan) == (1001, 1002, 1001)
    cloud.detach_eni(first.id, "i-h1", "eni-t-h1")
    while_detaching = member(cloud, clock, "d")
    assert while_detaching.vlan == 1003, "held until the detach is done"
    clock.advance(1)
    assert member(cloud, clock, "e").vlan == 1001


def test_the_type_limits_what_an_instance_carries(cloud: CloudOverApi, clock: Clock) -> None:
    for token in "abcd":
        member(cloud, clock, token)
    eni = cloud.create_eni(request("e")).value
    with pytest.raises(Refused, match="EniPerInstanceLimitExceeded"):
        cloud.attach_eni(eni.id, "i-h1", "eni-t-h1", None)
    cloud.attach_eni(eni.id, "i-h3", None, None)
    extra = cloud.create_eni(request("f")).value
    with pytest.raises(Refused, match="EniPerInstanceLimitExceeded"):
        cloud.attach_eni(extra.id, "i-h3", None, None)


def test_killing_an_instance_deletes_or_frees_its_members(
    cloud: CloudOverApi, simulator: Simulator, clock: Clock
) -> None:
    elastic = member(cloud, clock, "a")
    fixed = cloud.create_eni(request("b", delete_on_release=False)).value
    cloud.attach_eni(fixed.id, "i-h1", "eni-t-h1", None)
    clock.advance(2)
    attaching = cloud.create_eni(request("c")).value
    cloud.attach_eni(attaching.id, "i-h1", "eni-t-h1", None)
    assert set(simulator.model.kill("i-h1")) == {
        "eni-p-h1",
        "eni-t-h1",
        elastic.id,
        fixed.id,
        attaching.id,
    }
    assert state(cloud, elastic.id) == "Deleting"
    clock.advance(1)
    assert state(cloud, elastic.id) == "gone"
    assert state(cloud, "eni-t-h1") == "gone"
    kept = look(cloud, fixed.id)
    assert kept is not None
    assert (kept.status, kept.instance_id, kept.ipv4) == ("Available", None, fixed.ipv4)
    assert state(cloud, attaching.id) == "Available"
    assert cloud.detach_eni(fixed.id, "i-h1", "eni-t-h1").already_gone
    cloud.attach_eni(fixed.id, "i-h2", "eni-t-h2", None)


def test_an_attach_cut_short_by_a_lost_instance_leaves_nothing_on_its_way(
    cloud: CloudOverApi, simulator: Simulator, clock: Clock
) -> None:
    eni = cloud.create_eni(request(delete_on_release=False)).value
    cloud.attach_eni(eni.id, "i-h1", "eni-t-h1", None)
    simulator.model.kill("i-h1")
    clock.advance(1)
    assert state(cloud, "eni-t-h1") == "gone"
    assert simulator.model.next_change_at() is None


def test_a_later_attach_takes_its_own_time(
    cloud: CloudOverApi, simulator: Simulator, clock: Clock
) -> None:
    eni = cloud.create_eni(request(delete_on_release=False)).value
    cloud.attach_eni(eni.id, "i-h1", "eni-t-h1", None)
    clock.advance(1)
    simulator.model.kill("i-h1")
    cloud.attach_eni(eni.id, "i-h2", "eni-t-h2", None)
    clock.advance(1.5)
    (true,) = [one for one in simulator.model.enis() if one.id == eni.id]
    assert true.status == "Attaching", "the first attach would have been done by now"
    assert state(cloud, eni.id) == "Attaching"
    clock.advance(0.5)
    assert state(cloud, eni.id) == "InUse"


def test_security_groups_are_replaced(cloud: CloudOverApi) -> None:
    eni = cloud.create_eni(request()).value
    cloud.modify_eni_security_groups(eni.id, ["sg-2"])
    changed = look(cloud, eni.id)
    assert changed is not None
    assert changed.security_group_ids == ("sg-2",)


def test_describe_filters(cloud: CloudOverApi, clock: Clock) -> None:
    eni = member(cloud, clock)

    def ids(**conditions: object) -> list[str]:
        query = EniQuery(**conditions)  # type: ignore[arg-type]
        return [one.id for one in cloud.describe_enis(query).value]

    assert ids(tags={"creator": "eni-ledger"}) == [eni.id]
    assert ids(tags={"creator": "terway-controller"}) == []
    assert ids(type="Member", status="InUse") == [eni.id]
    assert ids(type="Trunk", instance_id="i-h2") == ["eni-t-h2"]
    assert ids(vpc_id="vpc-2") == []
    assert len(ids()) == 8


def test_describe_pages_do_not_skip_or_repeat(cloud: CloudOverApi, simulator: Simulator) -> None:
    ids = [cloud.create_eni(request(f"t-{number}")).value.id for number in range(25)]

    def page(token: str) -> tuple[list[str], str]:
        asked = {"RegionId": "cn-hangzhou", "MaxResults": "10", "Type": "Secondary"}
        body = simulator.call("DescribeNetworkInterfaces", asked | {"NextToken": token}).body
        sets = body["NetworkInterfaceSets"]["NetworkInterfaceSet"]
        return [one["NetworkInterfaceId"] for one in sets], body["NextToken"]

    first, token = page("")
    cloud.delete_eni(first[0])
    second, token = page(token)
    third, token = page(token)
    assert first + second + third == ids
    assert token == ""
    asked = {"RegionId": "cn-hangzhou", "MaxResults": "10", "Status": "Available"}
    for eni_id in ids[1:15]:
        cloud.delete_eni(eni_id)
    body = simulator.call("DescribeNetworkInterfaces", asked).body
    assert len(body["NetworkInterfaceSets"]["NetworkInterfaceSet"]) == 10
    assert body["NextToken"] == "", "a full last page has no successor"


def test_describe_lag_shows_how_things_stood(
    cloud: CloudOverApi, simulator: Simulator, clock: Clock
) -> None:
    clock.advance(60)
    number = simulator.faults.put(read_fault({"kind": "describe_lag", "seconds": 5})).number
    eni = cloud.create_eni(request()).value
    assert state(cloud, eni.id) == "gone", "created, and not seen yet"
    clock.advance(5)
    assert state(cloud, eni.id) == "Available"
    cloud.delete_eni(eni.id)
    clock.advance(5)
    assert state(cloud, eni.id) == "Deleting"
    clock.advance(0.9)
    assert state(cloud, eni.id) == "Deleting", "gone for 4.9 s"
    simulator.clear_faults(number)
    assert state(cloud, eni.id) == "gone"


def test_stuck_states_and_what_helps(
    cloud: CloudOverApi, simulator: Simulator, clock: Clock
) -> None:
    eni = member(cloud, clock)
    simulator.faults.put(read_fault({"kind": "stuck", "state": "Detaching", "times": 1}))
    cloud.detach_eni(eni.id, "i-h1", "eni-t-h1")
    clock.advance(600)
    assert state(cloud, eni.id) == "Detaching"
    assert simulator.model.stuck() == {eni.id}
    cloud.detach_eni(eni.id, "i-h1", "eni-t-h1")
    clock.advance(3)
    assert state(cloud, eni.id) == "Available", "issuing it again helps"
    held = simulator.faults.put(read_fault({"kind": "stuck", "state": "Deleting"}))
    cloud.delete_eni(eni.id)
    clock.advance(600)
    cloud.delete_eni(eni.id)
    clock.advance(600)
    assert state(cloud, eni.id) == "Deleting"
    assert simulator.clear_faults(held.number) == 1
    clock.advance(1)
    assert state(cloud, eni.id) == "gone"


def test_stuck_for_a_while(cloud: CloudOverApi, simulator: Simulator, clock: Clock) -> None:
    fault = {"kind": "stuck", "state": "Attaching", "seconds": 30, "times": 1}
    simulator.faults.put(read_fault(fault))
    eni = cloud.create_eni(request()).value
    cloud.attach_eni(eni.id, "i-h1", "eni-t-h1", None)
    clock.advance(31)
    assert state(cloud, eni.id) == "Attaching"
    clock.advance(1)
    assert state(cloud, eni.id) == "InUse"


def test_a_change_that_was_replaced_does_not_come_back(
    cloud: CloudOverApi, simulator: Simulator, clock: Clock
) -> None:
    eni = member(cloud, clock)
    # Another ENI's change, due in 32.5 s, keeps the replaced one from being tidied away unseen.
    other = cloud.create_eni(request("other")).value
    stuck = {"kind": "stuck", "times": 1}
    simulator.faults.put(read_fault(stuck | {"state": "Attaching", "seconds": 30.5}))
    cloud.attach_eni(other.id, "i-h1", "eni-t-h1", None)
    simulator.faults.put(read_fault(stuck | {"state": "Detaching", "seconds": 30}))
    cloud.detach_eni(eni.id, "i-h1", "eni-t-h1")
    cloud.detach_eni(eni.id, "i-h1", "eni-t-h1")
    clock.advance(32)
    cloud.attach_eni(eni.id, "i-h1", "eni-t-h1", None)
    clock.advance(1)
    (true,) = [one for one in simulator.model.enis() if one.id == eni.id]
    assert true.status == "Attaching", "the stuck detach would have been done by now"


def test_a_failed_attach_falls_back(
    cloud: CloudOverApi, simulator: Simulator, clock: Clock
) -> None:
    simulator.faults.put(read_fault({"kind": "attach_fails", "times": 1}))
    eni = cloud.create_eni(request()).value
    cloud.attach_eni(eni.id, "i-h1", "eni-t-h1", None)
    clock.advance(2)
    back = look(cloud, eni.id)
    assert back is not None
    assert (back.status, back.type, back.instance_id) == ("Available", "Secondary", None)
    cloud.attach_eni(eni.id, "i-h1", "eni-t-h1", None)
    clock.advance(2)
    assert state(cloud, eni.id) == "InUse"


def test_exhaustion_on_demand(cloud: CloudOverApi, simulator: Simulator) -> None:
    simulator.faults.put(read_fault({"kind": "ip_exhaustion", "vswitch_id": "vsw-h", "times": 1}))
    switch = cloud.describe_vswitch("vsw-h").value
    assert switch is not None
    assert switch.available_ips == 0
    with pytest.raises(Refused, match="IpNotEnough"):
        cloud.create_eni(request())
    assert cloud.create_eni(request()).value.vswitch_id == "vsw-h"


def test_the_same_seed_gives_the_same_cloud(make: Callable[..., Simulator], clock: Clock) -> None:
    def lived(seed: int) -> list[object]:
        simulator = make(seed, latencies={"attach": 2, "jitter": 0.5})
        cloud = simulated_cloud(simulator, now=clock)
        for token in "abc":
            eni = cloud.create_eni(request(token)).value
            cloud.attach_eni(eni.id, "i-h1", "eni-t-h1", None)
        return [*simulator.model.enis(), *simulator.calls(), simulator.model.next_change_at()]

    assert lived(7) == lived(7)
    assert lived(7) != lived(8)
