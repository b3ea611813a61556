"""`eni-ledger run`: one process of the product, or all of them in one."""

import asyncio
import importlib
import os
import sys
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from types import MappingProxyType
from typing import Annotated

import typer

from consumers.cli.errors import CommandError, WrongUsage
from consumers.runtime.health import Health
from consumers.runtime.process import RoomMain, run_process
from consumers.runtime.settings import CONFIG_FILE_VARIABLE, Settings, load_settings

app = typer.Typer(add_completion=False)


class Process(StrEnum):
    """What can be run."""

    WATCHER = "watcher"
    INTAKE = "intake"
    RECONCILER = "reconciler"
    WEBHOOK = "webhook"
    CONSOLE = "console"
    ALL = "all"


#: The room that each process lives in.
ROOMS: Mapping[Process, str] = MappingProxyType(
    {
        Process.WATCHER: "consumers.watcher.main",
        Process.INTAKE: "consumers.intake.main",
        Process.RECONCILER: "consumers.reconciler.main",
        Process.WEBHOOK: "consumers.admission.main",
        Process.CONSOLE: "consumers.console.main",
    }
)


@app.command(
    epilog="Example: [bold]ENI_LEDGER_CLUSTER_ID=c1 eni-ledger run intake[/bold], or with a file: "
    "[bold]eni-ledger run all --config settings.yaml[/bold]"
)
def run(
    process: Annotated[Process, typer.Argument(help="which process; all: all of them in one")],
    config: Annotated[
        Path | None,
        typer.Option(help="YAML file with settings; the environment (ENI_LEDGER_*) wins over it"),
    ] = None,
    shadow: Annotated[
        bool,
        typer.Option("--shadow", help="record and report only; nothing is written or registered"),
    ] = False,
) -> None:
    """Run one of the processes until SIGTERM or Ctrl-C; work in flight is finished first.

    watcher: Kubernetes to Kafka. intake: Kafka to the ledger. reconciler: the ledger to the cloud
    and to PodENIs. webhook: admission. console: the audit API and web console.
    """
    if config is not None:
        os.environ[CONFIG_FILE_VARIABLE] = str(config)
    settings = load_settings({"shadow": True} if shadow else None)
    if settings.shadow and process is Process.WEBHOOK:
        raise WrongUsage("run webhook: a shadow registers no webhooks; leave out --shadow")
    main = room_main(process, shadow=settings.shadow)
    sys.exit(run_process(process.value, main, settings))


def room_main(process: Process, *, shadow: bool = False) -> RoomMain:
    """The `run` of a process's room; for `all`, one that runs them side by side.

    A `shadow` of all is without the webhook.
    """
    if process is not Process.ALL:
        return _load(process)
    rooms = [each for each in ROOMS if not (shadow and each is Process.WEBHOOK)]
    mains = {each: _load(each) for each in rooms}

    async def run_all(settings: Settings, stop: asyncio.Event, health: Health) -> None:
        async with asyncio.TaskGroup() as together:
            for each, main in mains.items():
                together.create_task(_until_stop(each, main, settings, stop, health))

    return run_all


async def _until_stop(
    process: Process, main: RoomMain, settings: Settings, stop: asyncio.Event, health: Health
) -> None:
    await main(settings, stop, health)
    if not stop.is_set():
        raise RuntimeError(f"{process.value} ended without being asked to")


def _load(process: Process) -> RoomMain:
    try:
        room = importlib.import_module(ROOMS[process])
    except ModuleNotFoundError as missing:
        raise CommandError(
            f"run {process.value}: the module {missing.name} is not installed: "
            "install eni-ledger again, or run it from a complete source tree"
        ) from missing
    main: RoomMain = room.run
    return main
