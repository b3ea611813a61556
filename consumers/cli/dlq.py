"""`eni-ledger dlq`: the messages that could not be taken in."""

import asyncio
from collections.abc import Sequence
from typing import Annotated

import typer

from consumers.cli.book import local, opened, opened_database, print_json, print_table
from consumers.cli.errors import CommandError, WrongUsage
from consumers.runtime.settings import Settings, load_settings
from ledger.store import inputs
from ledger.store.database import Database
from ledger.store.inputs import DeadLetter

app = typer.Typer(no_args_is_help=True, add_completion=False)

Json = Annotated[bool, typer.Option("--json", help="for programs")]
_SHOWN_BYTES = 4000


@app.command("list", epilog="Example: [bold]eni-ledger dlq list --json[/bold]")
def list_(
    every: Annotated[bool, typer.Option("--all", help="also those redriven already")] = False,
    limit: Annotated[int, typer.Option(min=1, max=10_000)] = 100,
    as_json: Json = False,
) -> None:
    """Dead letters, oldest first, each with the reason."""
    with opened(load_settings()) as connection:
        found = inputs.list_dead_letters(connection, redriven_too=every, limit=limit)
    if as_json:
        print_json([_told(letter) for letter in found])
        return
    if not found:
        typer.echo("no dead letters")
        return
    print_table(
        "Dead letters",
        ("id", "at", "from", "key", "class", "why"),
        [
            (
                str(letter.id),
                local(letter.recorded_at),
                f"{letter.topic}[{letter.partition}]@{letter.offset}",
                _text(letter.key),
                letter.error_class,
                letter.message,
            )
            for letter in found
        ],
    )


@app.command(epilog="Example: [bold]eni-ledger dlq show 7[/bold]")
def show(dead_letter: Annotated[int, typer.Argument(help="its id")], as_json: Json = False) -> None:
    """One dead letter: where it came from, why it is one, and its bytes."""
    with opened_database(load_settings()) as database:
        letter = _one(database, dead_letter)
    if as_json:
        print_json(_told(letter) | {"value": _text(letter.value), "headers": _headers(letter)})
        return
    typer.echo(f"{letter.topic}[{letter.partition}]@{letter.offset}, {local(letter.recorded_at)}")
    typer.echo(f"{letter.error_class}: {letter.message}")
    for name, value in _headers(letter):
        typer.echo(f"  {name}: {value}")
    shown = _text((letter.value or b"")[:_SHOWN_BYTES])
    typer.echo(shown + (f"\n… {letter.size} bytes in all" if letter.size > _SHOWN_BYTES else ""))


@app.command(epilog="Example: [bold]eni-ledger dlq redrive 7[/bold], or [bold]--all[/bold]")
def redrive(
    dead_letter: Annotated[int | None, typer.Argument(help="its id")] = None,
    every: Annotated[bool, typer.Option("--all", help="all that were not redriven yet")] = False,
) -> None:
    """Send dead letters to their topic again, after the cause was removed.

    Taken in twice they change nothing; one that still can't be taken in becomes a new dead letter.
    """
    if (dead_letter is None) != every:
        raise WrongUsage("name one dead letter, or give --all: see `eni-ledger dlq list`")
    settings = load_settings()
    with opened_database(settings) as database:
        if dead_letter is not None:
            ids = [_one(database, dead_letter).id]
        else:
            with database.transaction() as connection:
                ids = inputs.not_redriven(connection)
        asyncio.run(_redrive(settings, database, ids))
    typer.echo(f"{len(ids)} sent to their topics again")


async def _redrive(settings: Settings, database: Database, ids: Sequence[int]) -> None:
    """Send them one by one, each noted once it is acknowledged: only one is in memory."""
    from aiokafka import AIOKafkaProducer
    from aiokafka.errors import KafkaError

    from consumers.contract.kafka_client import producer_options, started

    size = settings.kafka.fetch_bytes_max + 65_536
    options = producer_options(settings.kafka, "eni-ledger-redrive") | {"max_request_size": size}
    try:
        async with started(AIOKafkaProducer(**options)) as producer:
            for id_ in ids:
                letter = await asyncio.to_thread(_one, database, id_)
                await producer.send_and_wait(
                    letter.topic, value=letter.value, key=letter.key, headers=list(letter.headers)
                )
                await asyncio.to_thread(_mark, database, id_)
    except KafkaError as failed:
        raise CommandError(
            f"Kafka at {settings.kafka.bootstrap_servers} did not take it: {failed!r}. Nothing is "
            "lost: set ENI_LEDGER_KAFKA__BOOTSTRAP_SERVERS, see that it runs, and redrive again"
        ) from failed


def _mark(database: Database, dead_letter: int) -> None:
    with database.transaction() as connection:
        inputs.mark_redriven(connection, dead_letter)


def _one(database: Database, dead_letter: int) -> DeadLetter:
    with database.transaction() as connection:
        letter = inputs.show_dead_letter(connection, dead_letter)
    if letter is None:
        raise CommandError(
            f"there is no dead letter {dead_letter}: see `eni-ledger dlq list --all`"
        )
    return letter


def _told(letter: DeadLetter) -> dict[str, object]:
    return {
        "id": letter.id,
        "topic": letter.topic,
        "partition": letter.partition,
        "offset": letter.offset,
        "key": _text(letter.key),
        "bytes": letter.size,
        "error_class": letter.error_class,
        "message": letter.message,
        "recorded_at": letter.recorded_at,
        "published_at": letter.published_at,
        "redriven_at": letter.redriven_at,
    }


def _headers(letter: DeadLetter) -> list[tuple[str, str]]:
    return [(name, _text(value)) for name, value in letter.headers]


def _text(raw: bytes | None) -> str:
    return "" if raw is None else raw.decode("utf-8", "backslashreplace")
