"""`eni-ledger archive`: old entries move to tables of their own, which stay readable and verifiable."""

from datetime import datetime
from typing import Annotated

import typer

from consumers.cli.book import (
    ledger_settings,
    local,
    opened,
    opened_database,
    print_json,
    print_table,
    who,
)
from consumers.cli.errors import CommandError, WrongUsage
from consumers.cli.times import MomentError, read_cut
from consumers.runtime.settings import Settings
from ledger.store import archives, archiving, guard
from ledger.store.archiving import NotArchivable, Plan
from ledger.store.database import Database, ledger_now

app = typer.Typer(add_completion=False)


@app.command(
    epilog="Example: [bold]eni-ledger archive --before 2y --dry-run[/bold], then without --dry-run; "
    "[bold]eni-ledger archive --list[/bold]"
)
def archive(
    before: Annotated[
        str | None,
        typer.Option(help="what is older moves: an age (2y, 90d) or a time, at least a day ago"),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="say what would move, no more")
    ] = False,
    at_most: Annotated[
        int, typer.Option(min=1, help="entries of one archive, and so of one transaction")
    ] = archiving.ENTRIES_MAX,
    list_: Annotated[bool, typer.Option("--list", help="the archives that were made")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="for programs")] = False,
) -> None:
    """Move old entries out of the way: to archives, tables of their own that every answer still reads.

    Nothing is deleted. Give it the DSN of the schema's owner. Safe to stop and to repeat: each archive
    is one transaction.
    """
    settings = ledger_settings()
    if list_:
        if before is not None or dry_run:
            raise typer.BadParameter("--list goes with neither --before nor --dry-run")
        _list(settings, as_json)
        return
    if before is None:
        raise typer.BadParameter("give --before AGE, for example --before 2y; or --list")
    with opened_database(settings) as database:
        try:
            planned, cut = _plan(database, before, at_most)
            carried = 0 if dry_run else _carry_out(database, settings.cluster_id, planned, as_json)
        except NotArchivable as refused:
            raise CommandError(str(refused)) from refused
    if as_json:
        print_json(
            {
                "before": cut,
                "dry_run": dry_run,
                "archives": [
                    {"name": e.name, "first": e.first, "last": e.last} for e in planned.ranges
                ],
                "entries": planned.entries,
                "carried_forward": len(planned.to_carry) if dry_run else carried,
                "held_back_by": planned.why,
            }
        )
    else:
        _tell(planned, cut, dry_run, carried)


def _plan(database: Database, before: str, at_most: int) -> tuple[Plan, datetime]:
    with database.transaction() as connection:
        if (why := guard.check_schema(connection)) is not None:
            raise CommandError(why)
        now = ledger_now(connection)
        try:
            cut = read_cut(before, now)
        except MomentError as wrong:
            raise WrongUsage(f"--before {wrong}") from wrong
        return archiving.plan(connection, cut.at, at_most), cut.at


def _carry_out(database: Database, cluster: str, planned: Plan, quiet: bool) -> int:
    """Returns how many allocations were carried forward."""
    carried = 0
    cause = {"command": "archive", "by": who()}
    for ids in archiving.batches(planned.to_carry):
        with database.transaction() as connection:
            carried += archiving.carry(connection, ids, cause)
    for each in planned.ranges:
        with database.transaction() as connection:
            archiving.move(connection, cluster, each, who())
        if not quiet:
            typer.echo(f"{each.name}: {each.entries} entries", err=True)
    return carried


def _tell(planned: Plan, cut: datetime, dry_run: bool, carried: int) -> None:
    if not planned.ranges:
        typer.echo(f"nothing that is older than {local(cut)} can move")
    else:
        would = "would move" if dry_run else "moved"
        count = len(planned.to_carry) if dry_run else carried
        forward = "would be carried forward" if dry_run else "were carried forward"
        typer.echo(
            f"{planned.entries} entries {would} to {len(planned.ranges)} archives, from "
            f"{planned.ranges[0].name} to {planned.ranges[-1].name}; {count} allocations {forward}"
        )
    if planned.why:
        typer.echo(f"held back: {planned.why}")


def _list(settings: Settings, as_json: bool) -> None:
    with opened(settings) as connection:
        found = archives.read_archives(connection)
    if as_json:
        print_json(found)
        return
    if not found:
        typer.echo("nothing was archived")
        return
    print_table(
        "Archives: tables of schema ledger",
        ("archive", "entries", "from", "to", "moved", "by", "where"),
        [
            (
                each.name,
                str(each.entries),
                local(each.oldest),
                local(each.newest),
                local(each.archived_at),
                each.archived_by,
                "attached" if each.here else "moved away",
            )
            for each in found
        ],
    )
