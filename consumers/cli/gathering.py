"""What a support bundle is made of: each part by itself, so that one that can't be had is told and
the others are there all the same.
"""

import asyncio
import json
import platform
import subprocess
import sys
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import httpx2
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError

from consumers.cli.book import opened, plain
from consumers.cli.errors import CommandError
from consumers.cli.redacting import Scrubber, told_settings
from consumers.contract.kafka_client import connection_options, started
from consumers.contract.topics import all_topics, entity_topics
from consumers.kube.lightkube_adapter import LightkubeAdapter
from consumers.kube.port import KubeError
from consumers.kube.wire import KubeConfigError
from consumers.runtime.settings import Settings
from ledger.audit import health, overview
from ledger.audit.figures import read_figures
from ledger.store import inputs, migrate
from ledger.store.seal import read_head, read_tail

#: A log's newest lines, and no more than that of them.
LOG_LINES = 5_000
LOG_BYTES = 8_000_000
FINDINGS_MAX = 500
LETTERS_MAX = 200
DOCTOR_DEADLINE_S = 120
ASK_DEADLINE_S = 10

_PACKAGES = (
    "eni-ledger",
    "aiokafka",
    "alembic",
    "lightkube",
    "psycopg",
    "pydantic",
    "sqlalchemy",
    "uvicorn",
)


class NotHad(Exception):  # noqa: N818 - names what happened
    """A part could not be had: the text says why, and what to do about it."""


@dataclass(frozen=True, slots=True)
class Part:
    """One file of the bundle: `what` is in it, and the text, or why there is none."""

    name: str
    what: str
    text: str | None
    missing: str = ""


@dataclass(frozen=True, slots=True)
class Wanted:
    """A part to gather: its file's name, what it is, and who makes its text."""

    name: str
    what: str
    make: Callable[[], str]


def gather(wanted: Sequence[Wanted], scrubber: Scrubber) -> Iterator[Part]:
    """Make each part. What a part's maker is refused becomes its reason."""
    for each in wanted:
        try:
            yield Part(each.name, each.what, each.make())
        except (NotHad, CommandError, KubeError, KubeConfigError, OSError) as refused:
            why = scrubber.text(f"{refused}" or type(refused).__name__)
            yield Part(each.name, each.what, None, " ".join(why.split()))


def wanted_parts(
    settings: Settings, scrubber: Scrubber, processes: Sequence[str], logs: Sequence[Path]
) -> list[Wanted]:
    """Everything that a bundle has, given the processes' addresses and the log files."""

    def told(value: Any) -> str:
        return json.dumps(scrubber.scrubbed(plain(value)), indent=1, default=str) + "\n"

    parts = [
        Wanted(
            "versions.json", "versions of program, Python, libraries", lambda: told(_versions())
        ),
        Wanted(
            "settings.json", "every setting, secrets masked", lambda: told(told_settings(settings))
        ),
        Wanted("ledger.json", "figures, findings, brakes, seal", lambda: told(_ledger(settings))),
        Wanted(
            "dead-letters.json",
            "where they came from and of which class, never what they hold",
            lambda: told(_dead_letters(settings)),
        ),
        Wanted("kafka.json", "brokers and topics", lambda: told(_kafka(settings))),
        Wanted("kubernetes.json", "which cluster is reached", lambda: told(_kubernetes(settings))),
        Wanted("doctor.json", "what `eni-ledger doctor` finds", lambda: told(_doctor())),
    ]
    for number, address in enumerate(processes, 1):
        base = address.rstrip("/")
        for route, kind in (("readyz", "readiness"), ("metrics", "metrics")):
            parts.append(
                Wanted(
                    f"process-{number}-{route}.txt",
                    f"{kind} of {base}",
                    partial(_answer_of, f"{base}/{route}", scrubber),
                )
            )
    for number, log in enumerate(logs, 1):
        parts.append(
            Wanted(
                f"log-{number}-{log.name}",
                f"the newest {LOG_LINES} lines of {log}",
                partial(_log_of, log, scrubber),
            )
        )
    return parts


def _versions() -> dict[str, Any]:
    def of(package: str) -> str:
        try:
            return version(package)
        except PackageNotFoundError:
            return "not installed"

    return {
        "packages": {package: of(package) for package in _PACKAGES},
        "python": sys.version,
        "platform": platform.platform(),
        "schema_known": migrate.head(),
    }


