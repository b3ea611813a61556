"""`eni-ledger shadow`: what a shadow would have done, beside what the incumbent did."""

from dataclasses import asdict
from typing import Annotated, Any

import typer

from consumers.cli.book import ledger_settings, print_json, print_table
from consumers.cli.source import explained, opened_source

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    help="What a shadow would have done, beside what the incumbent did.",
    epilog="Example: [bold]eni-ledger shadow report[/bold]",
)


@app.callback()
def shadow() -> None:
    """Keeps `report` a command of its own."""


@app.command(epilog="Example: [bold]eni-ledger shadow report --json[/bold]")
def report(
    as_json: Annotated[bool, typer.Option("--json", help="for programs")] = False,
) -> None:
    """Compare the incumbent's PodENIs with what this ledger would decide; only looks.

    Exit code 1 where something differs.
    """
    from consumers.takeover.facts import look
    from ledger.rules.shadowing import compare
    from ledger.rules.takeover import plan_takeover

    with opened_source(ledger_settings()) as source, explained():
        facts = look(source)
        compared = compare(facts, plan_takeover(facts, source.new_id))
    differing = [each for each in compared if not each.same]
    if as_json:
        answer: dict[str, Any] = {
            "cluster": facts.cluster,
            "same": len(compared) - len(differing),
            "different": [asdict(each) for each in differing],
        }
        print_json(answer)
    else:
        if differing:
            rows = [
                (
                    f"{each.namespace}/{each.pod} {each.interface}",
                    each.theirs,
                    each.ours,
                    "; ".join(each.differences),
                )
                for each in differing
            ]
            columns = ("pod", "incumbent", "we", "difference")
            print_table(f"Cluster {facts.cluster}", columns, rows)
        typer.echo(f"{len(compared)} interfaces: {len(differing)} differ")
    if differing:
        raise typer.Exit(1)
