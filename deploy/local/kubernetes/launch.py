"""Starts the simulated API server as a child process and stops it: for the local stack and for tests."""

import ssl
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from deploy.local.parts.child import Child, PartError, start_child

_ROOT = Path(__file__).resolve().parents[3]
_START_SECONDS = 30.0
_STOP_SECONDS = 10.0


@dataclass(frozen=True)
class LaunchOptions:
    """How to start it. `services` maps "namespace/name" of a webhook's Service to "host:port"."""

    port: int = 0
    crds: Sequence[Path] = ()
    services: Mapping[str, str] = field(default_factory=dict)
    tokens: Mapping[str, str] = field(default_factory=dict)
    """User name to a further bearer token."""
    history: int | None = None
    bookmark_seconds: float | None = None
    watch_list: bool = True

    def arguments(self) -> list[str]:
        """As command line arguments."""
        made = ["--port", str(self.port)]
        for path in self.crds:
            made += ["--crds", str(path)]
        for name, address in self.services.items():
            made += ["--service", f"{name}={address}"]
        for user, token in self.tokens.items():
            made += ["--token", f"{user}={token}"]
        if self.history is not None:
            made += ["--history", str(self.history)]
        if self.bookmark_seconds is not None:
            made += ["--bookmark-seconds", str(self.bookmark_seconds)]
        return made if self.watch_list else [*made, "--no-watch-list"]


class Launched:
    """A running server. Stop it with `stop`, or use `launched` as a context manager."""

    def __init__(self, directory: Path, options: LaunchOptions) -> None:
        self.directory = directory
        self.kubeconfig = directory / "kubeconfig"
        self.log_path = directory / "kubernetes.log"
        self._options = options
        self._child: Child | None = None

    @property
    def pid(self) -> int:
        """The process id; PartError when it does not run."""
        if self._child is None:
            raise PartError(
                f"the simulated Kubernetes API server of {self.directory} is not running"
            )
        return self._child.pid

    @property
    def address(self) -> str:
        """`https://127.0.0.1:PORT`."""
        content = yaml.safe_load(self.kubeconfig.read_text())
        return str(content["clusters"][0]["cluster"]["server"])

    @property
    def token(self) -> str:
        """The bearer token of `admin`."""
        return str(yaml.safe_load(self.kubeconfig.read_text())["users"][0]["user"]["token"])

    @property
    def ca(self) -> Path:
        """The CA certificate to trust."""
        return self.directory / "state" / "ca.crt"

    def start(self) -> None:
        """Starts it and waits until `/readyz` answers; PartError with the end of its log otherwise."""
        self.directory.mkdir(parents=True, exist_ok=True)
        self.kubeconfig.unlink(missing_ok=True)
        command = [
            sys.executable, "-m", "deploy.local.kubernetes",
            "--kubeconfig-out", str(self.kubeconfig), "--state-dir", str(self.directory / "state"),
            *self._options.arguments(),
        ]  # fmt: skip
        name = "the simulated Kubernetes API server"
        self._child = start_child(name, command, log=self.log_path, directory=_ROOT)
        try:
            self._child.wait_ready(self._ready, _START_SECONDS, "it answers /readyz")
        except PartError:
            self.stop()
            raise

    def _ready(self) -> bool:
        if not self.kubeconfig.exists():
            return False
        context = ssl.create_default_context(cafile=str(self.ca))
        try:
            with urllib.request.urlopen(
                f"{self.address}/readyz", timeout=2, context=context
            ) as got:
                return bool(got.status == 200)
        except (urllib.error.URLError, OSError):
            return False

    def stop(self) -> None:
        """SIGTERM, and SIGKILL where that does not help in time."""
        child, self._child = self._child, None
        if child is not None:
            child.stop(_STOP_SECONDS)

    def kill(self) -> None:
        """SIGKILL, as a crash; `start` brings it back with its objects (on the same port if one was set)."""
        child, self._child = self._child, None
        if child is not None:
            child.kill()


@contextmanager
def launched(directory: Path, options: LaunchOptions | None = None) -> Iterator[Launched]:
    """A server for the time of a `with` block; its files are below `directory`."""
    server = Launched(directory, options or LaunchOptions())
    server.start()
    try:
        yield server
    finally:
        server.stop()
