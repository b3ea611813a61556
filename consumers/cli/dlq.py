"""`eni-ledger dlq`: the messages that could not be taken in."""

import asyncio
from typing import Annotated

import typer

from consumers.cli.book import local, opened, print_json, print_table
from consumers.cli.errors import CommandError
from consumers.runtime.settings import Settings, load_settings
from ledger.store import inputs
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
    letter = _one(load_settings(), dead_letter)
    if as_json:
        print_json(_told(letter) | {"value": _text(letter.value), "headers": _headers(letter)})
        return
    typer.echo(f"{letter.topic}[{letter.partition}]@{letter.offset}, {local(letter.recorded_at)}")
    typer.echo(f"{letter.error_class}: {letter.message}")
    for name, value in _headers(letter):
        typer.echo(f"  {name}: {value}")
    shown = _text((letter.value or b"")[:_SHOWN_BYTES])
    size = len(letter.value or b"")
    typer.echo(shown + (f"\n… {size} bytes in all" if size > _SHOWN_BYTES else ""))


@app.command(epilog="Example: [bold]eni-ledger dlq redrive 7[/bold], or [bold]--all[/bold]")
def redrive(
    dead_letter: Annotated[int | None, typer.Argument(help="its id")] = None,
    every: Annotated[bool, typer.Option("--all", help="all that were not redriven yet")] = False,
) -> None:
    """Send dead letters to their topic again, after the cause was removed.

    Taken in twice they change nothing; one that still can't be taken in becomes a new dead letter.
    """
    if (dead_letter is None) != every:
        raise CommandError("name one dead letter, or give --all: see `eni-ledger dlq list`")
    settings = load_settings()
    if dead_letter is not None:
        letters = [_one(settings, dead_letter)]
    else:
        with opened(settings) as connection:
            letters = inputs.list_dead_letters(connection, redriven_too=False, limit=10_000)
    asyncio.run(_send(settings, letters))
    with opened(settings) as connection:
        for letter in letters:
            inputs.mark_redriven(connection, letter.id)
    typer.echo(f"{len(letters)} sent to their topics again")


async def _send(settings: Settings, letters: list[DeadLetter]) -> None:
    from aiokafka import AIOKafkaProducer
    from aiokafka.errors import KafkaError

    from consumers.contract.kafka_client import producer_options, started

    size = settings.kafka.fetch_bytes_max + 65_536
    options = producer_options(settings.kafka, "eni-ledger-redrive") | {"max_request_size": size}
    try:
        async with started(AIOKafkaProducer(**options)) as producer:
            for letter in letters:
                await producer.send_and_wait(
                    letter.topic, value=letter.value, key=letter.key, headers=list(letter.headers)
                )
    except KafkaError as failed:
        raise CommandError(
            f"Kafka at {settings.kafka.bootstrap_servers} did not take it: {failed!r}. Nothing is "
            "lost: set ENI_LEDGER_KAFKA__BOOTSTRAP_SERVERS, see that it runs, and redrive again"
        ) from failed


def _one(settings: Settings, dead_letter: int) -> DeadLetter:
    with opened(settings) as connection:
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
        "bytes": len(letter.value or b""),
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
