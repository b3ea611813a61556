"""Commands on the ledger itself: schema, pauses, reservations, and whether it agrees with itself."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from sqlalchemy import Connection

from consumers.cli.book import (
    ledger_settings,
    local,
    moment,
    opened,
    pod_name,
    print_json,
    print_table,
    who,
)
from consumers.cli.errors import CommandError, WrongUsage
from consumers.cli.seal import print_head, verify_seal
from consumers.runtime.settings import load_settings
from ledger.audit import health
from ledger.audit.past import MovedAway
from ledger.audit.questions import reservations as read_reservations
from ledger.rules import entries as e
from ledger.rules.allocation import Phase
from ledger.rules.networks import SECURITY_GROUPS_MAX
from ledger.store import brakes, incarnations, migrate, sweeps, work
from ledger.store.book import Story, lock_pods, record
from ledger.store.database import ledger_now
from ledger.store.rebuild import ArchivesAway, BrokenStory, Difference, check, rebuild
from ledger.store.repairs import order_repair

app = typer.Typer(add_completion=False)

Json = Annotated[bool, typer.Option("--json", help="for programs")]
Reason = Annotated[str, typer.Option(help="why, for those who read the ledger later")]


class ScopeName(StrEnum):
    """What stands still."""

    ALL = "all"
    DESTRUCTIVE = "destructive"


@app.command("migrate", epilog="Example: [bold]eni-ledger migrate[/bold]")
def migrate_(
    to: Annotated[str, typer.Option(help="a revision; head: the newest")] = "head",
) -> None:
    """Bring the ledger's database up to date; waits for another migration, safe to repeat."""
    settings = load_settings()
    with opened(settings):
        pass  # a database that can't be reached is told as such before Alembic meets it
    reached = migrate.upgrade(settings.postgres.dsn.get_secret_value(), to)
    typer.echo(f"the ledger is at revision {reached}")


@app.command(epilog="Example: [bold]eni-ledger pause destructive --reason 'network change'[/bold]")
def pause(
    scope: Annotated[ScopeName, typer.Argument()] = ScopeName.ALL,
    reason: Reason = "by command",
) -> None:
    """Stop acting: everything, or only what takes something away. Recording goes on."""
    settings = ledger_settings()
    with opened(settings) as connection:
        cause = {"command": f"pause {scope.value}", "by": who()}
        pulled = brakes.pull(
            connection,
            settings.cluster_id,
            scope.value,
            who(),
            reason,
            ledger_now(connection),
            cause,
        )
    typer.echo(f"{scope.value}: {'stands still' if pulled else 'stood still already'}")


@app.command(epilog="Example: [bold]eni-ledger resume destructive[/bold]")
def resume(scope: Annotated[ScopeName, typer.Argument()] = ScopeName.ALL) -> None:
    """Act again after a pause, or after the breaker tripped."""
    settings = ledger_settings()
    with opened(settings) as connection:
        why = incarnations.not_the_truth(connection, settings.cluster_id)
        if why is not None and scope is ScopeName.ALL:
            raise CommandError(f"all: can't be resumed: {why}")
        cause = {"command": f"resume {scope.value}", "by": who()}
        released = brakes.release(
            connection, settings.cluster_id, scope.value, who(), ledger_now(connection), cause
        )
        work.notify(connection)
    typer.echo(f"{scope.value}: {'goes on' if released else 'was not paused'}")


@app.command(epilog="Example: [bold]eni-ledger reservations --json[/bold]")
def reservations(
    at: Annotated[
        str | None, typer.Option(help="as of a moment: 'yesterday 14:03', '2h ago', or ISO 8601")
    ] = None,
    as_json: Json = False,
) -> None:
    """The addresses that are, or were, kept for Pods that are away, and until when."""
    settings = ledger_settings()
    with opened(settings) as connection:
        now = ledger_now(connection)
        then = moment("at", at, now)
        if then is not None and then > now:
            raise WrongUsage(f"--at {at!r} is in the future: the ledger tells what was, up to now")
        try:
            found = read_reservations(connection, settings.cluster_id, then)
        except MovedAway as missing:
            raise CommandError(f"reservations: {missing}") from missing
        now = then or now
    if as_json:
        print_json(found)
        return
    if not found:
        typer.echo("nothing is reserved" if then is None else f"nothing was reserved {local(then)}")
        return
    print_table(
        f"Reservations in cluster {settings.cluster_id}",
        ("pod", "ip", "eni", "zone", "away since", "expires in"),
        [
            (
                f"{r.namespace}/{r.pod} {r.interface}",
                r.ipv4,
                r.eni,
                r.zone,
                local(r.absent_since),
                str(r.due - now).split(".")[0] if r.due else "never",
            )
            for r in found
        ],
    )


