"""Apache Kafka as child processes: one broker, or three that are their own controllers (KRaft).

The genuine thing, from Maven Central's jars (kafka_jars.py); small heaps, loopback only. Generations
before 3.3 get the ZooKeeper that they need. It keeps its log below its directory, so that a
broker that was killed comes back with what it had.
"""

import subprocess
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from deploy.local.parts import kafka_jars
from deploy.local.parts.child import Child, PartError, start_child
from deploy.local.parts.kafka_probe import answers_metadata
from deploy.local.parts.ports import LOOPBACK, accepts, claim_port, free_port

READY_DEADLINE_S = 120.0
FORMAT_DEADLINE_S = 120.0
HEAP_MB = 320

#: Any 16 bytes in base64 will do: it tells one cluster's disks from another's.
CLUSTER_ID: Final = "ZW5pLWxlZGdlci1sb2NhbA"

#: Java for a server of minutes: compile quickly, collect with one thread, log only what matters.
_JAVA: Final = (
    f"-Xmx{HEAP_MB}m",
    "-Xms96m",
    "-XX:+UseSerialGC",
    "-XX:TieredStopAtLevel=1",
    "-Xshare:auto",
    "-Djava.awt.headless=true",
    "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
    "-Dorg.slf4j.simpleLogger.showDateTime=true",
    "-Dorg.slf4j.simpleLogger.dateTimeFormat=HH:mm:ss.SSS",
)

#: What every broker of ours runs with, beside what each has for itself.
_SETTINGS: Final[Mapping[str, str]] = {
    # A client's typing error must not become a topic.
    "auto.create.topics.enable": "false",
    "offsets.topic.num.partitions": "3",
    "group.initial.rebalance.delay.ms": "0",
    "group.min.session.timeout.ms": "1000",  # tests look for a lost member sooner than users do
    # Larger than what we read: such a message must be possible, to be refused by us.
    "message.max.bytes": "8388608",
    # Each partition's index is a file of this size; the default is 10 MB, and there are many.
    "log.index.size.max.bytes": "65536",
    "log.cleaner.dedupe.buffer.size": "4194304",
    "log.segment.delete.delay.ms": "1000",
    # So that a controlled shutdown ends in time where nobody can take over.
    "controlled.shutdown.max.retries": "1",
}


@dataclass(frozen=True, slots=True)
class Clients:
    """A second listener on every broker, for clients that prove who they are.

    `protocol` is SSL, SASL_PLAINTEXT or SASL_SSL; `settings` are the broker's, as its documentation
    names them; `scram_users` (name -> password) exist from the first start on. The first listener
    stays for the brokers themselves and for administration.
    """

    protocol: str
    settings: Mapping[str, str]
    scram_users: Mapping[str, str] = field(default_factory=dict)


@dataclass(slots=True)
class Broker:
    """One broker's own: its number, ports and files, and the process while it runs."""

    number: int
    port: int
    controller_port: int
    clients_port: int
    directory: Path
    child: Child | None = None

    @property
    def properties(self) -> Path:
        return self.directory / "server.properties"