def _ledger(settings: Settings) -> dict[str, Any]:
    topics = list(entity_topics(settings.kafka.topic_prefix))
    cluster = settings.cluster_id
    with opened(settings, snapshot=True) as connection:
        server = connection.exec_driver_sql("SELECT version(), ledger.home()").one()
        found = health.findings(connection, cluster)
        return {
            "server": server[0],
            "home": server[1],
            "revision": migrate.current(connection),
            "figures": read_figures(connection, cluster, settings.cloud.region_id, topics),
            "brakes": overview.fleet(connection, cluster).brakes,
            "findings": [
                {
                    "what": each.what,
                    "subject": each.subject,
                    "detail": each.detail,
                    "plan": each.plan,
                }
                for each in found[:FINDINGS_MAX]
            ],
            "findings_in_all": len(found),
            "seal": head.model_dump(mode="json")
            if (head := read_head(connection, cluster))
            else None,
            "unsealed": read_tail(connection).entries,
            "incarnations": [
                dict(row)
                for row in connection.exec_driver_sql(
                    "SELECT number, home, began_at FROM ledger.incarnation ORDER BY number DESC LIMIT 20"
                ).mappings()
            ],
        }


def _dead_letters(settings: Settings) -> list[dict[str, Any]]:
    """The reason in words is left out as well: it may quote what could not be read."""
    with opened(settings, snapshot=True) as connection:
        letters = inputs.list_dead_letters(connection, redriven_too=True, limit=LETTERS_MAX)
    return [
        {
            "id": letter.id,
            "from": f"{letter.topic}[{letter.partition}]@{letter.offset}",
            "at": letter.recorded_at,
            "error_class": letter.error_class,
        }
        for letter in letters
    ]


def _kafka(settings: Settings) -> dict[str, Any]:
    try:
        return asyncio.run(_described(settings))
    except (KafkaError, TimeoutError) as unavailable:
        raise NotHad(
            f"Kafka at {settings.kafka.bootstrap_servers}: {unavailable!r}: see that it runs, and "
            "ENI_LEDGER_KAFKA__BOOTSTRAP_SERVERS"
        ) from unavailable


async def _described(settings: Settings) -> dict[str, Any]:
    options = connection_options(settings.kafka, "eni-ledger-support")
    async with (
        asyncio.timeout(4 * ASK_DEADLINE_S),
        started(AIOKafkaAdminClient(**options)) as admin,
    ):
        cluster = await admin.describe_cluster()
        topics = sorted(
            set(await admin.list_topics()) & set(all_topics(settings.kafka.topic_prefix))
        )
        described = await admin.describe_topics(topics) if topics else []
    return {
        "brokers": len(cluster.get("brokers", [])),
        "topics": {
            each["topic"]: {
                "partitions": len(each["partitions"]),
                "replicas": min((len(p["replicas"]) for p in each["partitions"]), default=0),
                "in_sync": min((len(p["isr"]) for p in each["partitions"]), default=0),
            }
            for each in described
        },
        "missing": sorted(set(all_topics(settings.kafka.topic_prefix)) - set(topics)),
    }


def _kubernetes(settings: Settings) -> dict[str, Any]:
    kube = LightkubeAdapter.from_settings(settings.kube, instance="eni-ledger-support")
    try:
        return {"kube_system_uid": kube.cluster_uid(), "podenis": len(list(kube.list_podenis()))}
    finally:
        kube.close()


def _doctor() -> Any:
    from consumers.cli.main import COMMANDS

    if "doctor" not in COMMANDS:
        raise NotHad("this version has no such command")
    command = [sys.executable, "-m", "consumers.cli.main", "doctor", "--json"]
    try:
        ended = subprocess.run(
            command, capture_output=True, check=False, text=True, timeout=DOCTOR_DEADLINE_S
        )
        return json.loads(ended.stdout)
    except subprocess.TimeoutExpired as late:
        raise NotHad(f"it did not end within {DOCTOR_DEADLINE_S} s: run it by hand") from late
    except ValueError as wordless:
        raise NotHad(f"it answered no JSON: {ended.stderr[-300:]}") from wordless


def _answer_of(url: str, scrubber: Scrubber) -> str:
    try:
        answer = httpx2.get(url, timeout=ASK_DEADLINE_S)
    except (httpx2.TransportError, httpx2.InvalidURL) as unreachable:
        raise NotHad(
            f"{url}: {unreachable}: give the address that the process's first log line names"
        ) from unreachable
    return scrubber.text(answer.text)


def _log_of(log: Path, scrubber: Scrubber) -> str:
    return "".join(f"{scrubber.log_line(line)}\n" for line in _newest(log))


def _newest(log: Path) -> deque[str]:
    with log.open("rb") as file:
        size = file.seek(0, 2)
        file.seek(max(0, size - LOG_BYTES))
        text = file.read().decode(errors="replace")
    lines = text.splitlines()
    return deque(lines[1:] if size > LOG_BYTES else lines, maxlen=LOG_LINES)
