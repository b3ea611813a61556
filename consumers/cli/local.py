"""`eni-ledger local`: the embedded stack, for looking around and for tests."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from consumers.cli.errors import CommandError

if TYPE_CHECKING:
    from deploy.local.stack.state import StackFacts, StackState

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    help="Start, stop and look at the local stack: PostgreSQL, a Kafka broker, the cloud and "
    "Kubernetes simulators and every process of eni-ledger, all on loopback.",
    epilog="Example: [bold]eni-ledger local up[/bold], then [bold]eni-ledger local down[/bold]",
)

StateDirectory = Annotated[
    Path | None,
    typer.Option(
        "--state-dir", help="where its files are; another directory is another, separate stack"
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="print JSON on stdout, and nothing else")]
PortOption = Annotated[int, typer.Option(min=0, max=65535, help="0: any free port")]


@app.command(
    epilog="Example: [bold]eni-ledger local up --json[/bold], or with your own database: "
    "[bold]eni-ledger local up --postgres postgresql://me@127.0.0.1/empty[/bold]"
)
def up(
    *,
    world: Annotated[
        Path | None, typer.Option(help="world file: what the simulated cloud holds")
    ] = None,
    postgres: Annotated[
        str, typer.Option(metavar="embedded|DSN", help="DSN: of a database for this stack only")
    ] = "embedded",
    kafka: Annotated[
        str,
        typer.Option(
            metavar="tansu|apache|HOST:PORT",
            help="tansu: in memory, for trying out only; apache: the real thing, on Java 17",
        ),
    ] = "tansu",
    kube: Annotated[
        str,
        typer.Option(
            metavar="simulated|genuine|KUBECONFIG",
            help="genuine: kube-apiserver and etcd, compiled by .ci/parts/kube; KUBECONFIG: of a bare "
            "API server. Scheduler, controllers and kubelets are played",
        ),
    ] = "simulated",
    cluster_id: Annotated[str, typer.Option(help="default: a new one for each start")] = "",
    postgres_port: PortOption = 0,
    kafka_port: PortOption = 0,
    kube_port: PortOption = 0,
    cloud_port: PortOption = 0,
    webhook_port: PortOption = 0,
    console_port: PortOption = 0,
    as_json: AsJson = False,
    state_dir: StateDirectory = None,
) -> None:
    """Start the local stack in the background; returns once every part of it is ready."""
    from deploy.local.parts.child import PartError
    from deploy.local.stack import control
    from deploy.local.stack.options import (
        DEFAULT_WORLD,
        StackOptions,
        default_state_directory,
    )

    if kafka not in ("tansu", "apache") and ":" not in kafka:
        raise typer.BadParameter(
            f"{kafka!r} is neither tansu, apache nor HOST:PORT", param_hint="--kafka"
        )
    named = kube in ("simulated", "genuine")
    if not named and not Path(kube).is_file():
        raise typer.BadParameter(
            f"{kube!r} is neither `simulated`, `genuine` nor a kubeconfig file", param_hint="--kube"
        )
    options = StackOptions(
        world=(world or DEFAULT_WORLD).absolute(),
        postgres=postgres,
        kafka=kafka,
        kube=kube if named else str(Path(kube).absolute()),
        cluster_id=cluster_id,
        postgres_port=postgres_port,
        kafka_port=kafka_port,
        kube_port=kube_port,
        cloud_port=cloud_port,
        webhook_port=webhook_port,
        console_port=console_port,
    )
    try:
        facts = control.up(
            options,
            (state_dir or default_state_directory()).absolute(),
            progress=lambda line: typer.echo(line, err=True),
        )
    except (control.StackError, PartError) as refused:
        raise CommandError(f"local up: {refused}") from refused
    typer.echo(facts.model_dump_json() if as_json else _how_to_use(facts))


def _how_to_use(facts: "StackFacts") -> str:
    return (
        f"\nThe local stack is ready.\n"
        f"  use it          . {facts.environment}\n"
        f"                  then kubectl get nodes, or eni-ledger audit --help\n"
        f"  PostgreSQL      {facts.postgres}\n"
        f"  Kafka           {facts.kafka}\n"
        f"  cloud           {facts.cloud_control}/enis\n"
        f"  console         {facts.console}\n"
        f"                  sign in with the token {facts.console_token}\n"
        f"  logs            {facts.logs}\n"
        f"  stop it         eni-ledger local down"
    )


@app.command(epilog="Example: [bold]eni-ledger local down[/bold]")
def down(state_dir: StateDirectory = None) -> None:
    """Stop the local stack, last part first, and forget what it held. Logs are kept."""
    from deploy.local.stack import control
    from deploy.local.stack.options import default_state_directory

    try:
        stopped = control.down(
            (state_dir or default_state_directory()).absolute(),
            progress=lambda line: typer.echo(line, err=True),
        )
    except control.StackError as refused:
        raise CommandError(f"local down: {refused}") from refused
    typer.echo("stopped" if stopped else "no local stack is running")


@app.command(epilog="Example: [bold]eni-ledger local status --json[/bold]")
def status(as_json: AsJson = False, state_dir: StateDirectory = None) -> None:
    """Say what runs. Exit code 1 when there is no stack or a part of it is not ready."""
    from deploy.local.stack import control
    from deploy.local.stack.options import default_state_directory

    try:
        state = control.status((state_dir or default_state_directory()).absolute())
    except control.StackError as refused:
        raise CommandError(f"local status: {refused}") from refused
    if state is None:
        typer.echo('{"phase": "down"}' if as_json else "no local stack is running")
        raise typer.Exit(1)
    if as_json:
        typer.echo(state.model_dump_json())
    else:
        _print_status(state)
    complete = state.phase == "ready" and all(part.ready for part in state.parts)
    raise typer.Exit(0 if complete else 1)


def _print_status(state: "StackState") -> None:
    from deploy.local.stack.control import readiness_of

    typer.echo(f"the local stack is {state.phase.value} (keeper: pid {state.keeper.pid})")
    for part in state.parts:
        pid = part.process.pid if part.process else "-"
        if part.ready:
            word = "ready"
        elif not part.running:
            code = "" if part.exit_code is None else f" with code {part.exit_code}"
            word = f"ended{code}: see {part.log}"
        else:
            word = f"not ready: {readiness_of(part.ready_url) if part.ready_url else 'starting'}"
        typer.echo(f"  {part.name:<12} pid {pid!s:<8} {word}")
