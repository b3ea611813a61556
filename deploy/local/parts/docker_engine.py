"""A Docker engine: the one that answers already, or one of our own for a while (root on Linux only).

Our own changes nothing outside itself: no packet filter, no forwarding, images and containers below
the user's cache, a socket of its own, and ports on loopback. It ends with the process that started
it; a lock lets one at a time use the cache.
"""

import fcntl
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from deploy.local.parts.child import PartError, start_child

READY_DEADLINE_S = 120.0
LOCK_DEADLINE_S = 900.0  # somebody else may be building images with it
STOP_DEADLINE_S = 60.0
ASK_DEADLINE_S = 60.0
POLL_S = 0.5

#: Networks of containers, one bridge each. Nothing else routes to them.
BRIDGE = "172.30.99.1/24"
POOL = "base=172.30.100.0/22,size=26"

INSTALL = (
    "install and start Docker, or name an engine with DOCKER_HOST; Debian, as root: "
    "apt-get install -y --no-install-recommends docker.io debootstrap"
)


@dataclass(frozen=True, slots=True)
class DockerEngine:
    """An engine that answers. `environment` is what docker and testcontainers need to find it."""

    version: str
    environment: Mapping[str, str]
    ours: bool


@contextmanager
def docker_engine(log: Path) -> Iterator[DockerEngine]:
    """The engine that DOCKER_HOST or Docker's default socket names; else our own, for the block's time.

    `log` is our own engine's. Raises PartError where there is none and none can be started.
    """
    found = server_version({})
    if found is not None:
        yield DockerEngine(found, {}, ours=False)
        return
    if os.geteuid() != 0 or shutil.which("dockerd") is None:
        raise PartError(f"no Docker engine answers, and none can be started here: {INSTALL}")
    cache = _cache()
    cache.mkdir(parents=True, exist_ok=True)
    with (cache / "lock").open("w") as lock:
        _take(lock, cache)
        yield from _our_own(cache, log)


def server_version(environment: Mapping[str, str]) -> str | None:
    """The version of the engine that answers with these variables added to ours; None: none does."""
    if shutil.which("docker") is None:
        return None
    asked = subprocess.run(
        ["docker", "version", "--format", "{{.Server.Version}}"],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=ASK_DEADLINE_S,
    )
    return asked.stdout.strip() if asked.returncode == 0 else None


def _our_own(cache: Path, log: Path) -> Iterator[DockerEngine]:
    # A short path: a socket's name may have 107 bytes.
    place = Path(tempfile.mkdtemp(prefix="eni-ledger-docker-"))
    socket = f"unix://{place}/docker.sock"
    command: list[str | Path] = [
        "dockerd",
        "--data-root", cache / "data", "--exec-root", place / "exec",
        "--host", socket, "--pidfile", place / "docker.pid",
        "--iptables=false", "--ip6tables=false", "--ip-forward=false", "--ip-masq=false",
        "--ip", "127.0.0.1", "--bip", BRIDGE, "--default-address-pool", POOL,
        "--storage-driver", "overlay2",
    ]  # fmt: skip
    environment = {"DOCKER_HOST": socket, "TESTCONTAINERS_RYUK_DISABLED": "true"}
    if Path("/.dockerenv").exists():
        # We are in a container, but our engine is in the same one: its ports are our loopback's.
        environment["TESTCONTAINERS_CONNECTION_MODE"] = "docker_host"
    child = start_child("the Docker engine", command, log=log)
    try:
        child.wait_ready(
            lambda: server_version(environment) is not None, READY_DEADLINE_S, "it answered"
        )
        version = server_version(environment)
        assert version is not None
        yield DockerEngine(version, environment, ours=True)
    finally:
        child.stop(STOP_DEADLINE_S)
        shutil.rmtree(place, ignore_errors=True)


def _take(lock: IO[str], cache: Path) -> None:
    until = time.monotonic() + LOCK_DEADLINE_S
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > until:
                raise PartError(
                    f"the Docker engine of {cache} is still in use by another process after "
                    f"{LOCK_DEADLINE_S:g} s: wait for it to end, or set XDG_CACHE_HOME"
                ) from None
            time.sleep(POLL_S)
        else:
            return


def _cache() -> Path:
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(home) / "eni-ledger" / "docker"
