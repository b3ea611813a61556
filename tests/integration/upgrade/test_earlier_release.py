"""An upgrade with the processes of an earlier release: the schema goes up under them, and they work on.

The earlier release is the wheel beside this file: its watcher, intake and reconciler, each a process.
"""

import json
import os
import subprocess
import sys
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from lightkube import Client, KubeConfig
from lightkube.resources.core_v1 import Namespace, Node, Pod

from deploy.local.actors.nodes import node_object
from deploy.local.kubernetes.launch import Launched
from deploy.local.parts.child import Child, start_child
from deploy.local.parts.ports import LOOPBACK, free_port
from deploy.local.stack import plan
from ledger.store import migrate
from ledger.store.database import Database
from ledger.store.rebuild import check
from tests.integration.processes.ground import fetch
from tests.integration.replicas.fleet import NAMESPACE, Fleet, wait_for
from tests.simulation.world import demo_world, elastic, fixed

CLUSTER = "c-upgrade"
[WHEEL] = Path(__file__).parent.glob("eni_ledger-*.whl")
#: The newest revision that the wheel knows.
KNOWN = "0010"
#: Runs what PYTHONPATH has, and nothing of the directory or checkout that it is started in.
EARLIER = (sys.executable, "-P", "-c", "from consumers.cli.main import main; main()", "run")
NEWEST_KNOWN = (sys.executable, "-P", "-c", "from ledger.store.migrate import head; print(head())")
DEADLINE_S = 240.0


@dataclass
class Upgrade(Fleet):
    """A fleet whose processes are of two releases. `started` has each process's log."""

    earlier: Path = Path()
    started: dict[str, tuple[Child, int, Path]] = field(default_factory=dict)

    def run(self, process: str, *, earlier: bool) -> None:
        name = f"{'earlier' if earlier else 'current'}-{process}"
        log, port = self.directory / f"{name}.log", free_port()
        command: Sequence[str] = (*EARLIER, process) if earlier else ()
        more = {"PYTHONPATH": str(self.earlier)} if earlier else {}
        child = start_child(
            name,
            command or plan.eni_ledger_command("run", process),
            log=log,
            environment=plan.part_environment({**self.settings, **more}, port),
            directory=self.directory if earlier else None,
        )
        self.started[name] = (child, port, log)
        url = f"http://{LOOPBACK}:{port}/readyz"
        child.wait_ready(lambda: fetch(url)[0] == 200, DEADLINE_S, "it was ready")

    def stop(self, name: str) -> None:
        child, _, _ = self.started[name]
        child.stop(deadline_s=60)
        assert child.exit_code == 0, name

    def comes(self, *names: str, network: dict[str, Any] | None = None) -> None:
        for number, name in enumerate(names):
            self.make(name, f"node-h{number % 2 + 1}", network or elastic())

    def goes(self, *names: str) -> None:
        for name in names:
            self.client.delete(Pod, name, namespace=NAMESPACE, grace_period=0)

    def settled(self, expected: Mapping[str, str], what: str) -> None:
        """Pod -> phase of all that is not released."""
        wait_for(lambda: self.phases() == expected, f"{what}: {expected}", DEADLINE_S)

    def errors(self) -> list[str]:
        """What any process of either release logged as an error, or wrote beside its log."""
        found = []
        for name, (_, _, log) in self.started.items():
            for line in log.read_text().splitlines():
                level = json.loads(line).get("level") if line.startswith("{") else "not a log line"
                if level not in ("debug", "info", "warning"):
                    found.append(f"{name}: {line}")
        return found


