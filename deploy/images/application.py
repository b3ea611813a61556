"""What goes into the product's image, put together outside of it: the libraries of uv.lock for each
architecture, the product's own wheel, and a bill of materials.
"""

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from deploy.local.parts.child import PartError

ROOT: Final = Path(__file__).parents[2]
HERE: Final = Path(__file__).parent
UV: Final = ROOT / ".venv" / "tools" / "bin" / "uv"

#: Of the base image: compiled libraries are for one minor version.
PYTHON: Final = "3.11"

#: Docker's name of an architecture -> uv's. 2.28 is the glibc of Debian 10 and newer, RHEL 8 and newer.
PLATFORMS: Final = {"amd64": "x86_64-manylinux_2_28", "arm64": "aarch64-manylinux_2_28"}
DEADLINE_S = 900.0


def version() -> str:
    """The product's, from pyproject.toml."""
    told: str = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    return told


def inputs() -> str:
    """A hash of everything that an image is made of, its base and architecture apart."""
    sources = [HERE / "Dockerfile", HERE / "eni-ledger", ROOT / "uv.lock", ROOT / "pyproject.toml"]
    for room in ("ledger", "consumers", "migrations"):
        sources += [each for each in (ROOT / room).rglob("*") if each.is_file()]
    sources = sorted(each for each in sources if "__pycache__" not in each.parts)
    told = hashlib.sha256(PYTHON.encode())
    for source in sources:
        told.update(f"{source.relative_to(ROOT)}\n".encode() + source.read_bytes())
    return told.hexdigest()


def make_context(directory: Path, architectures: Iterable[str]) -> None:
    """Fill `directory` (which must be empty) with all that the Dockerfile copies.

    Raises PartError with uv's last words, for instance where an architecture lacks a wheel.
    """
    locked = ("export", "--quiet", "--frozen", "--no-dev")
    requirements = uv(*locked, "--no-emit-project")
    (directory / "requirements.txt").write_text(requirements)
    sbom = uv("--preview-features", "sbom-export", *locked, "--format", "cyclonedx1.5")
    (directory / "sbom.cdx.json").write_text(sbom)
    for architecture in architectures:
        made = _libraries(requirements, architecture)
        shutil.copytree(made, directory / f"libraries-{architecture}", copy_function=_link)
    wheels = directory / "wheel"
    uv("build", "--quiet", "--wheel", "--out-dir", wheels, ROOT)
    _install(directory / "product", *wheels.glob("*.whl"))
    for name in ("Dockerfile", "eni-ledger"):
        shutil.copy(HERE / name, directory)


def _libraries(requirements: str, architecture: str) -> Path:
    """What is locked, installed for an architecture and compiled; kept in the user's cache, because
    compiling takes half a minute and the lock changes rarely."""
    key = hashlib.sha256(f"{PYTHON}\n{sys.version}\n{requirements}".encode()).hexdigest()[:16]
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "eni-ledger/images"
    kept = cache / f"libraries-{architecture}-{key}"
    if kept.is_dir():
        return kept
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache, prefix="making-") as draft:
        locked = Path(draft) / "requirements.txt"
        locked.write_text(requirements)
        platform = ("--python-platform", PLATFORMS[architecture])
        _install(Path(draft) / "made", "--require-hashes", "--requirements", locked, *platform)
        try:
            (Path(draft) / "made").rename(kept)
        except OSError:  # somebody else finished the same first
            if not kept.is_dir():
                raise
    return kept


def _link(source: str, target: str) -> str:
    """Copy by a hard link where that can be: the context is read, never written."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)
    return target


def uv(*words: str | Path) -> str:
    """Run uv in the checkout; returns what it printed. Raises PartError with its last words."""
    done = subprocess.run(
        [str(UV), *map(str, words)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=DEADLINE_S,
    )
    if done.returncode != 0:
        said = "\n".join(done.stderr.strip().splitlines()[-8:])
        raise PartError(f"uv {words[0]} ended with code {done.returncode}:\n{said}")
    return done.stdout


def _install(target: Path, *words: str | Path) -> None:
    """Install below `target`; compiled here where this Python is the image's, else at each start."""
    uv(
        "pip", "install", "--quiet", "--no-deps", "--target", target,
        "--python-version", PYTHON, "--link-mode", "copy", *words,
    )  # fmt: skip
    shutil.rmtree(
        target / "bin", ignore_errors=True
    )  # their first line names this machine's Python
    (target / ".lock").unlink(missing_ok=True)
    if f"{sys.version_info.major}.{sys.version_info.minor}" == PYTHON:
        # Not by time stamps: those of a layer are whatever the builder makes of them.
        command = [sys.executable, "-m", "compileall", "-q", "-j", "0", "-s", target, "-p", "/"]
        command += ["--invalidation-mode", "unchecked-hash", target]
        subprocess.run(
            [str(word) for word in command],
            check=True,
            timeout=DEADLINE_S,
            env={**os.environ, "SOURCE_DATE_EPOCH": "0"},
        )
