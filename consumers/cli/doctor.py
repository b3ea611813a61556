"""`eni-ledger doctor`: whether everything is as it must be, and what to do where it is not."""

import sys
import time
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from consumers.cli.book import print_json
from consumers.cli.errors import CommandError, WrongUsage
from consumers.doctor.checks import findings
from consumers.doctor.facts import Facts
from consumers.doctor.fix_plan import FixRefused, Plan, WrongSetting, asked_for, backup_of, plan_of
from consumers.doctor.fixing import restart_agents, write
from consumers.doctor.judging import Part, Report, Severity
from consumers.doctor.looking import look_around
from consumers.doctor.restarting import RestartStopped, Waiting
from consumers.kube import wire
from consumers.kube.port import Conflict, KubeError
from consumers.runtime.errors import OperatorError
from consumers.runtime.settings import Settings, load_settings

app = typer.Typer(add_completion=False)

EXIT_BLOCKED = 1
_MARKS = {
    Severity.BLOCKS: "[bold red]blocks[/bold red]",
    Severity.WARNS: "[yellow]warns[/yellow]",
    Severity.UNSEEN: "[magenta]could not look[/magenta]",
    Severity.FINE: "[green]fine[/green]",
}
#: What a person reads first.
_ORDER = (Severity.BLOCKS, Severity.UNSEEN, Severity.WARNS)


class ClusterKind(StrEnum):
    """The two kinds of ACK cluster that the product document tells apart."""

    MANAGED = "managed"
    DEDICATED = "dedicated"


class Fix(StrEnum):
    """What the doctor can mend itself."""

    ENI_CONFIG = "eni-config"


@app.command(
    "doctor",
    epilog="Example: [bold]eni-ledger doctor[/bold], [bold]eni-ledger doctor --only kafka,database[/bold], "
    "or [bold]eni-ledger doctor --fix eni-config[/bold]",
)
def doctor(
    only: Annotated[str, typer.Option(help=f"parts, separated by commas: {', '.join(Part)}")] = "",
    as_json: Annotated[bool, typer.Option("--json", help="for programs")] = False,
    kind: Annotated[
        ClusterKind | None,
        typer.Option("--cluster-kind", help="where it can't be told from the cluster"),
    ] = None,
    deadline: Annotated[
        float, typer.Option(min=0.1, max=600, help="seconds for all probes together")
    ] = 30.0,
    fix: Annotated[
        Fix | None, typer.Option(help="turn trunk ENIs on in kube-system/eni-config, after asking")
    ] = None,
    settings_: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="with --fix: credential_path=PATH"),
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="with --fix: don't ask")] = False,
    restart_deadline: Annotated[
        float, typer.Option(min=1, help="with --fix: seconds for one agent to come back")
    ] = 180.0,
    backup: Annotated[
        Path | None, typer.Option(help="with --fix: write the former text to this file")
    ] = None,
) -> None:
    """Examine cluster, cloud, Kafka, database and clocks: what is wrong, why it matters, what mends it.

    Changes nothing without --fix. Exit code 0: nothing blocks; 1: something does, or could not be
    looked at.
    """
    settings = load_settings()
    if fix is None and (settings_ or yes or backup):
        raise WrongUsage("--set, --yes and --backup go with --fix eni-config")
    if fix is not None and (only or as_json):
        raise WrongUsage("--fix goes without --only and --json")
    told_kind = kind.value if kind else ""
    if fix is not None:
        _fix_eni_config(
            settings, told_kind, deadline, settings_ or [], yes, backup, restart_deadline
        )
        return
    parts = _parts(only)
    report = findings(look_around(settings, parts, deadline, told_kind), parts)
    if as_json:
        print_json(_plain(report))
    else:
        show(report, _console())
    if not report.passed:
        raise typer.Exit(EXIT_BLOCKED)


def _parts(only: str) -> frozenset[Part]:
    names = [each.strip() for each in only.split(",") if each.strip()]
    unknown = [name for name in names if name not in set(Part)]
    if unknown:
        raise WrongUsage(f"--only {', '.join(unknown)}: there is {', '.join(Part)}")
    return frozenset(map(Part, names)) or frozenset(Part)


def _plain(report: Report) -> dict[str, object]:
    return {
        "passed": report.passed,
        "findings": [
            {
                "id": each.id,
                "part": each.part.value,
                "severity": each.severity.value,
                "what": each.what,
                "why": each.why,
                "fix": each.fix,
                "page": each.page,
            }
            for each in report.findings
        ],
        "not_made": list(report.not_made),
    }


def _console() -> Console:
    """The terminal; into a file or a pipe, lines long enough for what they say."""
    return Console(highlight=False, width=None if sys.stdout.isatty() else 160)


