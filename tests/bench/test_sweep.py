"""How many ENIs one sweep compares in a minute; `make bench PART=sweep`.

The sweep itself, on a real PostgreSQL and the simulators in this process. Computing is measured;
waiting (between pages, for the budget, for the cloud's answers of 0.3 s each) is counted on virtual
time. The promise (P4) is 60 s and 40 % of the Describe budget up to the number printed here.
"""

import json
import sys
import time
import uuid
from datetime import timedelta

import psycopg
import pytest

from consumers.cloud.port import CreateEni
from consumers.reconciler.describing import DESCRIBE
from consumers.reconciler.dispatch import work_once
from consumers.runtime.settings import DEFAULT_RATE_LIMITS
from deploy.local.cloud.world import World
from tests.simulation.ground import Ground
from tests.simulation.world import (
    CLUSTER,
    PODENIS,
    SimulatedWorld,
    ample_settings,
    demo_world,
    elastic,
)

ANSWER_S = 0.3
COLUMNS = """
INSERT INTO ledger.allocation (id, version, cluster, namespace, pod, interface, phase, pod_uid, node,
    vpc, ipv4, eni, trunk, vlan, created_at, changed_at, state)
SELECT %(id)s, version, cluster, namespace, %(pod)s, interface, phase, %(uid)s, node,
    vpc, %(ipv4)s, %(eni)s, %(pod)s, vlan, created_at, changed_at, %(state)s
FROM ledger.allocation WHERE id = %(like)s
"""

pytestmark = pytest.mark.timeout(900)


def large_world() -> World:
    """One vSwitch with room for all, and a cloud that only counts."""
    told = demo_world()
    vswitch = told.vswitches[0].model_copy(update={"cidr": "192.168.0.0/17"})
    here = tuple(one for one in told.instances if one.zone == vswitch.zone)
    latencies = told.latencies.model_copy(update={"answer": ANSWER_S})
    return told.model_copy(
        update={
            "vswitches": (vswitch,),
            "instances": here,
            "rate_limits": {},
            "latencies": latencies,
        }
    )


def populate(world: SimulatedWorld, count: int) -> None:
    """`count` bound Pods, in cloud, API server and ledger, after the likeness of one that was made."""
    world.create_pod("web", networks=[elastic()])
    world.settle(10)
    [like] = world.allocations()
    podeni = world.podeni("web")
    assert podeni is not None
    assert like.address is not None
    for name in ("uid", "resourceVersion", "creationTimestamp", "managedFields", "generation"):
        podeni["metadata"].pop(name, None)
    shown, state = json.dumps(podeni), like.model_dump_json()
    tags = {"ack.aliyun.com": CLUSTER, "creator": "eni-ledger", "eni-ledger/intent": "copied"}
    with psycopg.connect(world.dsn) as connection:
        for number in range(count - 1):
            request = CreateEni("vsw-bpxxxx", ("sg-bpxxxx",), f"copy-{number}", tags, False)
            eni = world.tools.cloud.create_eni(request).value
            id_, uid, pod = uuid.uuid4(), str(uuid.uuid4()), f"web-{number}"
            replaced = {
                str(like.id): str(id_),
                like.pod_uid: uid,
                like.address.eni: eni.id,
                like.address.mac: eni.mac,
                f'"{like.address.ipv4}"': f'"{eni.ipv4}"',
                '"web"': f'"{pod}"',
            }
            copied = [shown, state]
            for old, new in replaced.items():
                copied = [text.replace(old, new) for text in copied]
            made = world.kube.create(PODENIS.format("example"), json.loads(copied[0]))
            status = json.loads(copied[0])["status"]
            world.kube.update(
                f"{PODENIS.format('example')}/{pod}/status", made | {"status": status}
            )
            row = {"id": id_, "pod": pod, "uid": uid, "ipv4": eni.ipv4, "eni": eni.id}
            connection.execute(COLUMNS, row | {"state": copied[1], "like": like.id})


@pytest.mark.parametrize("count", [1000, 5000, 10000])
def test_one_sweep(database: str, count: int, capsys: pytest.CaptureFixture[str]) -> None:
    ground = Ground(database)
    told = large_world()
    ample = ample_settings(told)
    limits = {**ample.cloud.rate_limits, DESCRIBE: DEFAULT_RATE_LIMITS[DESCRIBE]}
    cloud = ample.cloud.model_copy(update={"rate_limits": limits, "budget_share": 0.8})
    world = SimulatedWorld(ground, world=told, settings=ample.model_copy(update={"cloud": cloud}))
    populate(world, count)
    before = len(world.cloud.calls())
    world.advance(timedelta(minutes=3))
    virtual, began = world.now(), time.perf_counter()
    assert work_once(world.tools)
    computed = time.perf_counter() - began
    waited = (world.now() - virtual).total_seconds()
    pages = [call for call in world.cloud.calls()[before:] if call.api == DESCRIBE]
    rate = world.tools.bucket(DESCRIBE).per_second
    [(enis, due)] = ground.rows(
        "SELECT s.enis, w.due_at FROM ledger.sweep s JOIN ledger.work w USING (cluster) "
        "WHERE w.kind = 'sweep'"
    )
    differences = ground.rows("SELECT count(*) FROM ledger.quarantine")[0][0]
    total = computed + waited + len(pages) * ANSWER_S
    with capsys.disabled():
        sys.stdout.write(
            f"\nsweep of {enis} ENIs: {len(pages)} pages, {total:.1f} s = computing {computed:.1f} s, "
            f"pacing {waited:.1f} s, answers {len(pages) * ANSWER_S:.1f} s; "
            f"{len(pages) / (rate * total):.0%} of the Describe budget meanwhile; "
            f"next in {(due - world.now()).total_seconds():.0f} s; {differences} differences\n"
        )
    ground.close()
