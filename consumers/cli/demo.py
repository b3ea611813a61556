"""`eni-ledger demo`: the product document's example, played on a local stack and narrated."""

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(add_completion=False)


@app.command(epilog="Example: [bold]eni-ledger demo --keep[/bold]")
def demo(
    keep: Annotated[
        bool, typer.Option("--keep", help="leave the stack up and say how to look around")
    ] = False,
    state_dir: Annotated[
        Path | None, typer.Option("--state-dir", help="where the stack's files are")
    ] = None,
) -> None:
    """See it work: a fixed IP for a StatefulSet's Pod, from its first second to its audit.

    Starts a local stack, plays the product document's own example, checks every result, and
    stops everything again. Takes about a minute.
    """
    from deploy.local.demo.play import play
    from deploy.local.stack.options import default_state_directory

    directory = (state_dir or default_state_directory()).absolute()
    raise typer.Exit(play(directory, keep=keep))
