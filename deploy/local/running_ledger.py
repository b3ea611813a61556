"""A ledger that takes in what a test publishes: a database, and an intake as a process of its own."""

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
from psycopg.rows import dict_row

from consumers.contract.topics import Entity, entity_topic
from deploy.local.parts.child import last_lines, start_child
from deploy.local.parts.ports import LOOPBACK, free_port
from deploy.local.stack import plan
from deploy.local.stack.keeper import is_ready

#: The cluster whose messages the ledger takes.
CLUSTER = "test-cluster"
READY_DEADLINE_S = 60.0
ANSWER_DEADLINE_S = 60.0
POLL_S = 0.05


@dataclass(frozen=True, slots=True)
class RunningLedger:
    """Where to publish, and what the ledger says of it.

    Attributes:
        kafka: host:port of the broker.
        topic_prefix: topics are `<prefix>.<entity>.v1`: see `topic`.
        cluster_id: keys begin with it, `ce_source` is `/clusters/<cluster_id>`.
        postgres_dsn: a libpq URL of the ledger's database, for questions of your own in SQL.
        log: the intake's.
    """

    kafka: str
    topic_prefix: str
    cluster_id: str
    postgres_dsn: str
    log: Path

    def topic(self, entity: Entity) -> str:
        """The topic of an entity's messages: pod, node, podnetworking, podeni, namespace, config."""
        return entity_topic(entity, self.topic_prefix)

    def allocation(self, pod: str, deadline_s: float = ANSWER_DEADLINE_S) -> Mapping[str, Any]:
        """The newest allocation of `<namespace>/<name>`, as `audit.allocations` has it.

        Waits for it. Raises AssertionError that says how far the message came: never read, a dead
        letter and why, another cluster's, or a Pod that asks for no ENI.
        """
        until = time.monotonic() + deadline_s
        while not (found := self._allocations(pod)):
            if time.monotonic() > until:
                raise AssertionError(
                    f"no allocation of {pod} after {deadline_s:g} s: {self.how_far(pod)}"
                )
            time.sleep(POLL_S)
        return found[0]

    def dead_letters(self) -> list[Mapping[str, Any]]:
        """What could not be taken in so far: topic, partition, offset, error_class, message."""
        return self._rows(
            'SELECT topic, partition, "offset", error_class, message '
            "FROM ledger.dead_letter ORDER BY id"
        )

    def how_far(self, pod: str) -> str:
        """How far the newest message about `<namespace>/<name>` came, in one sentence."""
        if letters := self.dead_letters():
            newest = letters[-1]
            return (
                f"{len(letters)} dead letter(s), the newest from {newest['topic']}: "
                f"{newest['error_class']}: {newest['message']}"
            )
        namespace, _, name = pod.rpartition("/")
        seen = self._rows(
            "SELECT resource_version, alive FROM ledger.observation WHERE cluster = %s "
            "AND entity = 'pod' AND namespace = %s AND name = %s",
            (self.cluster_id, namespace, name),
        )
        if seen:
            alive = "" if seen[0]["alive"] else ", as deleted"
            return (
                f"the Pod was seen at resourceVersion {seen[0]['resource_version']}{alive}, and asks "
                'for no ENI: that takes the annotation k8s.aliyun.com/pod-eni: "true", its networks '
                "in k8s.aliyun.com/pod-networks, and a node"
            )
        topic = self.topic("pod")
        read = self._rows(
            "SELECT coalesce(sum(next), 0) AS n FROM ledger.kafka_offset WHERE topic = %s", (topic,)
        )
        if read[0]["n"]:
            return (
                f"{read[0]['n']} message(s) of {topic} were read, none about this Pod of cluster "
                f"{self.cluster_id}: look at ce_source, ce_subject and the key. {self._intake_said()}"
            )
        return (
            f"nothing was read from {topic} at {self.kafka}: was it sent there, and "
            f"acknowledged? {self._intake_said()}"
        )

    def _intake_said(self) -> str:
        return f"The intake's last lines:\n{last_lines(self.log)}"

    def _allocations(self, pod: str) -> list[Mapping[str, Any]]:
        namespace, _, name = pod.rpartition("/")
        return self._rows(
            "SELECT * FROM audit.allocations WHERE cluster = %s AND namespace = %s AND pod = %s "
            "ORDER BY created_at DESC, allocation_id",
            (self.cluster_id, namespace, name),
        )

    def _rows(self, query: str, parameters: tuple[str, ...] = ()) -> list[Mapping[str, Any]]:
        with psycopg.connect(self.postgres_dsn) as connection:
            cursor = connection.cursor(row_factory=dict_row)
            found: list[Mapping[str, Any]] = [*cursor.execute(query.encode(), parameters)]
            return found


@contextmanager
def running_ledger(
    database: str, kafka: str, topic_prefix: str, log: Path
) -> Iterator[RunningLedger]:
    """An intake between the broker at `kafka` and the migrated `database`, for the block's time.

    Raises PartError with the intake's last lines when it is not ready in time.
    """
    port = free_port()
    settings = {
        "ENI_LEDGER_CLUSTER_ID": CLUSTER,
        "ENI_LEDGER_POSTGRES__DSN": database,
        "ENI_LEDGER_KAFKA__BOOTSTRAP_SERVERS": kafka,
        "ENI_LEDGER_KAFKA__TOPIC_PREFIX": topic_prefix,
        "ENI_LEDGER_KAFKA__GROUP_ID": f"{topic_prefix}-intake",
    }
    child = start_child(
        "the intake",
        plan.eni_ledger_command("run", "intake"),
        log=log,
        environment=plan.part_environment(settings, port),
    )
    url = f"http://{LOOPBACK}:{port}/readyz"
    try:
        child.wait_ready(lambda: is_ready(url), READY_DEADLINE_S, "it was ready")
        yield RunningLedger(kafka, topic_prefix, CLUSTER, database, log)
    finally:
        child.stop()
