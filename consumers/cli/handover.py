"""`eni-ledger handover`: stop terway-controlplane, bring it back, clear it away, give the cluster back."""

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from consumers.cli.book import ledger_settings, print_json
from consumers.cli.errors import CommandError
from consumers.cli.source import explained, opened_source

if TYPE_CHECKING:
    from consumers.takeover.backups import Backups
    from consumers.takeover.source import Source
    from consumers.takeover.steps import Steps

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    help="Stop terway-controlplane's part in PodENIs, bring it back, clear it away, or give the "
    "cluster back to it. Every step can be run again.",
    epilog="Example: [bold]eni-ledger handover stop --dry-run[/bold]",
)

Directory = Annotated[
    Path, typer.Option("--backup-dir", help="where its Deployment and webhooks are kept as files")
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="only tell what would be done")]
Json = Annotated[bool, typer.Option("--json", help="for programs")]
Wait = Annotated[float, typer.Option(min=0, help="how many seconds to wait for it to come to rest")]
HERE = Path("eni-ledger-handover")


@app.command(epilog="Example: [bold]eni-ledger handover stop --backup-dir backup[/bold]")
def stop(
    backup_dir: Directory = HERE, dry_run: DryRun = False, wait: Wait = 120.0, as_json: Json = False
) -> None:
    """Scale it down (or switch only its PodENI controllers off), back up its webhooks, remove them.

    Where it also runs shared-ENI IPAM it goes on running for that.
    """
    from consumers.takeover import stopping

    def act(source: "Source", backups: "Backups", steps: "Steps") -> None:
        stopping.stop(source, backups, steps)
        why = _await_stopped(source, 0 if dry_run else wait)
        if why is not None and not dry_run:
            raise CommandError(f"not stopped within {wait:g} s: {why}; run it again")

    _run(act, backup_dir, dry_run, as_json)


@app.command(epilog="Example: [bold]eni-ledger handover restore --backup-dir backup[/bold]")
def restore(backup_dir: Directory = HERE, dry_run: DryRun = False, as_json: Json = False) -> None:
    """Bring it back as it was before `stop`; refused while this ledger holds ENIs."""
    from consumers.takeover import stopping

    _run(stopping.restore, backup_dir, dry_run, as_json)


@app.command(epilog="Example: [bold]eni-ledger handover cleanup[/bold]")
def cleanup(backup_dir: Directory = HERE, dry_run: DryRun = False, as_json: Json = False) -> None:
    """Remove its Deployment after a migration that succeeded; the backups stay."""
    from consumers.takeover import stopping

    _run(stopping.cleanup, backup_dir, dry_run, as_json)


@app.command(
    "return", epilog="Example: [bold]eni-ledger handover return --reason 'moving back'[/bold]"
)
def return_(
    reason: Annotated[str, typer.Option(help="why, for those who read the ledger later")],
    backup_dir: Directory = HERE,
    dry_run: DryRun = False,
    wait: Wait = 120.0,
    as_json: Json = False,
) -> None:
    """Give the cluster back to it: at rest, its records in step, nothing of ours acting any more."""
    from consumers.takeover.returning import give_back

    def act(source: "Source", backups: "Backups", steps: "Steps") -> None:
        limit = timedelta(seconds=wait)
        give_back(source, backups, steps, lambda: _master(source), reason, limit)

    _run(act, backup_dir, dry_run, as_json)


def _run(
    act: "Callable[[Source, Backups, Steps], None]", directory: Path, dry_run: bool, as_json: bool
) -> None:
    from consumers.takeover.backups import Backups
    from consumers.takeover.steps import Steps

    steps = Steps(dry_run)
    try:
        with opened_source(ledger_settings()) as source, explained():
            act(source, Backups(directory), steps)
    except CommandError as failed:
        _print(steps, as_json, str(failed))
        raise
    _print(steps, as_json, None)


def _print(steps: "Steps", as_json: bool, refused: str | None) -> None:
    if as_json:
        listed = [{"state": state, "step": step} for state, step in steps.lines]
        print_json({"steps": listed, "warnings": steps.warnings, "refused": refused})
        return
    for state, step in steps.lines:
        typer.echo(f"{state}: {step}")
    for warning in steps.warnings:
        typer.echo(f"mind: {warning}", err=True)


def _master(source: "Source") -> str | None:
    from consumers.reconciler.incumbent import why_not_master

    return why_not_master(source.kube, datetime.now(UTC))


def _await_stopped(source: "Source", wait: float) -> str | None:
    """Until no replica of it acts on PodENIs any more; why not, after `wait` seconds."""
    until = time.monotonic() + wait
    while (why := _master(source)) is not None:
        if time.monotonic() >= until:
            return why
        time.sleep(1.0)
    return None