@app.command(epilog="Example: [bold]eni-ledger release shop/web-0 --reason 'moved away'[/bold]")
def release(
    pod: Annotated[str, typer.Argument(help="NAMESPACE/NAME")],
    reason: Annotated[str, typer.Option(help="why, for those who read the ledger later")],
) -> None:
    """End a Pod's reservation: at once if the Pod is away, else when it goes."""
    settings = ledger_settings()
    namespace, name = pod_name(pod)
    with opened(settings) as connection:
        held = lock_pods(connection, [(settings.cluster_id, namespace, name, "")])
        serving = [
            a
            for a in held.get((settings.cluster_id, namespace, name), [])
            if a.serving and a.release_requested is None
        ]
        if not serving:
            raise CommandError(
                f"Pod {pod} holds nothing that could be released: see `eni-ledger reservations`"
            )
        entry = e.ReleaseRequested(how="command", by=who(), reason=reason)
        cause = {"command": f"release {pod}", "by": who(), "reason": reason}
        now = ledger_now(connection)
        record(connection, [Story(a.id, a, (entry,), cause) for a in serving], now)
        work.signal(connection, [work.WorkKey(settings.cluster_id, "pod", namespace, name)], now)
        work.notify(connection)
    for a in serving:
        address = a.address.ipv4 if a.address else "no address yet"
        when = (
            "is being released"
            if a.phase in (Phase.LEAVING, Phase.RESERVED)
            else "is released when the Pod goes"
        )
        typer.echo(f"{pod} {a.interface}: {address} {when}")


@app.command(
    "security-groups",
    epilog="Example: [bold]eni-ledger security-groups shop/web-0 sg-1,sg-2 --reason audit[/bold]",
)
def security_groups(
    pod: Annotated[str, typer.Argument(help="NAMESPACE/NAME")],
    groups: Annotated[str, typer.Argument(help="security group ids, separated by commas")],
    reason: Annotated[str, typer.Option(help="why, for those who read the ledger later")],
) -> None:
    """Put the ENIs a Pod holds, or that are reserved for it, into other security groups."""
    settings = ledger_settings()
    namespace, name = pod_name(pod)
    ids = tuple(dict.fromkeys(each.strip() for each in groups.split(",") if each.strip()))
    if not 1 <= len(ids) <= SECURITY_GROUPS_MAX:
        raise WrongUsage(f"{groups!r}: give 1 to {SECURITY_GROUPS_MAX} security group ids")
    with opened(settings) as connection:
        held = lock_pods(connection, [(settings.cluster_id, namespace, name, "")])
        serving = [a for a in held.get((settings.cluster_id, namespace, name), []) if a.serving]
        if not serving:
            raise CommandError(f"Pod {pod} holds no ENI: see `eni-ledger audit pod {pod}`")
        entry = e.SecurityGroupsAsked(security_group_ids=ids, by=who(), reason=reason)
        cause = {"command": f"security-groups {pod} {groups}", "by": who(), "reason": reason}
        now = ledger_now(connection)
        record(connection, [Story(a.id, a, (entry,), cause) for a in serving], now)
        work.signal(connection, [work.WorkKey(settings.cluster_id, "pod", namespace, name)], now)
        work.notify(connection)
    for a in serving:
        eni = a.address.eni if a.address else "the ENI that is being made"
        typer.echo(f"{pod} {a.interface}: {eni} is put into {', '.join(ids)}")


def _accept(connection: Connection, cluster: str) -> None:
    """Accept what stands, and let go the brake that a sweep or a new incarnation pulled for it."""
    now = ledger_now(connection)
    accepted = sweeps.accept(connection, cluster, who(), now)
    typer.echo(f"{accepted} findings accepted", err=True)
    for brake in brakes.read_brakes(connection, cluster):
        if brake.pulled_by in incarnations.ACCEPTABLE:
            cause = {"command": "verify --accept", "by": who()}
            brakes.release(connection, cluster, brake.scope, who(), now, cause)
            typer.echo(f"{brake.scope} goes on", err=True)


