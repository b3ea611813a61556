"""What is known of a local stack from outside: one JSON file, replaced whole at every change."""

import os
import tempfile
from enum import StrEnum
from pathlib import Path

import psutil
from pydantic import BaseModel, Field, ValidationError

from deploy.local.parts.child import PartError

START_TIME_TOLERANCE_S = 0.1


class Phase(StrEnum):
    """Where the stack as a whole is."""

    STARTING = "starting"
    READY = "ready"
    FAILED = "failed"
    STOPPING = "stopping"


class ProcessIdentity(BaseModel):
    """A process that can't be mistaken for a later one with the same pid."""

    pid: int
    started_at: float = Field(description="seconds since 1970, as the kernel has it")

    @classmethod
    def of(cls, pid: int) -> "ProcessIdentity":
        """The identity of the process that has `pid` now. Raises psutil.NoSuchProcess."""
        return cls(pid=pid, started_at=psutil.Process(pid).create_time())

    def process(self) -> psutil.Process | None:
        """The process, when it still runs; None when it ended, is a zombie, or the pid is reused."""
        try:
            found = psutil.Process(self.pid)
            same = abs(found.create_time() - self.started_at) < START_TIME_TOLERANCE_S
            return found if same and found.status() != psutil.STATUS_ZOMBIE else None
        except psutil.NoSuchProcess:
            return None


class PartState(BaseModel):
    """One part of the stack."""

    name: str
    log: Path
    process: ProcessIdentity | None = None
    ready_url: str | None = None
    port: int | None = None
    ready: bool = False
    exit_code: int | None = None

    @property
    def running(self) -> bool:
        return self.process is not None and self.process.process() is not None


class StackFacts(BaseModel):
    """How to reach the stack: what `eni-ledger local up --json` prints."""

    kubeconfig: Path
    kafka: str
    postgres: str
    ecs_endpoint: str
    console: str
    console_token: str
    cloud_control: str
    cluster_id: str
    world: Path
    environment: Path
    logs: Path


class StackState(BaseModel):
    """The whole state file."""

    keeper: ProcessIdentity
    phase: Phase = Phase.STARTING
    failure: str = ""
    parts: list[PartState] = Field(default_factory=list)
    facts: StackFacts | None = None


def read_state(path: Path) -> StackState | None:
    """The state in `path`; None when there is none. Raises PartError when it can't be read."""
    try:
        return StackState.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        return None
    except ValidationError as wrong:
        raise PartError(
            f"{path} is not a state file of this version: stop what it names, then delete it"
        ) from wrong


def write_state(path: Path, state: StackState) -> None:
    """Replace `path` at once; readable by its owner only, because it holds a password."""
    write_private(path, state.model_dump_json(indent=2))


def write_private(path: Path, text: str) -> None:
    """Replace `path` at once with `text`, mode 0600."""
    descriptor, draft = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
    Path(draft).replace(path)
