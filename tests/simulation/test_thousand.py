"""P2, P8, P11 for a thousand: fixed Pods deleted and re-created; and said to be deleted when they are not.

The real intake, store and reconciler on virtual time, with the breaker at its defaults; the
simulators say what is so.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

import pytest

from consumers.contract.encode import encode_deleted
from consumers.reconciler.dispatch import work_once
from deploy.local.cloud.world import Instance, World
from tests.simulation.ground import Ground
from tests.simulation.world import CLUSTER, SimulatedWorld, demo_world, fixed

PODS, NODES = 1000, 52
#: The breaker's default allows 500 in five minutes: a rolling restart goes in waves.
WAVE, BETWEEN_WAVES = 250, timedelta(seconds=301)
QUIET_S = 600

pytestmark = [pytest.mark.timeout(1200), pytest.mark.long]


def large_world() -> World:
    """52 instances, 20 member ENIs each; the cloud limits nothing and only counts."""
    [like] = [one for one in demo_world().instances if one.node == "node-h1"]
    instances = tuple(
        Instance.model_validate(
            like.model_dump()
            | {
                "id": f"i-large{n}",
                "node": f"node-{n}",
                "private_ip": f"192.168.31.{n + 1}",
                "primary_eni": f"eni-primary{n}",
                "trunk_eni": f"eni-trunk{n}",
            }
        )
        for n in range(NODES)
    )
    return demo_world().model_copy(update={"instances": instances, "rate_limits": {}})


@dataclass(frozen=True, slots=True)
class Served:
    """What a Pod's PodENI and the cloud say it has. `where`: the instance the ENI is attached to."""

    uid: str
    eni: str
    ipv4: str
    ipv6: str
    mac: str
    where: str | None


def served(world: SimulatedWorld) -> dict[str, Served]:
    """Every Pod with a PodENI in Bind, by name; PodENI and cloud agree, or it is not in here."""
    path = "/apis/network.alibabacloud.com/v1beta1/podenis"
    enis = {eni.id: eni for eni in world.cloud.model.enis()}
    found = {}
    for podeni in world.kube.list(path)["items"]:
        [item] = podeni["spec"]["allocations"]
        eni = enis[item["eni"]["id"]]
        if podeni.get("status", {}).get("phase") != "Bind" or eni.status != "InUse":
            continue
        assert (item["ipv4"], item["eni"]["mac"]) == (eni.ipv4, eni.mac)
        assert podeni["status"]["instanceID"] == eni.instance_id
        metadata = podeni["metadata"]
        uid = metadata["annotations"]["k8s.aliyun.com/pod-uid"]
        ipv6 = item.get("ipv6", "")
        found[metadata["name"]] = Served(uid, eni.id, eni.ipv4, ipv6, eni.mac, eni.instance_id)
    return found


def go_on(world: SimulatedWorld, seconds: int) -> None:
    for _ in range(seconds):
        world.publish()
        world.take()
        while work_once(world.tools):
            pass
        world.advance(timedelta(seconds=1))


def forged_to_be_gone(world: SimulatedWorld, names: Sequence[str]) -> None:
    """Every running Pod is said to be deleted, by a message like any other."""
    version = world.kube.core.store.revision
    for name in names:
        pod = world.kube.get(f"/api/v1/namespaces/example/pods/{name}")
        pod["metadata"]["resourceVersion"] = str(version)
        world.append("pod", encode_deleted(CLUSTER, "pod", pod, epoch=0))
    refuted = "SELECT count(*) FROM ledger.entry WHERE kind = 'gone-refuted'"
    [(before,)] = world.ground.rows(refuted)
    go_on(world, 4)
    [(after,)] = world.ground.rows(refuted)
    assert after - before == len(names), "each was believed enough to be looked at"


def test_p2_p8_p11_a_thousand_fixed_pods_come_back_to_their_own_addresses(ground: Ground) -> None:
    ground.clear()
    world = SimulatedWorld(ground, world=large_world())
    names = [f"db-{number}" for number in range(PODS)]
    uids = {
        name: world.create_pod(name, node=f"node-{n % 50}", networks=[fixed("1h")])
        for n, name in enumerate(names)
    }
    go_on(world, 4)
    first = served(world)
    assert {name: each.uid for name, each in first.items()} == uids
    assert len({each.ipv4 for each in first.values()}) == PODS

    for begin in range(0, PODS, WAVE):
        wave = names[begin : begin + WAVE]
        for name in wave:
            world.delete_pod(name)
        go_on(world, 4)
        for n, name in enumerate(wave, begin):
            # To another node of the zone: places are free on all of the wave's, and on two more.
            uids[name] = world.create_pod(name, node=f"node-{(n + 7) % 50}", networks=[fixed("1h")])
        go_on(world, 4)
        world.advance(BETWEEN_WAVES)
        go_on(world, 1)
    again = served(world)
    assert {name: each.uid for name, each in again.items()} == uids
    for name in names:
        before, after = first[name], again[name]
        assert (after.ipv4, after.ipv6, after.eni, after.mac) == (
            before.ipv4,
            before.ipv6,
            before.eni,
            before.mac,
        )
        assert after.where != before.where
    calls = world.mutating_calls()
    assert {api: calls.count(api) for api in set(calls)} == {
        "CreateNetworkInterface": PODS,
        "AttachNetworkInterface": 2 * PODS,
        "DetachNetworkInterface": PODS,
    }
    assert world.ground.rows("SELECT * FROM ledger.brake") == []
    world.check_promises()
    forged_to_be_gone(world, names)
    assert served(world) == again, "P11: nobody is cut off by a message"
    assert world.mutating_calls() == calls
    assert world.ground.rows("SELECT * FROM ledger.brake") == []

    revision = world.kube.core.store.revision
    go_on(world, 5)
    for _ in range(QUIET_S // 60):
        world.advance(timedelta(seconds=60))
        go_on(world, 1)
    assert world.mutating_calls() == calls, "P8: nothing more is asked of the cloud"
    assert world.kube.core.store.revision == revision, "P8: nothing is written to the API server"
