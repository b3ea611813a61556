"""How much of the call budget is used while work waits; `make bench PART=budget`.

Three reconciler processes, with the default limits, on a real PostgreSQL; judged by the cloud
simulator's own log of calls. The promise (P9) is never more than the rate and burst, and at least
95 % of it while work waits: of the API that is short, the others then wait for it.
"""

import sys
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import pytest

from consumers.runtime.settings import CloudSettings
from deploy.local.parts.postgres import create_database, start_postgres
from ledger.store import migrate
from tests.integration.replicas.fleet import Fleet, running_fleet, wait_for

REPLICAS, PODS, INSTANCES = 3, 300, 20
NETWORK = {
    "interface": "eth0",
    "vSwitchOptions": ["vsw-bpxxxx"],
    "securityGroupIDs": ["sg-bpxxxx"],
    "allocationType": {"type": "Elastic"},
}

pytestmark = pytest.mark.timeout(900)


@pytest.fixture
def fleet(stack_directory: Path) -> Iterator[Fleet]:
    directory = stack_directory / "bench-budget"
    server = start_postgres(directory / "postgres", log=directory / "postgres.log")
    dsn = create_database(server.dsn(), "ledger")
    migrate.upgrade(dsn)
    with running_fleet(directory / "fleet", dsn, {}, instances=INSTANCES) as running:
        yield running
    server.stop()


def test_budget_used_by_several_reconcilers(
    fleet: Fleet, capsys: pytest.CaptureFixture[str]
) -> None:
    names = [(f"web-{number}", f"node-{number % INSTANCES}") for number in range(PODS)]
    fleet.create_pods(names, NETWORK)
    before = fleet.calls()
    since = before[-1]["sequence"] if before else 0
    for _ in range(REPLICAS):
        fleet.start()
    wait_for(lambda: list(fleet.phases().values()).count("bound") == PODS, "all are bound", 600)
    times: dict[str, list[float]] = {}
    for call in fleet.calls(since):
        at = datetime.fromisoformat(call["time"]).timestamp()
        times.setdefault(call["api"], []).append(at)
    turns = [fleet.metric(n, "eni_ledger_reconciler_turns_total") for n in range(REPLICAS)]
    with capsys.disabled():
        each = ", ".join(f"{count:.0f}" for count in turns)
        sys.stdout.write(f"\n{PODS} Pods bound by {REPLICAS} reconcilers; turns: {each}\n")
        for api, made in sorted(times.items()):
            sys.stdout.write(_line(api, sorted(made)) + "\n")


def _line(api: str, made: list[float]) -> str:
    """Used of the allowed over the stretch from the first call to the last, and the worst window."""
    cloud = CloudSettings()
    limit = cloud.rate_limit(api)
    rate = limit.per_minute / 60 * cloud.budget_share
    burst = max(1, int(limit.burst * cloud.budget_share))
    lasted = made[-1] - made[0]
    worst = max(
        len(made[first : last + 1]) - burst - rate * (made[last] - made[first])
        for first in range(len(made))
        for last in range(first, len(made))
    )
    return (
        f"  {api:30} {len(made):5} calls in {lasted:5.1f} s, "
        f"used {len(made) / (burst + rate * lasted):5.1%} of our share, "
        f"worst window {worst:+.1f} calls against it "
        f"({worst - limit.burst + burst:+.1f} against the whole one)"
    )
