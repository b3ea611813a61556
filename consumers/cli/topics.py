"""`eni-ledger topics`: makes the topics that are missing, and says what is wrong with the others."""

import asyncio
from typing import Annotated

import typer
from aiokafka.errors import KafkaError

from consumers.cli.book import print_json, print_table
from consumers.cli.errors import CommandError
from consumers.contract.kafka_client import look_at_topics, make_topics
from consumers.contract.kafka_trouble import explain
from consumers.contract.topic_plan import RETENTION_HOURS_MIN, TopicFound, TopicPlan, plan, remarks
from consumers.contract.topics import DEFAULT_PARTITIONS
from consumers.runtime.settings import KafkaSettings, load_settings

app = typer.Typer(add_completion=False)

_REPLICAS_WANTED = 3


@app.command(epilog="Example: [bold]eni-ledger topics --dry-run[/bold]")
def topics(
    *,
    partitions: Annotated[
        int, typer.Option(min=1, max=1000, help="of each new topic; entries always get one")
    ] = DEFAULT_PARTITIONS,
    replication: Annotated[
        int,
        typer.Option(min=0, max=9, help="replicas of each new topic; 0: up to 3, as brokers allow"),
    ] = 0,
    retention_hours: Annotated[
        int, typer.Option(min=RETENTION_HOURS_MIN, help="how long a new topic keeps messages")
    ] = 24,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="only say what would be made")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="for programs")] = False,
) -> None:
    """Make every topic that is missing; those that exist are looked at, and left as they are.

    Needs the right to create topics, which no process of ours has to have. Exit code 1 where a topic
    could not be made, or one that exists should be set otherwise.
    """
    settings = load_settings().kafka
    try:
        found, brokers = asyncio.run(look_at_topics(settings))
        replicas = replication or min(_REPLICAS_WANTED, brokers)
        there = {each.name for each in found}
        every = plan(
            settings.topic_prefix, partitions=partitions, replicas=replicas, hours=retention_hours
        )
        missing = [each for each in every if each.name not in there]
        refused = {} if dry_run or not missing else asyncio.run(make_topics(settings, missing))
    except (KafkaError, OSError) as failure:
        raise CommandError(f"topics: {explain(failure, settings.sasl_username)}") from failure
    rows = [_planned(each, dry_run, refused) for each in missing]
    rows += [_looked_at(each, settings) for each in found]
    rows.sort(key=lambda row: str(row["topic"]))
    if as_json:
        print_json(rows)
    else:
        _print(rows)
    if any(row["wrong"] for row in rows):
        raise typer.Exit(1)


def _planned(made: TopicPlan, dry_run: bool, refused: dict[str, str]) -> dict[str, object]:
    wrong = [f"not made: {refused[made.name]}"] if made.name in refused else []
    return {
        "topic": made.name,
        "state": "missing" if dry_run or wrong else "made",
        "partitions": made.partitions,
        "replicas": made.replicas,
        "settings": dict(made.settings),
        "wrong": wrong,
    }


def _looked_at(found: TopicFound, settings: KafkaSettings) -> dict[str, object]:
    return {
        "topic": found.name,
        "state": "there",
        "partitions": found.partitions,
        "replicas": found.replicas,
        "settings": dict(found.settings or {}),
        "wrong": remarks(found, settings.message_bytes_max),
    }


def _print(rows: list[dict[str, object]]) -> None:
    print_table(
        "Topics",
        ("topic", "state", "partitions", "replicas", "what to change"),
        [
            (
                str(row["topic"]),
                str(row["state"]),
                str(row["partitions"]),
                str(row["replicas"]),
                "; ".join(row["wrong"]) if isinstance(row["wrong"], list) else "",
            )
            for row in rows
        ],
    )