def show(report: Report, console: Console) -> None:
    """The report for people: a table of everything, then what to do about what is not fine."""
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(width=max((len(each.id) for each in report.findings), default=0) + 2)
    table.add_column(width=max(map(len, Severity)))
    # One line each: what is not fine is told whole below.
    table.add_column(no_wrap=True, overflow="ellipsis")
    part = None
    for each in report.findings:
        if each.part is not part:
            part = each.part
            table.add_row(f"[bold]{part.value}[/bold]", "", "")
        table.add_row(f"  {each.id}", _MARKS[each.severity], _unmarked(each.what))
    console.print(table)
    wrong = sorted(
        (each for each in report.findings if each.severity is not Severity.FINE),
        key=lambda each: _ORDER.index(each.severity),
    )
    for each in wrong:
        console.print(f"\n[bold]{each.id}[/bold] {_MARKS[each.severity]}")
        console.print(f"  what  {_unmarked(each.what)}", soft_wrap=True)
        console.print(f"  why   {_unmarked(each.why)}", soft_wrap=True)
        console.print(f"  fix   {_unmarked(each.fix)}", soft_wrap=True)
        console.print(f"  more  {each.page}", soft_wrap=True)
    if report.not_made:
        console.print(
            f"\nnot made, because what they need is not there or could not be looked at: "
            f"{', '.join(report.not_made)}",
            soft_wrap=True,
        )
    count = sum(each.severity is Severity.BLOCKS for each in wrong)
    unseen = sum(each.severity is Severity.UNSEEN for each in wrong)
    warned = len(wrong) - count - unseen
    console.print(
        f"\n{len(report.findings)} checks: {count} block, {unseen} could not look, {warned} warn"
    )


def _unmarked(text: str) -> str:
    """Text that rich must not read as markup."""
    return text.replace("[", r"\[")


# --- mending --------------------------------------------------------------------------------------


def _fix_eni_config(
    settings: Settings,
    kind: str,
    deadline: float,
    asked: list[str],
    yes: bool,
    backup: Path | None,
    restart_deadline: float,
) -> None:
    try:
        wanted = asked_for(asked)
    except WrongSetting as wrong:
        raise WrongUsage(str(wrong)) from wrong
    facts = look_around(settings, {Part.CLUSTER, Part.NODES}, deadline, kind)
    try:
        plan = plan_of(facts, wanted)
    except FixRefused as refused:
        raise CommandError(f"eni-config: {refused}") from refused
    typer.echo(plan.diff() or "kube-system/eni-config is as it should be: nothing to edit")
    _confirm(plan, yes)
    if backup is not None:
        _keep(plan, backup)
    waiting = Waiting(time.monotonic, time.sleep, ready_s=restart_deadline)
    try:
        with wire.connect(settings.kube) as client:
            if plan.changes:
                write(client, plan)
                typer.echo("written to kube-system/eni-config")
            for told in restart_agents(client, facts, waiting):
                typer.echo(told)
    except Conflict as conflict:
        raise CommandError(
            "kube-system/eni-config was changed by somebody else since it was read; nothing was "
            "written: look at it and give the command again"
        ) from conflict
    except RestartStopped as stopped:
        raise CommandError(f"eni-config: {stopped}") from stopped
    except (KubeError, OperatorError) as failed:
        raise CommandError(f"eni-config: {failed}") from failed
    _look_again(settings, kind, deadline)


def _confirm(plan: Plan, yes: bool) -> None:
    if yes:
        return
    what = "Write this, and restart" if plan.changes else "Restart"
    question = f"{what} the terway agents in stages? It can't be undone: trunk ENIs stay on"
    typer.confirm(question, abort=True)


def _keep(plan: Plan, file: Path) -> None:
    try:
        file.write_text(backup_of(plan), encoding="utf-8")
    except OSError as failed:
        raise CommandError(f"--backup {file}: {failed.strerror}; nothing was changed") from failed
    typer.echo(f"the former text is in {file}")


#: The checks by which the edit shows.
_SHOWN_BY = ("eni-config-json", "eni-config-trunking", "eni-config-credential", "eni-config-in-effect",
             "agents-ready", "trunk-enis", "member-resource")  # fmt: skip


def _look_again(settings: Settings, kind: str, deadline: float) -> None:
    """Whether it took effect. Raises typer.Exit(1) where it did not."""
    parts = frozenset({Part.CLUSTER, Part.NODES})
    facts: Facts = look_around(settings, parts, deadline, kind)
    report = findings(facts, parts)
    kept = tuple(each for each in report.findings if each.id in _SHOWN_BY)
    shown = Report(kept, ())
    show(shown, _console())
    if not shown.passed:
        raise typer.Exit(EXIT_BLOCKED)
