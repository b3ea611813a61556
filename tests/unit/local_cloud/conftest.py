"""A small world on a clock that tests move."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

import pytest

from consumers.cloud.api import CloudOverApi
from deploy.local.cloud.port_adapter import simulated_cloud
from deploy.local.cloud.simulator import Simulator
from deploy.local.cloud.world import parse_world

START = datetime(2026, 1, 1, tzinfo=UTC)


class Clock:
    """Time stands still until it is moved."""

    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> datetime:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)


def world_data() -> dict[str, Any]:
    """Two zones; vsw-h has 4 free addresses; i-h1 takes 3 members beside 3 ordinary ENIs."""
    return {
        "region": "cn-hangzhou",
        "zones": ["h", "i"],
        "vpc": {"id": "vpc-1", "cidr": "192.168.0.0/16"},
        "vswitches": [
            {"id": "vsw-h", "zone": "h", "cidr": "192.168.0.0/24", "ipv6_cidr": "2408::/64"},
            {"id": "vsw-small", "zone": "h", "cidr": "192.168.1.0/24", "free_ips": 2},
            {"id": "vsw-i", "zone": "i", "cidr": "192.168.2.0/24"},
        ],
        "security_groups": ["sg-1", "sg-2"],
        "instance_types": [
            {
                "id": "ecs.trunk",
                "eni_quantity": 3,
                "eni_total_quantity": 6,
                "eni_trunk_supported": True,
            },
            {
                "id": "ecs.plain",
                "eni_quantity": 2,
                "eni_total_quantity": 2,
                "eni_trunk_supported": False,
            },
        ],
        "instances": [
            {
                "id": "i-h1",
                "node": "h1",
                "zone": "h",
                "type": "ecs.trunk",
                "private_ip": "192.168.0.9",
                "primary_eni": "eni-p-h1",
                "trunk_eni": "eni-t-h1",
            },
            {
                "id": "i-h2",
                "node": "h2",
                "zone": "h",
                "type": "ecs.trunk",
                "primary_eni": "eni-p-h2",
                "trunk_eni": "eni-t-h2",
            },
            {
                "id": "i-i1",
                "node": "i1",
                "zone": "i",
                "type": "ecs.trunk",
                "primary_eni": "eni-p-i1",
                "trunk_eni": "eni-t-i1",
            },
            {
                "id": "i-h3",
                "node": "h3",
                "zone": "h",
                "type": "ecs.plain",
                "primary_eni": "eni-p-h3",
            },
        ],
        "latencies": {"attach": 2, "detach": 3, "delete": 1},
    }


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def make(clock: Clock) -> Callable[..., Simulator]:
    """A simulator on the small world with some of its values changed."""

    def build(seed: int = 1, **changes: Any) -> Simulator:
        world = parse_world(world_data() | changes, "test")
        return Simulator(world, now=clock, random=Random(seed))

    return build


@pytest.fixture
def simulator(make: Callable[..., Simulator]) -> Simulator:
    return make()


@pytest.fixture
def cloud(simulator: Simulator, clock: Clock) -> CloudOverApi:
    return simulated_cloud(simulator, now=clock, wait=clock.advance)
