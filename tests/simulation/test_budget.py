"""P9 over the reconciler's whole way: two replicas, one budget, on virtual time."""

from dataclasses import replace
from datetime import datetime, timedelta
from itertools import pairwise

import pytest

from consumers.cloud.port import CreateEni
from consumers.reconciler.dispatch import work_once
from consumers.reconciler.tools import Tools
from consumers.runtime.settings import DEFAULT_RATE_LIMITS, CloudSettings, RateLimit, Settings
from deploy.local.cloud.faults import Throttle
from deploy.local.cloud.world import World
from ledger.rules.allocation import Phase
from tests.simulation.ground import Ground
from tests.simulation.world import CLUSTER, SimulatedWorld, ample_settings, demo_world, elastic

CREATE, DESCRIBE = "CreateNetworkInterface", "DescribeNetworkInterfaces"


def limited(api: str, limit: RateLimit, share: float = 1.0) -> Settings:
    """One API's limit; the others never bind."""
    settings = ample_settings(demo_world())
    limits = {**settings.cloud.rate_limits, api: limit}
    cloud = settings.cloud.model_copy(update={"rate_limits": limits, "budget_share": share})
    return settings.model_copy(update={"cloud": cloud})


def unlimited_cloud() -> World:
    """A cloud that only counts."""
    return demo_world().model_copy(update={"rate_limits": {}})


def called(world: SimulatedWorld, api: str) -> list[datetime]:
    return [call.time for call in world.cloud.calls() if call.api == api]


def go_on(world: SimulatedWorld, replicas: list[Tools], seconds: float, step: float) -> None:
    """Both replicas take turns until nothing is due, then time passes."""
    for _ in range(int(seconds / step)):
        world.publish()
        world.take()
        while sum(work_once(tools) for tools in replicas):
            pass
        world.advance(timedelta(seconds=step))


@pytest.mark.parametrize("api", sorted(DEFAULT_RATE_LIMITS))
def test_p9_a_share_of_each_rate_and_burst_is_left_to_the_node_agents(
    world: SimulatedWorld, api: str
) -> None:
    cloud = CloudSettings(region_id="r")
    tools = replace(world.tools, settings=Settings(cloud=cloud))
    limit, bucket = DEFAULT_RATE_LIMITS[api], tools.bucket(api)
    assert bucket.per_second * 60 == pytest.approx(limit.per_minute * cloud.budget_share)
    assert bucket.burst <= limit.burst * cloud.budget_share
    assert cloud.budget_share <= 0.8


def test_p9_two_replicas_stay_within_rate_and_burst_and_use_all_of_it(ground: Ground) -> None:
    ground.clear()
    limit = RateLimit(per_minute=60, burst=5)
    world = SimulatedWorld(ground, world=unlimited_cloud(), settings=limited(CREATE, limit, 0.8))
    replicas = [world.tools, world.another_reconciler()]
    for number in range(32):
        world.create_pod(f"web-{number}", node=f"node-h{number % 2 + 1}", networks=[elastic()])
    go_on(world, replicas, 30, 0.25)
    times = called(world, CREATE)
    for first, began in enumerate(times):
        for count, ended in enumerate(times[first:], 1):
            allowed = 4 + 0.8 * (ended - began).total_seconds()
            assert count <= allowed + 1e-6
    # 4 at once, then one every 1.25 s; the poll of this test is a quarter of a second.
    waited = (times[-1] - times[0]).total_seconds()
    assert len(times) >= 0.95 * (4 + 0.8 * waited)
    assert len(times) >= 26
    go_on(world, replicas, 15, 0.5)
    assert [a.phase for a in world.allocations()] == [Phase.BOUND] * 32
    world.check_promises()


def test_p9_what_the_cloud_tells_one_replica_all_obey(ground: Ground) -> None:
    ground.clear()
    limit = RateLimit(per_minute=600, burst=10)
    world = SimulatedWorld(ground, world=unlimited_cloud(), settings=limited(CREATE, limit))
    replicas = [world.tools, world.another_reconciler()]
    world.create_pod("first", networks=[elastic()])
    world.cloud.faults.put(Throttle(kind="throttle", api=CREATE, times=1))
    go_on(world, replicas, 1, 0.5)
    [throttled] = called(world, CREATE)
    for number in range(20):
        world.create_pod(f"web-{number}", node=f"node-h{number % 2 + 1}", networks=[elastic()])
    go_on(world, replicas, 20, 0.1)
    times = called(world, CREATE)
    assert len(times) == 22, "all of them got their ENI"
    # About five seconds of silence, with jitter; then at the rate, without a burst saved up.
    assert (times[1] - throttled).total_seconds() >= 4
    assert all((later - sooner).total_seconds() >= 0.099 for sooner, later in pairwise(times[1:]))


def test_p9_each_page_of_a_long_answer_takes_a_permit_of_its_own(ground: Ground) -> None:
    """And only so fast that Pods that wait for a look have most of the budget."""
    ground.clear()
    limit = RateLimit(per_minute=60, burst=2)
    world = SimulatedWorld(ground, world=unlimited_cloud(), settings=limited(DESCRIBE, limit))
    tags = {"ack.aliyun.com": CLUSTER, "creator": "eni-ledger", "eni-ledger/intent": "none"}
    for number in range(1600):
        world.tools.cloud.create_eni(
            CreateEni("vsw-bpxxxx", ("sg-bpxxxx",), f"token-{number}", tags, True)
        )
    world.advance(timedelta(minutes=2))
    work_once(world.tools)
    times = called(world, DESCRIBE)
    assert len(times) == 4
    apart = [(later - sooner).total_seconds() for sooner, later in pairwise(times)]
    assert min(apart) >= 2.5, "40 % of one a second"
    rows = world.ground.rows("SELECT tokens, filled_at FROM ledger.rate_bucket")
    assert rows == [(1.0, times[-1])], "2 at first, 3 refilled at most to 2, 4 taken"
    again = world.ground.rows("SELECT due_at FROM ledger.work WHERE kind = 'sweep'")
    assert again[0][0] - world.now() == timedelta(seconds=60)
