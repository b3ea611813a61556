"""How long the others take over from a process that was killed; `make bench PART=failover`.

Default settings, a stack of its own, SIGKILL at moments spread over a stream of Pods. Printed are
the seconds from the kill until a survivor has taken up what the lost one held: each claim of a
reconciler, the last partition of an intake, the next heartbeat of a watcher that is started again.
"""

import asyncio
import random
import statistics
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.integration.intake.ground import observed, process, producing, rows, send
from tests.integration.intake.ground import settings as intake_settings
from tests.integration.processes.ground import Stack, running_stack
from tests.integration.replicas.fleet import Fleet, running_fleet, wait_for

KILLS = 6
ELASTIC = {
    "interface": "eth0",
    "vSwitchOptions": ["vsw-bpxxxx"],
    "securityGroupIDs": ["sg-bpxxxx"],
    "allocationType": {"type": "Elastic"},
}
HELD = (
    "SELECT name, claim_token, claimed_until - ledger.now() FROM ledger.work "
    "WHERE claimed_until > ledger.now() AND kind = 'pod'"
)
ANY_HELD = "SELECT name FROM ledger.work WHERE claimed_until > ledger.now()"
#: What a claim was kept for, by what is left of it: between calls 5 s, over one of the API server 15 s.
KEPT_FOR = {
    "outside of calls (design: 5 s)": 5,
    "in a call of the API server (15 s)": 15,
    "in a cloud call (20 s)": 20,
    "writing a PodENI (25 s)": 26,
}

pytestmark = pytest.mark.timeout(900)


def told(capsys: pytest.CaptureFixture[str], what: str, seconds: list[float]) -> None:
    shown = ", ".join(f"{each:.1f}" for each in sorted(seconds)) or "none"
    worst = (
        f"; median {statistics.median(seconds):.1f} s, worst {max(seconds):.1f} s"
        if seconds
        else ""
    )
    with capsys.disabled():
        sys.stdout.write(f"\n{what}: {shown}{worst}\n")


@pytest.fixture
def fleet(database: str, tmp_path: Path) -> Iterator[Fleet]:
    with running_fleet(tmp_path / "fleet", database, {}, instances=20) as running:
        yield running


def test_failover_of_a_reconciler(fleet: Fleet, capsys: pytest.CaptureFixture[str]) -> None:
    """One is killed in the middle of eight Pods; the other, held until then, so that all claims are
    the victim's, goes on at that moment."""
    dice = random.Random(1)
    seconds: dict[str, list[float]] = {kind: [] for kind in KEPT_FOR}
    victim = fleet.start()
    for kill in range(KILLS):
        survivor = fleet.start()
        wait_for(lambda: not fleet.rows(ANY_HELD), "nothing is under way")
        fleet.freeze(survivor)
        names = [(f"web-{kill}-{number}", f"node-{number}") for number in range(12)]
        fleet.create_pods(names, ELASTIC)
        wait_for(lambda: fleet.rows(HELD), "it works")
        time.sleep(dice.uniform(0, 0.6))
        fleet.replicas[victim].kill()
        killed = time.monotonic()
        held = {name: (token, left.total_seconds()) for name, token, left in fleet.rows(HELD)}
        fleet.thaw(survivor)
        victim = survivor
        while held:
            now: dict[str, Any] = dict(fleet.rows("SELECT name, claim_token FROM ledger.work"))
            for name in [name for name, (token, _) in held.items() if now.get(name) != token]:
                _, left = held.pop(name)
                kept = next(kind for kind, most in KEPT_FOR.items() if left <= most)
                seconds[kept].append(time.monotonic() - killed)
            assert time.monotonic() - killed < 60
            time.sleep(0.02)
        wait_for(lambda: set(fleet.phases().values()) == {"bound"}, "all are bound")
    for kind, taken in seconds.items():
        told(capsys, f"reconciler, {kind}", taken)


def test_failover_of_an_intake(
    broker: str,
    topic_prefix: str,
    database: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Until a message on every partition was taken in by the survivor."""
    configured = intake_settings(broker, topic_prefix, database, session_timeout_ms=6000)
    count = "SELECT count(*) FROM ledger.observation"

    async def tell(first: int) -> None:
        async with producing(configured) as producer:
            for partition in range(6):
                name = f"web-{first}-{partition}"
                await send(producer, configured, [observed(name, first + 1)], partition=partition)

    seconds: list[float] = []
    with process(configured, tmp_path / "first.log") as survivor:
        survivor.wait_ready()
        for kill in range(3):
            with process(configured, tmp_path / f"victim-{kill}.log") as victim:
                victim.wait_ready()
                victim.child.kill()
                killed = time.monotonic()
                asyncio.run(tell(kill))
                wait_for(lambda: rows(database, count)[0][0] == 6 * (kill + 1), "all is taken in")  # noqa: B023
                seconds.append(time.monotonic() - killed)
    told(capsys, "intake, until all partitions are read again (design: 10 s)", seconds)


@pytest.fixture
def stack(stack_directory: Path) -> Iterator[Stack]:
    with running_stack(stack_directory / "bench-failover") as running:
        yield running


def test_failover_of_a_watcher(stack: Stack, capsys: pytest.CaptureFixture[str]) -> None:
    """One alone, started again at once by whoever supervises it: until its heartbeat is taken in."""
    beaten = "SELECT max(produced_at) FROM ledger.watermark WHERE topic LIKE '%%pod.v1'"
    [own] = [part for part in stack.state().parts if part.name == "watcher"]
    assert own.process is not None
    running = own.process.process()
    assert running is not None
    running.terminate()
    stack.start("watcher")
    stack.wait_ready("watcher")
    seconds = []
    for _ in range(3):
        stack.children["watcher"].kill()
        killed, [(before,)] = time.monotonic(), stack.rows("SELECT ledger.now()")
        stack.start("watcher")
        wait_for(lambda: (stack.rows(beaten)[0][0] or before) > before, "a new heartbeat")  # noqa: B023
        seconds.append(time.monotonic() - killed)
    told(capsys, "watcher without a second one, restarted at once (design: 10 s)", seconds)
