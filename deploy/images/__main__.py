"""`python -m deploy.images`: builds the product's image; with --stand-ins also what it is tried with."""

import argparse
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from deploy.images import application
from deploy.images.building import DEFAULT_BASE, Builder
from deploy.local.parts.child import PartError
from deploy.local.parts.docker_engine import docker_engine


def main(words: Sequence[str] | None = None) -> int:
    """Returns the exit code: 0, or 1 where something could not be built."""
    parser = argparse.ArgumentParser(
        prog="python -m deploy.images",
        description="Build the container image of eni-ledger, from uv.lock exactly.",
        epilog="Example: python -m deploy.images --base registry.example.com/python:3.11",
    )
    parser.add_argument(
        "--base", default=DEFAULT_BASE, help=f"an image with Python {application.PYTHON}"
    )
    parser.add_argument("--tag", default="", help="default: eni-ledger:VERSION")
    parser.add_argument(
        "--stand-ins",
        action="store_true",
        help="where no registry can be reached: Python, PostgreSQL and Kafka images of Debian's own",
    )
    parser.add_argument(
        "--context", type=Path, help="only put the build context together there, for docker buildx"
    )
    parser.add_argument("--architectures", default="amd64,arm64", help="of --context")
    asked = parser.parse_args(words)
    try:
        if asked.context is not None:
            return _context(asked.context, asked.architectures.split(","))
        return _images(asked.base, asked.tag, asked.stand_ins)
    except PartError as refused:
        print(f"images: {refused}", file=sys.stderr)
        return 1


def _context(directory: Path, architectures: Sequence[str]) -> int:
    unknown = sorted(set(architectures) - set(application.PLATFORMS))
    if unknown:
        raise PartError(f"no architecture {unknown}: {', '.join(application.PLATFORMS)}")
    directory.mkdir(parents=True, exist_ok=True)
    if any(directory.iterdir()):
        raise PartError(f"--context {directory}: is not empty; name a new directory")
    application.make_context(directory, architectures)
    print(f"docker buildx build --build-arg VERSION={application.version()} {directory}")
    return 0


def _images(base: str, tag: str, stand_ins: bool) -> int:
    with (
        tempfile.TemporaryDirectory(prefix="eni-ledger-images-") as place,
        docker_engine(Path(place) / "engine.log") as engine,
    ):
        builder = Builder(engine, lambda line: print(f"==> {line}", file=sys.stderr, flush=True))
        if stand_ins:
            made = builder.stand_ins()
            print(made.product, made.postgres, made.kafka, sep="\n")
        else:
            print(builder.product(base, tag))
        if engine.ours:
            print("==> kept for the next engine of ours, below the user's cache", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
