"""What each process needs: memory, CPU, and time to stop; `make bench PART=footprint`.

The local stack with default settings. Four stretches: nothing happens; a cluster of many Pods comes
into being; Pods with an ENI of their own are created and deleted; every process is asked to stop in
the middle of that. The chart's requests and grace periods come from what is printed here.
"""

import concurrent.futures
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
from lightkube.resources.core_v1 import Namespace, Pod

from deploy.local.stack.plan import CONSUMERS
from tests.integration.processes.ground import NAMESPACE, Stack, running_stack, wait_for

IDLE_S = 30.0
PLAIN_PODS = 1000
#: These are in a namespace that opted out: admission is not asked, everybody else knows them.
KNOWN_PODS = 10_000
TRUNK_PODS = 40
SAMPLE_S = 0.2

pytestmark = pytest.mark.timeout(1800)


@pytest.fixture
def stack(stack_directory: Path) -> Iterator[Stack]:
    with running_stack(stack_directory / "bench-footprint") as running:
        yield running


class Meter:
    """Samples the stack's own processes: highest resident memory (MiB), share of one core used."""

    def __init__(self, stack: Stack) -> None:
        self.processes: dict[str, psutil.Process] = {}
        for part in stack.state().parts:
            if part.name in CONSUMERS:
                assert part.process is not None
                running = part.process.process()
                assert running is not None
                self.processes[part.name] = running

    def during(self, work: Callable[[], None]) -> dict[str, tuple[float, float]]:
        """Process -> (MiB, cores) while `work` runs in a thread of its own."""
        highest = dict.fromkeys(self.processes, 0.0)
        before = {name: sum(each.cpu_times()[:2]) for name, each in self.processes.items()}
        began = time.monotonic()
        with concurrent.futures.ThreadPoolExecutor(1) as pool:
            running = pool.submit(work)
            while not running.done():
                for name, each in self.processes.items():
                    highest[name] = max(highest[name], each.memory_info().rss / 2**20)
                time.sleep(SAMPLE_S)
            running.result()
        taken = time.monotonic() - began
        used = {name: sum(each.cpu_times()[:2]) for name, each in self.processes.items()}
        return {name: (highest[name], (used[name] - before[name]) / taken) for name in before}


def create_plain_pods(stack: Stack) -> None:
    """Pods that the webhook sees and leaves alone, and that no scheduler takes."""
    for number in range(PLAIN_PODS):
        stack.client.create(
            Pod.from_dict(
                {
                    "metadata": {"name": f"plain-{number}", "namespace": NAMESPACE},
                    "spec": {
                        "schedulerName": "nobody",
                        "containers": [{"name": "app", "image": "example"}],
                    },
                }
            )
        )
    seen = "SELECT count(*) FROM ledger.observation WHERE entity = 'pod' AND name LIKE 'plain-%%'"
    wait_for(lambda: stack.rows(seen)[0][0] >= PLAIN_PODS, "all were taken in")


def create_known_pods(stack: Stack) -> None:
    """Up to KNOWN_PODS in all, by several hands."""
    labels = {"k8s.aliyun.com/pod-eni": "false"}
    stack.client.create(Namespace.from_dict({"metadata": {"name": "quiet", "labels": labels}}))

    def create(number: int) -> None:
        spec = {"schedulerName": "nobody", "containers": [{"name": "app", "image": "example"}]}
        metadata = {"name": f"known-{number}", "namespace": "quiet"}
        stack.client.create(Pod.from_dict({"metadata": metadata, "spec": spec}))

    with concurrent.futures.ThreadPoolExecutor(8) as hands:
        list(hands.map(create, range(KNOWN_PODS - PLAIN_PODS)))
    seen = "SELECT count(*) FROM ledger.observation WHERE entity = 'pod'"
    wait_for(lambda: stack.rows(seen)[0][0] >= KNOWN_PODS, "all were taken in", 900)


def trunk_pods_come(stack: Stack) -> None:
    names = [f"web-{number}" for number in range(TRUNK_PODS)]
    for name in names:
        stack.create_stateful_set(name)
    wait_for(lambda: all(stack.running(f"{name}-0") for name in names), "all run")


def trunk_pods_go(stack: Stack) -> None:
    for number in range(TRUNK_PODS):
        stack.delete_stateful_set(f"web-{number}")
    gone = "SELECT count(*) FROM ledger.allocation WHERE phase = 'reserved'"
    wait_for(lambda: stack.rows(gone)[0][0] >= TRUNK_PODS, "all are reserved")


def stop_times(stack: Stack, meter: Meter) -> dict[str, float]:
    """Seconds from SIGTERM to the end, one process after the other, with Pods on their way."""
    taken = {}
    for number, (name, process) in enumerate(meter.processes.items()):
        for each in range(8):
            stack.create_stateful_set(f"late-{number}-{each}")
        time.sleep(1.0)  # so that some of them are in a call: what is measured, not waited for
        began = time.monotonic()
        process.terminate()
        wait_for(lambda: not process.is_running() or process.status() == "zombie", name)  # noqa: B023
        taken[name] = time.monotonic() - began
        stack.start(name)
        stack.wait_ready(name)
    return taken


def test_footprint(stack: Stack, capsys: pytest.CaptureFixture[str]) -> None:
    meter = Meter(stack)
    stretches: list[tuple[str, Callable[[], None]]] = [
        (f"at rest, {IDLE_S:g} s", lambda: time.sleep(IDLE_S)),
        (f"{PLAIN_PODS} plain Pods created", lambda: create_plain_pods(stack)),
        (f"at rest beside them, {IDLE_S:g} s", lambda: time.sleep(IDLE_S)),
        (f"{TRUNK_PODS} trunk Pods come", lambda: trunk_pods_come(stack)),
        (f"{TRUNK_PODS} trunk Pods go", lambda: trunk_pods_go(stack)),
        (f"up to {KNOWN_PODS} Pods known", lambda: create_known_pods(stack)),
        (f"at rest beside them, {IDLE_S:g} s", lambda: time.sleep(IDLE_S)),
    ]
    lines = ["", f"{'':34}" + "".join(f"{name:>20}" for name in meter.processes)]
    for what, work in stretches:
        began = time.monotonic()
        found = meter.during(work)
        shown = "".join(f"{mib:10.0f} MiB {cores:5.2f}" for mib, cores in found.values())
        lines.append(f"{what:34}{shown}   ({time.monotonic() - began:.0f} s)")
    stops = stop_times(stack, meter)
    lines.append(f"{'SIGTERM to exit, seconds':34}" + "".join(f"{s:20.1f}" for s in stops.values()))
    with capsys.disabled():
        sys.stdout.write("\n".join(lines) + "\n")