class ApacheKafka:
    """A running cluster. Make one with `start_apache_kafka`."""

    def __init__(
        self, version: str, brokers: Sequence[Broker], log: Path, zookeeper: Child | None
    ) -> None:
        self.version = version
        self.brokers = tuple(brokers)
        self._log = log
        self._zookeeper = zookeeper

    @property
    def bootstrap(self) -> str:
        """host:port,… of all brokers, as Kafka clients want it; no TLS, no password."""
        return ",".join(f"{LOOPBACK}:{each.port}" for each in self.brokers)

    @property
    def clients_bootstrap(self) -> str:
        """The same of the second listener."""
        return ",".join(f"{LOOPBACK}:{each.clients_port}" for each in self.brokers)

    def children(self) -> list[Child]:
        """Every process of it, in the order of their start."""
        running = [each.child for each in self.brokers if each.child is not None]
        return running if self._zookeeper is None else [self._zookeeper, *running]

    def start(self, number: int) -> None:
        """Start a broker that was stopped or killed, on its own log; does not wait."""
        broker = self._broker(number)
        broker.child = start_child(
            f"Apache Kafka broker {number}",
            _java_command(self.version, "kafka.Kafka", broker.properties),
            log=self._log,
            directory=broker.directory,
        )

    def wait_ready(self, brokers: int | None = None) -> None:
        """Wait until so many brokers (default: all) are in the cluster.

        Raises PartError with the last lines of the log.
        """
        wanted = brokers or len(self.brokers)
        running = [each for each in self.brokers if each.child is not None]
        for broker in running:
            assert broker.child is not None
            broker.child.wait_ready(
                lambda port=broker.port: accepts(port),  # type: ignore[misc]  # of this turn
                READY_DEADLINE_S,
                f"it listened on port {broker.port}",
            )
            broker.child.wait_ready(
                lambda: answers_metadata(self.bootstrap, wanted),
                READY_DEADLINE_S,
                f"{wanted} brokers were in the cluster",
            )

    def kill(self, number: int) -> None:
        """SIGKILL one broker. Returns when it is gone."""
        broker = self._broker(number)
        assert broker.child is not None
        broker.child.kill()
        broker.child = None

    def stop(self, deadline_s: float = 10.0) -> None:
        """End it; `deadline_s` after the first was asked, what is left is killed."""
        running = [each.child for each in self.brokers if each.child is not None]
        for child in running:
            child.ask_to_stop()
        for child in running:
            child.stop(deadline_s)
        if self._zookeeper is not None:
            self._zookeeper.stop(deadline_s)

    def destroy(self) -> None:
        """Kill it: for tests, whose logs nobody reads again."""
        for child in reversed(self.children()):
            child.kill()

    def _broker(self, number: int) -> Broker:
        return self.brokers[number - 1]


def start_apache_kafka(
    directory: Path,
    *,
    log: Path,
    version: str = kafka_jars.NEWEST,
    brokers: int = 1,
    port: int = 0,
    settings: Mapping[str, str] | None = None,
    clients: Clients | None = None,
) -> ApacheKafka:
    """Start a cluster with its files below `directory`; returns when all of it answers.

    `port` is the first broker's (0: a free one); `settings` are added to every broker's. Raises
    PartError with the cause and the next step, also where the jars or Java are missing.
    """
    kafka_jars.jars(version)
    made = [
        Broker(
            number,
            claim_port(port if number == 1 else 0, part="Apache Kafka", option="--kafka-port"),
            free_port(),
            free_port(),
            directory / f"broker-{number}",
        )
        for number in range(1, brokers + 1)
    ]
    zookeeper_port = None if _has_kraft(version) else free_port()
    for each in made:
        each.directory.mkdir(parents=True)
        _write(each.properties, _properties(each, made, zookeeper_port, clients, settings or {}))
    zookeeper = None
    if zookeeper_port is None:
        _format(version, made, clients.scram_users if clients else {})
    else:
        zookeeper = _start_zookeeper(version, directory / "zookeeper", zookeeper_port, log)
    cluster = ApacheKafka(version, made, log, zookeeper)
    try:
        for each in made:
            cluster.start(each.number)
        cluster.wait_ready()
    except PartError:
        cluster.destroy()
        raise
    return cluster


def tool_command(version: str, tool: str, *words: str | Path) -> list[str]:
    """How to run one of Kafka's own administration tools, by its class name."""
    return _java_command(version, tool, *words)


