"""What one local stack is made of, and the directory that it keeps its files in."""

import os
import stat
import tempfile
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from deploy.local.parts.child import PartError

WORLDS = Path(__file__).parent.parent / "worlds"
DEFAULT_WORLD = WORLDS / "demo.yaml"
CRDS = Path(__file__).parents[2] / "crds"
RBAC = Path(__file__).parents[2] / "rbac"

EMBEDDED = "embedded"
TANSU = "tansu"
APACHE = "apache"
SIMULATED = "simulated"
GENUINE = "genuine"


class StackOptions(BaseModel):
    """The choices of `eni-ledger local up`. A port of 0 means: any free one."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    world: Path = DEFAULT_WORLD
    postgres: str = Field(default=EMBEDDED, description="embedded, or a DSN of an empty database")
    kafka: str = Field(default=TANSU, description="tansu, apache, or host:port")
    kube: str = Field(
        default=SIMULATED, description="simulated, genuine, or the path of a kubeconfig"
    )
    cluster_id: str = ""
    postgres_port: int = 0
    kafka_port: int = 0
    kube_port: int = 0
    cloud_port: int = 0
    webhook_port: int = 0
    console_port: int = 0


class StackFiles:
    """The files of a stack below its state directory."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.state = directory / "state.json"
        self.options = directory / "options.json"
        self.lock = directory / "lock"
        self.logs = directory / "logs"
        self.postgres = directory / "postgres"
        self.kafka = directory / "kafka"
        self.kubernetes = directory / "kubernetes"
        self.kubeconfig = directory / "kubeconfig"
        self.environment = directory / "environment.sh"

    def log(self, part: str) -> Path:
        """The log of a part, by its name."""
        return self.logs / f"{part}.log"


def default_state_directory() -> Path:
    """Where the stack keeps its files unless told otherwise.

    As root below the directory for temporary files: PostgreSQL then runs as `nobody`, which can't
    enter root's home.
    """
    if os.geteuid() == 0:
        return Path(tempfile.gettempdir()) / "eni-ledger-local"
    home = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    return Path(home) / "eni-ledger" / "local"


def prepare_directory(directory: Path) -> StackFiles:
    """Create the state directory. Raises PartError when it exists and is not ours."""
    directory.mkdir(parents=True, exist_ok=True, mode=0o755)
    found = directory.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid():
        raise PartError(
            f"state directory {directory} belongs to another account or is a link: "
            "name another with --state-dir"
        )
    files = StackFiles(directory)
    files.logs.mkdir(exist_ok=True)
    return files