@app.command("rebuild", epilog="Example: [bold]eni-ledger rebuild --check[/bold]")
def rebuild_(
    only_check: Annotated[bool, typer.Option("--check", help="compare, change nothing")] = False,
    with_archive: Annotated[
        bool,
        typer.Option("--with-archive", help="from the first entry on, archived ones included"),
    ] = False,
    as_json: Json = False,
) -> None:
    """Write the current state anew from the entries alone, or compare it with them.

    What rests on archived entries is left alone, unless --with-archive is given. With --check exit
    code 1 where a row differs.
    """
    settings = load_settings()
    try:
        with opened(settings, snapshot=True) as connection:
            differences = check(connection, with_archive=with_archive)
    except ArchivesAway as away:
        raise CommandError(
            f"--with-archive takes every archive, and {', '.join(away.names)} was moved away: bring "
            "it back and attach it (deploy/howto/retention.md), or leave --with-archive out"
        ) from away
    if not as_json:
        for difference in differences:
            typer.echo(f"{difference.table} {difference.key}: {_told(difference)}", err=True)
    if only_check:
        if as_json:
            print_json({"differences": differences})
            raise typer.Exit(1 if differences else 0)
        if differences:
            raise CommandError(
                f"{len(differences)} rows differ: find out who wrote there, then `eni-ledger rebuild`"
            )
        typer.echo("current state is what the entries say")
        return
    try:
        with opened(settings) as connection:
            rebuilt = rebuild(connection, with_archive=with_archive)
    except BrokenStory as broken:
        raise CommandError(
            f"{broken}. Nothing was written; `eni-ledger verify --seal` says whose entries were "
            "changed: bring those back first"
        ) from broken
    if as_json:
        print_json({"differences": differences, "allocations_rebuilt": rebuilt})
    else:
        typer.echo(f"{rebuilt} allocations rebuilt; {len(differences)} rows had differed")


@app.command(
    epilog="Example: [bold]eni-ledger verify[/bold], then [bold]--repair[/bold] or [bold]--accept[/bold]; "
    "[bold]eni-ledger verify --seal --head head.json[/bold]"
)
def verify(
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="only print findings and plan (also the default)")
    ] = False,
    repair: Annotated[
        bool, typer.Option("--repair", help="carry the printed plan out: everything planned is due")
    ] = False,
    accept: Annotated[
        bool, typer.Option("--accept", help="what stands was looked at and may stay as it is")
    ] = False,
    seal: Annotated[
        bool, typer.Option("--seal", help="hold every sealed entry against its seal instead")
    ] = False,
    head: Annotated[
        list[Path] | None,
        typer.Option(help="with --seal: compare with this export, too; may be given again"),
    ] = None,
    export_head: Annotated[
        bool, typer.Option("--export-head", help="print the newest seal, to be kept elsewhere")
    ] = False,
    as_json: Json = False,
) -> None:
    """Look for what a person should see, and say what a repair would do about it.

    Drift, state that differs, open calls, brakes, parked work; with --seal: entries that were edited,
    deleted or put in. Exit code 1 when something was found.
    """
    if dry_run + repair + accept + seal + export_head > 1:
        raise typer.BadParameter("give one of --dry-run, --repair, --accept, --seal, --export-head")
    if head and not seal:
        raise typer.BadParameter("--head FILE goes with --seal")
    if export_head:
        print_head()
        return
    if seal:
        verify_seal(head or [], as_json=as_json)
        return
    settings = ledger_settings()
    if accept:
        with opened(settings) as connection:
            _accept(connection, settings.cluster_id)
    with opened(settings, snapshot=True) as connection:
        found = health.findings(connection, settings.cluster_id)
    if repair:
        with opened(settings) as connection:
            _repair(connection, settings.cluster_id, found)
    if as_json:
        print_json(found)
    else:
        _print_findings(found)
    if found:
        raise typer.Exit(1)


def _told(difference: Difference) -> str:
    if difference.table == "entry":
        return f"its entries tell no story: {difference.holds}"
    return "differs from the entries"


def _repair(connection: Connection, cluster: str, found: list[health.Finding]) -> None:
    due = {finding.work for finding in found if finding.work is not None}
    unparked = order_repair(connection, cluster, due, who(), ledger_now(connection))
    typer.echo(
        f"started: {len(due)} pieces of work and a sweep are due, {unparked} unparked; "
        "`eni-ledger verify` shows what remains",
        err=True,
    )


def _print_findings(found: list[health.Finding]) -> None:
    for finding in found:
        typer.echo(f"{finding.what}: {finding.subject}: {finding.detail}")
        typer.echo(f"  repair: {finding.plan or 'none without a person'}")
        typer.echo(f"  next: {finding.next_step}")
    if not found:
        typer.echo("nothing to look at")
