"""Starts the simulated API server as a child process and stops it: for the local stack and for tests."""

import os
import signal
import ssl
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

import yaml

_ROOT = Path(__file__).resolve().parents[3]
_START_SECONDS = 30.0
_STOP_SECONDS = 10.0
_POLL_SECONDS = 0.03


class StartError(RuntimeError):
    """The server did not come up; the message carries the end of its log."""


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
        self._process: subprocess.Popen[bytes] | None = None
        self._log: IO[bytes] | None = None

    @property
    def pid(self) -> int:
        """The process id."""
        if self._process is None:
            raise StartError("the simulated Kubernetes API server is not running")
        return self._process.pid

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
        """Starts it and waits until `/readyz` answers; StartError with the log otherwise."""
        self.directory.mkdir(parents=True, exist_ok=True)
        self.kubeconfig.unlink(missing_ok=True)
        command = [
            sys.executable, "-m", "deploy.local.kubernetes",
            "--kubeconfig-out", str(self.kubeconfig), "--state-dir", str(self.directory / "state"),
            *self._options.arguments(),
        ]  # fmt: skip
        self._log = self.log_path.open("ab")
        environment = {**os.environ, "PYTHONPATH": str(_ROOT)}
        self._process = subprocess.Popen(
            command, stdout=self._log, stderr=self._log, cwd=_ROOT, env=environment
        )
        self._wait_until_ready(self._process)

    def _wait_until_ready(self, process: subprocess.Popen[bytes]) -> None:
        deadline = time.monotonic() + _START_SECONDS
        while time.monotonic() < deadline:
            if process.poll() is not None:
                break
            if self.kubeconfig.exists() and self._ready():
                return
            time.sleep(_POLL_SECONDS)
        code = process.poll()
        self.stop()
        tail = self.log_path.read_text(errors="replace")[-2000:]
        why = "did not get ready in time" if code is None else f"ended with exit code {code}"
        raise StartError(
            f"the simulated Kubernetes API server {why}. End of {self.log_path}:\n{tail}"
        )

    def _ready(self) -> bool:
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
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """SIGKILL, as a crash; `start` brings it back with its objects (on the same port if one was set)."""
        self._end(signal.SIGKILL)

    def _end(self, how: signal.Signals) -> None:
        process, self._process = self._process, None
        if process is not None and process.poll() is None:
            process.send_signal(how)
            try:
                process.wait(_STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        if self._log is not None:
            self._log.close()
            self._log = None


@contextmanager
def launched(directory: Path, options: LaunchOptions | None = None) -> Iterator[Launched]:
    """A server for the time of a `with` block; its files are below `directory`."""
    server = Launched(directory, options or LaunchOptions())
    server.start()
    try:
        yield server
    finally:
        server.stop()
