"""`eni-ledger adopt`: takes a cluster's PodENIs over from the incumbent, into the ledger."""

from collections import Counter
from datetime import UTC, datetime
from typing import Annotated, Any

import typer

from consumers.cli.book import ledger_settings, local, print_json, print_table
from consumers.cli.errors import CommandError
from consumers.cli.source import explained, opened_source
from consumers.takeover.source import Source
from ledger.rules.takeover import LEFT_ALONE, Decision, Facts

app = typer.Typer(add_completion=False)


@app.command(
    "adopt",
    epilog="Example: [bold]eni-ledger adopt --dry-run[/bold], then "
    "[bold]eni-ledger adopt --apply --reason 'leaving terway-controlplane'[/bold]",
)
def adopt_(
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="only print the plan (also the default)")
    ] = False,
    apply: Annotated[
        bool, typer.Option("--apply", help="record the plan; calls and writes nothing elsewhere")
    ] = False,
    reason: Annotated[
        str, typer.Option(help="why, for those who read the ledger later; --apply needs one")
    ] = "",
    as_json: Annotated[bool, typer.Option("--json", help="for programs")] = False,
) -> None:
    """Take PodENIs, their ENIs and reservations over into the ledger, as they are found.

    No cloud call but looks, no write to Kubernetes, no Pod disturbed. Afterwards nothing is taken away
    until `eni-ledger verify --accept`. Exit code 1 when something is left alone or could not be recorded.
    """
    if dry_run and apply:
        raise typer.BadParameter("give one of --dry-run, --apply")
    if apply and not reason:
        raise typer.BadParameter("--apply needs --reason")
    from consumers.takeover.adopt import apply as record_plan
    from consumers.takeover.adopt import doubtful
    from consumers.takeover.facts import look
    from ledger.rules.takeover import plan_takeover

    with opened_source(ledger_settings()) as source, explained():
        facts = look(source)
        decisions = plan_takeover(facts, source.new_id)
        doubt = doubtful(facts, decisions)
        master = _master(source)
        if apply:
            for why in (doubt, master):
                if why is not None:
                    raise CommandError(f"nothing was recorded: {why}")
            applied = record_plan(source, facts, decisions, reason)
    left = [d for d in decisions if d.what in LEFT_ALONE and d.what != "known"]
    if as_json:
        answer: dict[str, Any] = {
            "cluster": facts.cluster,
            "applied": apply,
            "decisions": [_plain(d) for d in decisions],
            "doubt": doubt,
            "master": master,
        }
        if apply:
            answer |= {"entries": applied.entries, "not_recorded": list(applied.not_recorded)}
        print_json(answer)
    else:
        _print_plan(facts, decisions, doubt, master)
        if apply:
            _print_applied(applied.decisions, applied.entries, applied.not_recorded)
    if left or (apply and applied.not_recorded):
        raise typer.Exit(1)


def _master(source: Source) -> str | None:
    from consumers.reconciler.incumbent import why_not_master

    why = why_not_master(source.kube, datetime.now(UTC))
    return None if why is None else f"{why}: `eni-ledger handover stop` does it"


def _print_plan(
    facts: Facts, decisions: list[Decision], doubt: str | None, master: str | None
) -> None:
    rows = [
        (
            f"{d.namespace}/{d.pod} {d.interface}".strip(" /"),
            d.eni,
            d.ipv4,
            d.what,
            "; ".join([d.why, *([f"kept until {local(d.due)}"] if d.due else []), *d.notes]),
        )
        for d in decisions
    ]
    print_table(f"Cluster {facts.cluster}", ("pod", "eni", "ip", "decision", "why"), rows)
    counted = Counter(d.what for d in decisions)
    told = ", ".join(f"{number} {what}" for what, number in sorted(counted.items()))
    typer.echo(
        f"{len(facts.podenis)} PodENIs, {len(facts.enis)} ENIs: {told or 'nothing to adopt'}"
    )
    for what, why in (("doubtful", doubt), ("not to be recorded yet", master)):
        if why is not None:
            typer.echo(f"{what}: {why}", err=True)


def _print_applied(decisions: int, entries: int, refused: tuple[str, ...]) -> None:
    typer.echo(f"recorded: {decisions} decisions, {entries} entries")
    for each in refused:
        typer.echo(f"not recorded: {each}", err=True)
    if decisions:
        typer.echo("next: run the reconciler, look at `eni-ledger verify`, then `verify --accept`")


def _plain(d: Decision) -> dict[str, Any]:
    shown = ("namespace", "pod", "interface", "eni", "ipv4", "what", "why", "due", "notes")
    return {name: getattr(d, name) for name in shown}
