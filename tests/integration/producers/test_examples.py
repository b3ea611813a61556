"""The example producers, run as the page produce-events says, on Apache Kafka: what each publishes, the
ledger takes, and it is the same allocation whichever language spoke."""

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from functools import partial
from pathlib import Path

import psycopg
import pytest

from deploy.local.parts.apache_kafka import ApacheKafka
from deploy.local.running_ledger import RunningLedger
from tests.integration.intake.ground import wait_until

PRODUCERS = Path(__file__).parents[3] / "deploy" / "kafka" / "producers"
PAGE = (Path(__file__).parents[3] / "deploy" / "howto" / "produce-events.md").read_text()
POD = (PRODUCERS / "pod.json").read_bytes()
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "eni-ledger"
DEADLINE_S = 240  # Go compiles at the first run
LINES_MAX = 40

#: What came of one Pod's events: its entries without ids and times, and how it was last seen.
ENTRIES = """
    SELECT e.version, e.kind, e.data::text, e.cause ->> 'event', a.phase, a.node, a.pod_uid, o.alive
    FROM ledger.entry e JOIN ledger.allocation a ON a.id = e.allocation_id
    JOIN ledger.observation o USING (namespace) WHERE a.pod = %(pod)s AND o.name = %(pod)s
    ORDER BY e.version"""


def line(language: str, ledger: RunningLedger, action: str) -> str:
    """The page's command for a language, with this run's places in it."""
    [shown] = re.findall(rf"^cd deploy/kafka/producers/{language}\b.*\n(.+) <", PAGE, re.MULTILINE)
    key = hashlib.sha256((PRODUCERS / "java" / "pom.xml").read_bytes()).hexdigest()[:12]
    here = {
        "127.0.0.1:9092": ledger.kafka,
        "eni-ledger.pod.v1": ledger.topic("pod"),
        "my-cluster": ledger.cluster_id,
        "target/lib": str(CACHE / f"java-producer-{key}"),
        "observed": action,
    }
    for example, ours in here.items():
        shown = shown.replace(example, ours)
    return str(shown)


def publish(language: str, ledger: RunningLedger, action: str, pod: bytes) -> None:
    tools = (str(Path(sys.executable).parent), os.environ["PATH"], str(CACHE / "go-1.26.0" / "bin"))
    bash = shutil.which("bash")
    assert bash
    done = subprocess.run(
        [bash, "-euc", line(language, ledger, action)],
        cwd=PRODUCERS / language,
        env={**os.environ, "PATH": os.pathsep.join(tools)},
        input=pod,
        capture_output=True,
        timeout=DEADLINE_S,
        check=False,
    )
    assert done.returncode == 0, done.stderr.decode()


def came_of(pod: str, language: str, ledger: RunningLedger) -> list[list[str]]:
    """The rows of `ENTRIES`, with the language's own name taken out."""
    with psycopg.connect(ledger.postgres_dsn) as connection:
        rows = connection.execute(ENTRIES, {"pod": pod}).fetchall()
    return [[str(value).replace(f"-{language}", "-…") for value in row] for row in rows]


def gone(pod: str, ledger: RunningLedger) -> bool:
    with psycopg.connect(ledger.postgres_dsn) as connection:
        row = connection.execute(
            "SELECT alive FROM ledger.observation WHERE name = %s", (pod,)
        ).fetchone()
    return row == (False,)


@pytest.fixture(scope="session")
def broker(apache_kafka: ApacheKafka) -> str:
    """The genuine one: each client negotiates with it as with a user's."""
    return apache_kafka.bootstrap


@pytest.mark.genuine("kafka", "go", "java")
def test_three_languages_say_the_same(running_ledger: RunningLedger) -> None:
    told = {}
    for language in ("python", "go", "java"):
        name, pod = f"web-{language}", json.loads(POD)
        pod["metadata"] |= {"name": name, "uid": f"uid-of-{language}"}
        publish(language, running_ledger, "observed", json.dumps(pod).encode())
        assert running_ledger.allocation(f"shop/{name}")["pod_uid"] == f"uid-of-{language}"
        pod["metadata"]["resourceVersion"] = "81724"
        publish(language, running_ledger, "deleted", json.dumps(pod).encode())
        wait_until(partial(gone, name, running_ledger), f"{name} seen as deleted")
        told[language] = came_of(name, language, running_ledger)
    assert told["python"], "nothing was recorded"
    assert told["python"] == told["go"] == told["java"]
    assert running_ledger.dead_letters() == []


def test_each_is_short_enough_to_be_read() -> None:
    for file in ("python/produce.py", "go/main.go", "java/Produce.java"):
        assert len((PRODUCERS / file).read_text().splitlines()) <= LINES_MAX, file