@pytest.fixture
def upgrade(
    empty_database: str,
    broker: str,
    topic_prefix: str,
    kube_simulator: Launched,
    cloud_simulator: str,
    tmp_path: Path,
) -> Iterator[Upgrade]:
    with zipfile.ZipFile(WHEEL) as wheel:
        wheel.extractall(tmp_path / "earlier")
    migrate.upgrade(empty_database, KNOWN)
    world = demo_world()
    variables = {
        "CLUSTER_ID": CLUSTER,
        "POSTGRES__DSN": empty_database,
        "KAFKA__BOOTSTRAP_SERVERS": broker,
        "KAFKA__TOPIC_PREFIX": topic_prefix,
        "KAFKA__SESSION_TIMEOUT_MS": "6000",
        "KUBE__KUBECONFIG": str(kube_simulator.kubeconfig),
        "CLOUD__REGION_ID": world.region,
        "CLOUD__VPC_ID": world.vpc.id,
        "CLOUD__ECS_ENDPOINT": cloud_simulator,
        "CLOUD__VPC_ENDPOINT": cloud_simulator,
        "CLOUD__PROTOCOL": "http",
        "CLOUD__ACCESS_KEY_ID": "simulator-only",
        "CLOUD__ACCESS_KEY_SECRET": "simulator-only-secret",
    }
    told = {f"ENI_LEDGER_{name}": value for name, value in variables.items()}
    client: Any = Client(KubeConfig.from_file(str(kube_simulator.kubeconfig)).get())
    client.create(Namespace.from_dict({"metadata": {"name": NAMESPACE}}))
    for index, spec in enumerate(world.nodes()):
        client.create(Node.from_dict(node_object(spec, index, "2026-01-01T00:00:00Z")))
    made = Upgrade(tmp_path, empty_database, world, cloud_simulator, told, client)
    made.earlier = tmp_path / "earlier"
    alone = {**os.environ, "PYTHONPATH": str(made.earlier)}
    asked = subprocess.run(NEWEST_KNOWN, env=alone, capture_output=True, text=True, check=True)
    assert asked.stdout.strip() == KNOWN, "what runs is not the wheel's code"
    yield made
    for child, _, _ in made.started.values():
        child.kill()
    client.close()


@pytest.mark.timeout(900)
def test_the_schema_goes_up_under_an_earlier_release(upgrade: Upgrade) -> None:
    for process in ("watcher", "intake", "reconciler"):
        upgrade.run(process, earlier=True)
    upgrade.comes("kept-0", network=fixed("1h"))
    upgrade.comes("stays", "goes")
    upgrade.settled({"kept-0": "bound", "stays": "bound", "goes": "bound"}, "the earlier release")

    # Up, on what is there, while Pods are on their way in and out.
    upgrade.comes("during-1", "during-2")
    upgrade.goes("goes", "kept-0")
    assert migrate.upgrade(upgrade.dsn) > KNOWN
    upgrade.comes("after")
    now = {"stays": "bound", "during-1": "bound", "during-2": "bound", "after": "bound"}
    upgrade.settled({**now, "kept-0": "reserved"}, "the earlier release on the new schema")

    # The current release beside it, then alone.
    for process in ("intake", "reconciler"):
        upgrade.run(process, earlier=False)
    upgrade.goes("during-1", "after")
    upgrade.comes("kept-0", network=fixed("1h"))
    upgrade.comes("beside-1", "beside-2", "beside-3")
    now = {"stays": "bound", "during-2": "bound", "kept-0": "bound"}
    now |= {f"beside-{n}": "bound" for n in (1, 2, 3)}
    upgrade.settled(now, "both releases")
    for process in ("intake", "reconciler"):
        upgrade.stop(f"earlier-{process}")
    upgrade.goes("stays", "beside-1")
    upgrade.comes("last")
    del now["stays"], now["beside-1"]
    upgrade.settled({**now, "last": "bound"}, "the current release alone")

    # Nothing is lost: every story is whole, the book is what its entries say, the cloud what the book says.
    assert upgrade.rows("SELECT count(*) FROM ledger.dead_letter") == [(0,)]
    broken = (
        "SELECT allocation_id FROM ledger.entry WHERE allocation_id IS NOT NULL GROUP BY 1 "
        "HAVING count(*) <> max(version) OR min(version) <> 1"
    )
    assert upgrade.rows(broken) == []
    database = Database(upgrade.dsn, pool_size=1)
    with database.transaction() as connection:
        assert check(connection) == []
    database.close()
    held = upgrade.rows(
        "SELECT state->'address'->>'eni' FROM ledger.allocation WHERE phase <> 'released'"
    )
    assert {eni["id"] for eni in upgrade.member_enis()} == {eni for (eni,) in held}
    assert upgrade.errors() == []