def _properties(
    broker: Broker,
    brokers: Sequence[Broker],
    zookeeper_port: int | None,
    clients: Clients | None,
    settings: Mapping[str, str],
) -> dict[str, str]:
    replicas = str(min(3, len(brokers)))
    listeners = {"BROKERS": (broker.port, "PLAINTEXT")}
    if clients is not None:
        listeners["CLIENTS"] = (broker.clients_port, clients.protocol)
    found = {
        **_SETTINGS,
        "advertised.listeners": _listeners(listeners),
        "inter.broker.listener.name": "BROKERS",
        "log.dirs": str(broker.directory / "log"),
        "offsets.topic.replication.factor": replicas,
        "transaction.state.log.replication.factor": replicas,
        "transaction.state.log.min.isr": "1",
        "default.replication.factor": replicas,
        "min.insync.replicas": "2" if len(brokers) > 2 else "1",
    }
    if zookeeper_port is None:
        listeners["CONTROLLER"] = (broker.controller_port, "PLAINTEXT")
        found |= {
            "process.roles": "broker,controller",
            "node.id": str(broker.number),
            "controller.listener.names": "CONTROLLER",
            "controller.quorum.voters": ",".join(
                f"{each.number}@{LOOPBACK}:{each.controller_port}" for each in brokers
            ),
        }
    else:
        found |= {
            "broker.id": str(broker.number),
            "zookeeper.connect": f"{LOOPBACK}:{zookeeper_port}",
        }
    found |= {
        "listeners": _listeners(listeners),
        "listener.security.protocol.map": ",".join(
            f"{name}:{protocol}" for name, (_, protocol) in listeners.items()
        ),
    }
    return {**found, **(clients.settings if clients else {}), **settings}


def _listeners(listeners: Mapping[str, tuple[int, str]]) -> str:
    return ",".join(f"{name}://{LOOPBACK}:{port}" for name, (port, _) in listeners.items())


def _format(version: str, brokers: Iterable[Broker], scram_users: Mapping[str, str]) -> None:
    """Write what a KRaft broker's empty disk needs, with Kafka's own tool."""
    users = [
        word
        for name, password in scram_users.items()
        for word in ("--add-scram", f"SCRAM-SHA-512=[name={name},password={password}]")
    ]
    started = [
        subprocess.Popen(
            _java_command(
                version, "kafka.tools.StorageTool",
                "format", "-t", CLUSTER_ID, "-c", broker.properties, *users,
            ),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for broker in brokers
    ]  # fmt: skip
    for formatting in started:
        try:
            said, _ = formatting.communicate(timeout=FORMAT_DEADLINE_S)
        finally:
            formatting.kill()
        if formatting.returncode != 0:
            raise PartError(
                f"Apache Kafka {version}: its disk could not be formatted:\n{said.strip()}\n"
                "make sure that its directory is new and that Java is 17 or newer (java -version)"
            )


def _start_zookeeper(version: str, directory: Path, port: int, log: Path) -> Child:
    directory.mkdir(parents=True)
    properties = directory / "zookeeper.properties"
    _write(
        properties,
        {
            "dataDir": str(directory),
            "clientPort": str(port),
            "clientPortAddress": LOOPBACK,
            "admin.enableServer": "false",
            "tickTime": "1000",
            "maxClientCnxns": "0",
        },
    )
    main = "org.apache.zookeeper.server.ZooKeeperServerMain"
    child = start_child(
        "ZooKeeper", _java_command(version, main, properties), log=log, directory=directory
    )
    child.wait_ready(lambda: accepts(port), READY_DEADLINE_S, f"it listened on port {port}")
    return child


def _java_command(version: str, main: str, *words: str | Path) -> list[str]:
    return [
        kafka_jars.java(),
        *_JAVA,
        "-cp",
        f"{kafka_jars.jars(version)}/*",
        main,
        *map(str, words),
    ]


def _has_kraft(version: str) -> bool:
    """Whether it runs without ZooKeeper: from 3.3 on, where that was declared ready."""
    major, minor, *_ = (int(part) for part in version.split("."))
    return (major, minor) >= (3, 3)


def _write(file: Path, properties: Mapping[str, str]) -> None:
    file.write_text("".join(f"{name}={value}\n" for name, value in properties.items()))
