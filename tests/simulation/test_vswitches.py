"""vSwitches that run out of addresses: the next one in the same attempt, and the first one again soon."""

from datetime import timedelta
from typing import Any

import pytest
import yaml

from deploy.local.cloud.faults import read_fault
from deploy.local.cloud.model import NewEni
from deploy.local.cloud.world import parse_world
from ledger.rules.allocation import Phase
from tests.simulation.ground import Ground
from tests.simulation.world import ROOT, SimulatedWorld, elastic

FIRST, SECOND, ELSEWHERE = "vsw-bpxxxx", "vsw-second", "vsw-bpyyyy"


@pytest.fixture
def world(ground: Ground) -> SimulatedWorld:
    """Zone h has two vSwitches, the first with 10 free addresses and the second with 8."""
    data = yaml.safe_load((ROOT / "deploy/local/worlds/demo.yaml").read_text())
    data["vswitches"][0] |= {"free_ips": 10}
    data["vswitches"].append(
        {"id": SECOND, "zone": "cn-hangzhou-h", "cidr": "192.168.64.0/24", "free_ips": 8}
    )
    ground.clear()
    return SimulatedWorld(ground, world=parse_world(data, "a test's world"))


def pod(world: SimulatedWorld, name: str, policy: str = "ordered") -> str | None:
    """Create a Pod, take its work up once, and say which vSwitch it got."""
    select = {"vSwitchSelectOptions": {"vSwitchSelectionPolicy": policy}}
    options = {"vSwitchOptions": [ELSEWHERE, FIRST, SECOND, "vsw-that-is-not"]}
    world.create_pod(name, networks=[elastic(**options, **select)])
    world.publish()
    world.take()
    world.work()
    return vswitch_of(world, name)


def vswitch_of(world: SimulatedWorld, name: str) -> str | None:
    (a,) = [a for a in world.allocations() if a.pod == name]
    return a.address.vswitch if a.address else None


def creates(world: SimulatedWorld) -> list[str]:
    return [
        str(call.parameters["VSwitchId"])
        for call in world.cloud.calls()
        if call.api == "CreateNetworkInterface"
    ]


def full(code: str, vswitch: str = FIRST) -> Any:
    return read_fault(
        {
            "kind": "error",
            "api": "CreateNetworkInterface",
            "code": code,
            "parameters": {"VSwitchId": vswitch},
        }
    )


@pytest.mark.parametrize("code", ["InvalidVSwitchId.IpNotEnough", "QuotaExceeded.PrivateIpAddress"])
def test_a_full_vswitch_falls_through_in_the_same_attempt(world: SimulatedWorld, code: str) -> None:
    assert pod(world, "a") == FIRST
    world.cloud.faults.put(full(code))
    assert pod(world, "b") == SECOND
    assert creates(world) == [FIRST, FIRST, SECOND]
    assert pod(world, "c") == SECOND
    assert creates(world)[3:] == [SECOND], "what one Pod found out the next one knows"
    world.check_promises()


def test_a_vswitch_that_was_full_is_first_again_after_minutes(world: SimulatedWorld) -> None:
    pod(world, "a")
    world.cloud.faults.put(read_fault({"kind": "ip_exhaustion", "vswitch_id": FIRST}))
    assert pod(world, "b") == SECOND
    world.cloud.faults.clear()
    world.settle(60)
    assert pod(world, "c") == SECOND
    world.settle(61)
    assert pod(world, "d") == FIRST


def test_when_all_are_full_the_pod_says_so_and_starts_when_one_is_not(
    world: SimulatedWorld,
) -> None:
    pod(world, "a")
    world.cloud.faults.put(read_fault({"kind": "ip_exhaustion"}))
    assert pod(world, "b") is None
    world.settle(30)
    assert len(creates(world)) == 3, "each was tried once"
    events = world.kube.list("/apis/events.k8s.io/v1/namespaces/example/events")["items"]
    assert any("no ip left in" in item["note"] for item in events)
    world.cloud.faults.clear()
    world.settle(110)
    assert vswitch_of(world, "b") == FIRST
    assert world.allocations()[-1].phase is Phase.BOUND
    world.check_promises()


def test_most_decides_by_counts_that_are_minutes_old_at_most(world: SimulatedWorld) -> None:
    assert pod(world, "a", "most") == FIRST
    for _ in range(5):  # somebody else uses the vSwitch too
        world.cloud.model.create(NewEni(FIRST, ("sg-bpxxxx",)), None)
    assert pod(world, "b", "most") == FIRST, "an estimate orders; it is not asked for each time"
    world.advance(timedelta(minutes=5))
    assert pod(world, "c", "most") == SECOND


def test_most_counts_what_we_took_ourselves_since_the_last_look(world: SimulatedWorld) -> None:
    chosen = []
    for name in "abcdef":
        chosen.append(pod(world, name, "most"))
        world.advance(timedelta(seconds=1))
    # The Pod that caused the look was asked for before it, so it is not among those since.
    assert chosen == [FIRST, FIRST, FIRST, FIRST, SECOND, FIRST]
    looks = [call for call in world.cloud.calls() if call.api == "DescribeVSwitches"]
    assert len(looks) <= 4 + 6, "each once, and the one that does not exist once a Pod"


def test_random_spreads_and_stays_in_the_zone(world: SimulatedWorld) -> None:
    chosen = {pod(world, f"pod-{number}", "random") for number in range(8)}
    assert chosen == {FIRST, SECOND}
