"""`local up`, `down` and `status` as functions: starts the keeper, asks it to stop, reads its state."""

import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil

from deploy.local.parts.child import Child, PartError, last_lines, start_child
from deploy.local.stack.keeper import EXIT_ALREADY_RUNNING, hold_lock, readiness
from deploy.local.stack.options import StackFiles, StackOptions, prepare_directory
from deploy.local.stack.state import (
    Phase,
    ProcessIdentity,
    StackFacts,
    StackState,
    read_state,
    write_private,
)

UP_DEADLINE_S = 300.0
DOWN_DEADLINE_S = 60.0
KILL_AFTER_S = 10.0
POLL_S = 0.1

#: Keepers that this process started, by directory. They are its children: without a hold on them
#: they would be taken for forgotten ones, and nobody would collect how they ended.
_keepers: dict[Path, "Child | subprocess.Popen[bytes]"] = {}

#: Told one line about each thing that happens.
Progress = Callable[[str], None]


class StackError(Exception):
    """The stack can't do what was asked: says why, where to look and what to do."""


def up(
    options: StackOptions,
    directory: Path,
    *,
    tied: bool = False,
    progress: Progress = lambda _line: None,
) -> StackFacts:
    """Start a stack; returns how to reach it once every part is ready.

    `tied`: it ends when this process ends, however that is. Raises StackError when one is already
    running or a part does not start; then nothing is left running.
    """
    try:
        files = prepare_directory(directory)
    except PartError as refused:
        raise StackError(str(refused)) from refused
    _refuse_second(files)
    _clean(files)
    for old in files.logs.glob("*.log"):
        old.unlink()
    write_private(files.options, options.model_dump_json())
    keeper = _keepers[directory] = _start_keeper(files, tied)
    try:
        return _await_ready(files, keeper, progress)
    except BaseException:
        # Also Ctrl-C: who did not get a stack must not be left with half of one.
        down(directory)
        raise


def down(directory: Path, *, progress: Progress = lambda _line: None) -> bool:
    """Stop the stack of `directory`; False when none was running. Returns when all of it is gone.

    The keeper stops its parts in order; what it leaves (because it was killed) is stopped here, by
    pid and start time.
    """
    files = StackFiles(directory)
    ours = _keepers.pop(directory, None)
    state = _read(files)
    if state is None:
        return False
    running = [part for part in reversed(state.parts) if part.running]
    keeper = state.keeper.process()
    if keeper is not None:
        progress(f"stopping {len(running)} parts")
        _signal(keeper, signal.SIGTERM)
        if not _gone([keeper], DOWN_DEADLINE_S):
            _signal(keeper, signal.SIGKILL)
    left = [part.process for part in reversed(state.parts) if part.process is not None]
    _stop_all(left)
    _clean(files)
    if ours is not None:
        _exit_code(ours)
    return keeper is not None or bool(running)


def status(directory: Path) -> StackState | None:
    """The state of the stack of `directory`, its parts looked at now; None when none is running."""
    files = StackFiles(directory)
    state = _read(files)
    if state is None:
        return None
    alive = state.keeper.process() is not None
    if not alive and not any(part.running for part in state.parts):
        return None
    for part in state.parts:
        part.ready = part.running and (
            part.ready if part.ready_url is None else readiness_of(part.ready_url) == ""
        )
    return state


def readiness_of(url: str) -> str:
    """Why the part at `url` is not ready; empty when it is."""
    from deploy.local.stack.keeper import is_ready

    return "" if is_ready(url) else readiness(url)


def _start_keeper(files: StackFiles, tied: bool) -> Child | subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "deploy.local.stack.keeper", str(files.directory)]
    log = files.log("keeper")
    if tied:
        return start_child("the stack's keeper", command, log=log)
    with log.open("ab") as output:
        return subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


def _await_ready(
    files: StackFiles, keeper: Child | subprocess.Popen[bytes], progress: Progress
) -> StackFacts:
    until = time.monotonic() + UP_DEADLINE_S
    told: set[str] = set()
    while time.monotonic() < until:
        ended = _exit_code(keeper)
        state = _read(files)
        for part in state.parts if state else ():
            if part.ready and part.name not in told:
                told.add(part.name)
                progress(f"{part.name} is ready")
        if state is not None and state.phase is Phase.READY and state.facts is not None:
            return state.facts
        if ended == EXIT_ALREADY_RUNNING:
            raise StackError(_already_running(files))
        if ended is not None:
            story = state.failure if state is not None else ""
            raise StackError(
                story
                or f"the stack's keeper ended with code {ended}\n"
                f"{last_lines(files.log('keeper'))}\nits log: {files.log('keeper')}"
            )
        time.sleep(POLL_S)
    raise StackError(
        f"the local stack is not ready after {UP_DEADLINE_S:g} s: look into {files.logs}"
    )


def _exit_code(keeper: "Child | subprocess.Popen[bytes]") -> int | None:
    return keeper.exit_code if isinstance(keeper, Child) else keeper.poll()


def _refuse_second(files: StackFiles) -> None:
    lock = hold_lock(files)
    if lock is None:
        raise StackError(_already_running(files))
    lock.close()
    state = _read(files)
    if state is not None and any(part.running for part in state.parts):
        raise StackError(
            f"parts of an earlier local stack still run (its keeper was killed): state in "
            f"{files.directory}: stop them with `eni-ledger local down`"
        )


def _already_running(files: StackFiles) -> str:
    state = _read(files)
    pid = f"pid {state.keeper.pid}" if state is not None else "starting"
    return (
        f"a local stack is already running ({pid}, state in {files.directory}): look at it with "
        "`eni-ledger local status`, stop it with `eni-ledger local down`, or start another one "
        "with --state-dir DIRECTORY"
    )


def _read(files: StackFiles) -> StackState | None:
    try:
        return read_state(files.state)
    except PartError as wrong:
        raise StackError(str(wrong)) from wrong


def _clean(files: StackFiles) -> None:
    """Remove what only a running stack needs. Logs stay until the next start, for reading."""
    for directory in (files.postgres, files.kafka, files.kubernetes):
        if directory.exists():
            shutil.rmtree(directory)
    for path in (files.state, files.options, files.kubeconfig, files.environment):
        path.unlink(missing_ok=True)


def _stop_all(identities: list[ProcessIdentity]) -> None:
    left = [process for each in identities if (process := each.process()) is not None]
    for each in left:
        _signal(each, signal.SIGTERM)
    if not _gone(left, KILL_AFTER_S):
        for identity in identities:
            survivor = identity.process()
            if survivor is not None:
                _signal(survivor, signal.SIGKILL)
        _gone(left, KILL_AFTER_S)


def _signal(process: psutil.Process, number: signal.Signals) -> None:
    try:
        process.send_signal(number)  # psutil compares the start time before it signals
    except psutil.NoSuchProcess:
        return


def _gone(processes: list[psutil.Process], deadline_s: float) -> bool:
    until = time.monotonic() + deadline_s
    while any(_runs(process) for process in processes):
        if time.monotonic() > until:
            return False
        time.sleep(POLL_S)
    return True


def _runs(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
