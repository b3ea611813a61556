"""The simulator over HTTP, in a thread or as a process, and the official SDK pointed at it."""

import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from typing import Any

import httpx2
import pytest
import uvicorn
import yaml

from consumers.cloud.aliyun import aliyun_cloud
from consumers.cloud.api import CloudOverApi
from consumers.cloud.settings import CloudSettings, StaticKey
from deploy.local.cloud.server import SERVER_OPTIONS, MovableClock, build_app, listen
from deploy.local.cloud.simulator import Simulator
from deploy.local.cloud.world import parse_world

WORLDS = Path(__file__).parents[3] / "deploy" / "local" / "worlds"
KEY = StaticKey("simulator-only", "simulator-only-secret")


class RunningSimulator:
    """A simulator that listens, and its control side."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.control = httpx2.Client(base_url=f"http://{address}", timeout=5)

    def put_fault(self, **fault: Any) -> int:
        answer = self.control.post("/_sim/faults", json=fault)
        assert answer.status_code == 201, answer.text
        return int(answer.json()["number"])

    def calls(self, api: str | None = None) -> list[dict[str, Any]]:
        calls: list[dict[str, Any]] = self.control.get("/_sim/calls").json()["calls"]
        return [call for call in calls if api in (None, call["api"])]

    def enis(self, **wanted: object) -> list[dict[str, Any]]:
        enis: list[dict[str, Any]] = self.control.get("/_sim/enis").json()["enis"]
        return [eni for eni in enis if all(eni[key] == wanted[key] for key in wanted)]

    def settings(self, credentials: StaticKey = KEY, **changes: Any) -> CloudSettings:
        given: dict[str, Any] = {
            "region_id": "cn-hangzhou",
            "credentials": credentials,
            "ecs_endpoint": self.address,
            "vpc_endpoint": self.address,
            "protocol": "http",
            "read_timeout_s": 5.0,
        }
        return CloudSettings(**(given | changes))

    def cloud(self, credentials: StaticKey = KEY, **changes: Any) -> CloudOverApi:
        return aliyun_cloud(self.settings(credentials, **changes))


class SimulatorProcess(RunningSimulator):
    """A simulator in a process of its own, for tests that end it."""

    def __init__(self, process: "subprocess.Popen[str]", address: str) -> None:
        super().__init__(address)
        self.process = process


def quick_world() -> dict[str, Any]:
    """The demo's world with short latencies and one tight rate."""
    world = yaml.safe_load((WORLDS / "demo.yaml").read_text())
    assert isinstance(world, dict)
    world["latencies"] = {"attach": 0.1, "detach": 0.1, "delete": 0.1}
    world["rate_limits"] = {"DescribeInstanceTypes": {"per_minute": 1, "burst": 2}}
    return world


@pytest.fixture
def simulator() -> Iterator[RunningSimulator]:
    """A fresh simulator in a thread, on a free port."""
    clock = MovableClock()
    inner = Simulator(parse_world(quick_world(), "quick"), now=clock, random=Random(1))
    with listen("127.0.0.1", 0) as listener:
        config = uvicorn.Config(build_app(inner, clock), **SERVER_OPTIONS)
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        running = RunningSimulator(f"127.0.0.1:{listener.getsockname()[1]}")
        yield running
        running.control.close()
        server.should_exit = True
        thread.join(10)
        assert not thread.is_alive(), "the server did not stop"


@pytest.fixture
def simulator_process(tmp_path: Path) -> Iterator[SimulatorProcess]:
    """The same as a process."""
    path = tmp_path / "world.yaml"
    path.write_text(yaml.safe_dump(quick_world()))
    command = [sys.executable, "-m", "deploy.local.cloud", "--port", "0", "--seed", "1"]
    with subprocess.Popen(
        [*command, "--world", str(path)], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        running = SimulatorProcess(process, json.loads(process.stdout.readline())["listening"])
        yield running
        running.control.close()
        if process.poll() is None:
            process.terminate()
            process.wait(10)


@pytest.fixture
def cloud(simulator: RunningSimulator) -> CloudOverApi:
    return simulator.cloud()


def wait_until(condition: Callable[[], bool], what: str, within_s: float = 10) -> None:
    """Poll until it holds, or fail saying what was waited for."""
    deadline = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline, f"not within {within_s} s: {what}"
        time.sleep(0.02)
