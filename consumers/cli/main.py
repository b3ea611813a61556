"""The command line: which commands there are, and how their failures leave the process.

Every command lives in a module of its own and is imported when it is used: `eni-ledger --help`
must not pay for the cloud SDK or the database driver.
"""

import importlib
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import typer
from typer.core import TyperCommand, TyperGroup
from typer.main import get_command

from consumers.cli.errors import CommandError
from consumers.runtime.settings import SettingsError

if TYPE_CHECKING:
    from typer._click.core import Command, Context

PROGRAM = "eni-ledger"
EXIT_FAILED = 1


@dataclass(frozen=True, slots=True)
class Entry:
    """Where a command lives. `whole`: its module's app is the command, with commands of its own."""

    module: str
    summary: str
    whole: bool = False


COMMANDS: dict[str, Entry] = {
    "demo": Entry("consumers.cli.demo", "See it work: the product document's example, narrated."),
    "local": Entry("consumers.cli.local", "Start, stop and look at the local stack.", whole=True),
    "run": Entry("consumers.cli.run", "Run one of the processes until it is stopped."),
    "topics": Entry("consumers.cli.topics", "Make the Kafka topics, and look at those there are."),
    "migrate": Entry("consumers.cli.ledger", "Bring the ledger's database up to date."),
    "audit": Entry("consumers.cli.audit", "Who held what, when and why.", whole=True),
    "explain": Entry("consumers.cli.explain", "Why a Pod's network is in the state it is in."),
    "reservations": Entry("consumers.cli.ledger", "The fixed IPs that are kept, and until when."),
    "release": Entry("consumers.cli.ledger", "End a reservation by hand."),
    "security-groups": Entry(
        "consumers.cli.ledger", "Put a Pod's existing ENIs into other groups."
    ),
    "pause": Entry("consumers.cli.ledger", "Stop acting: everything, or only what destroys."),
    "resume": Entry("consumers.cli.ledger", "Act again after a pause."),
    "verify": Entry(
        "consumers.cli.ledger", "What a person should look at: drift, open calls, brakes."
    ),
    "rebuild": Entry("consumers.cli.ledger", "Recompute the current state from the entries."),
    "archive": Entry("consumers.cli.archive", "Move old entries to tables of their own."),
    "doctor": Entry("consumers.cli.doctor", "What is wrong here, why it matters, what mends it."),
    "adopt": Entry("consumers.cli.adopt", "Take PodENIs over from terway-controlplane."),
    "handover": Entry(
        "consumers.cli.handover", "Stop terway-controlplane, or give a cluster back.", whole=True
    ),
    "shadow": Entry("consumers.cli.shadow", "What a shadow would have done.", whole=True),
    "support-bundle": Entry(
        "consumers.cli.support", "Gather what a helper needs to see, without secrets."
    ),
    "dlq": Entry("consumers.cli.dlq", "Messages that could not be taken in.", whole=True),
}


class LazyGroup(TyperGroup):
    """Lists COMMANDS from the table above and imports one only when it is invoked."""

    def __init__(self, **attributes: Any) -> None:
        listed = [TyperCommand(name, help=entry.summary) for name, entry in COMMANDS.items()]
        super().__init__(**{**attributes, "commands": listed})

    def resolve_command(
        self, ctx: "Context", args: list[str]
    ) -> "tuple[str | None, Command | None, list[str]]":
        name, placeholder, rest = super().resolve_command(ctx, args)
        if name is None or placeholder is None:
            return name, placeholder, rest
        return name, load(name), rest


def load(name: str) -> "Command":
    """Import the command `name` of COMMANDS. Raises CommandError when its module is not there."""
    entry = COMMANDS[name]
    try:
        module = importlib.import_module(entry.module)
    except ModuleNotFoundError as missing:
        raise CommandError(
            f"{name}: {missing.name} is not installed here. The local stack and the demo come "
            "with the source tree (`make demo`); everything else with the package"
        ) from missing
    command = get_command(module.app)
    if entry.whole:
        command.name = name
        return command
    members = getattr(command, "commands", {name: command})
    if name not in members:
        raise CommandError(f"{name}: {entry.module} has no such command: please report it")
    found: Command = members[name]
    return found


app = typer.Typer(
    cls=LazyGroup,
    name=PROGRAM,
    no_args_is_help=True,
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Example: [bold]eni-ledger demo[/bold], or [bold]eni-ledger audit --help[/bold]",
)


@app.callback()
def eni_ledger() -> None:
    """Gives Kubernetes Pods their own ENI on Alibaba Cloud, and keeps a ledger of every allocation.

    Exit codes: 0 done, 1 a negative answer or a failure, 2 wrong usage.
    """


def main(arguments: Sequence[str] | None = None) -> None:
    """The entry point: runs one command and exits."""
    try:
        get_command(app).main(args=arguments, prog_name=PROGRAM)
    except (CommandError, SettingsError) as refused:
        typer.echo(f"{PROGRAM}: {refused}", err=True)
        sys.exit(getattr(refused, "exit_code", EXIT_FAILED))


if __name__ == "__main__":
    main()
