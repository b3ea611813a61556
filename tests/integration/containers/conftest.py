"""What the tests in containers stand on: a Docker engine, and the names of three images.

Names are settings, so that the same tests run with official images where a registry can be reached:
TEST_LEDGER_IMAGE, TEST_POSTGRES_IMAGE, TEST_KAFKA_IMAGE. What is not named is built: our own image on
a stand-in of its base, and stand-ins of the other two.
"""

import os
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from deploy.images.building import Builder, Images
from deploy.local.parts.docker_engine import DockerEngine, docker_engine


@pytest.fixture(scope="module")
def engine(stack_directory: Path) -> Iterator[DockerEngine]:
    """The engine that is there, or one of our own that is gone at the end of the file.

    Not of the session: one at a time may have our own, and another worker may have another file.
    """
    with (
        docker_engine(stack_directory / "docker.log") as running,
        pytest.MonkeyPatch.context() as patch,
    ):
        # testcontainers reads its settings once, when it is imported: so nothing does before.
        for name, value in running.environment.items():
            patch.setenv(name, value)
        yield running
    if running.ours:
        own = (
            running.environment["DOCKER_HOST"].removeprefix("unix://").removesuffix("/docker.sock")
        )
        left = [each for each in psutil.process_iter(["cmdline"]) if of(each, own)]
        assert left == [], "what our Docker engine started is still running"


def of(process: psutil.Process, place: str) -> bool:
    """Whether a process was started with a path below `place`."""
    return any(place in word for word in process.info["cmdline"] or ())


@pytest.fixture(scope="module")
def images(engine: DockerEngine) -> Images:
    builder = Builder(engine, print)
    return Images(
        product=os.environ.get("TEST_LEDGER_IMAGE") or builder.product(builder.stand_in_base()),
        postgres=os.environ.get("TEST_POSTGRES_IMAGE") or builder.stand_in_postgres(),
        kafka=os.environ.get("TEST_KAFKA_IMAGE") or builder.stand_in_kafka(),
    )
