"""What the probes saw: plain facts, without a word of judgement. `checks_*` judge them.

Each fact is a Look: the thing itself, or Unseen with the cause. Facts objects are filled in while
their probe goes along, so that what was seen before a deadline counts. One Unseen object in several
places is one cause, and is told once.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, TypeAlias, TypeVar

from consumers.cloud.port import Eni, InstanceTypeLimits, VSwitch
from ledger.rules.nodes import NodeFacts
from ledger.rules.podnetworkings import PodNetworking

Thing = TypeVar("Thing")


@dataclass(frozen=True, slots=True, eq=False)
class Unseen:
    """It could not be looked at, for this cause. Compares by identity."""

    cause: str


#: A fact, or why there is none.
Look: TypeAlias = Thing | Unseen

#: What a fact is before its probe got there.
NOT_YET = Unseen("the probe did not get this far in time")


# --- Kubernetes -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class DaemonSet:
    """A DaemonSet of kube-system, as far as the network agent goes."""

    name: str
    images: tuple[str, ...]
    wanted: int
    ready: int


@dataclass(frozen=True, slots=True)
class AgentPod:
    """One Pod of the node agent. `started` is RFC 3339, empty while it has not."""

    name: str
    uid: str
    node: str
    ready: bool
    started: str


@dataclass(frozen=True, slots=True)
class ConfigText:
    """The eni-config's text (key eni_conf), its version, and when it was last written ("": unknown)."""

    text: str
    resource_version: str
    changed: str


@dataclass(frozen=True, slots=True)
class BadNode:
    """A node that lacks what an attach needs."""

    name: str
    problem: str


@dataclass(frozen=True, slots=True)
class Crd:
    """An installed CRD: what it serves, and whether the API server has taken it up."""

    name: str
    served: frozenset[str]
    with_status: frozenset[str]
    established: bool


@dataclass(frozen=True, slots=True)
class Hook:
    """One webhook of a configuration. `ours`: labelled as this program's."""

    configuration: str
    name: str
    resources: frozenset[str]
    ours: bool


@dataclass(frozen=True, slots=True)
class Asked:
    """What came of a dry-run that our webhook must refuse.

    `refused_by`: the name of the webhook that did; empty when nobody did. `failure`: the API server's
    words when it could not call one.
    """

    refused_by: str = ""
    failure: str = ""


@dataclass(frozen=True, slots=True)
class Incumbent:
    """terway-controlplane's Deployment. The last two are of its ctrl-config.yaml."""

    replicas: int
    centralized_ipam: bool
    webhook_disabled: bool


@dataclass(slots=True)
class ClusterFacts:
    """What the Kubernetes API says.

    `control_plane` names the Pods by which a dedicated cluster is known. `eni_config` is None where
    the ConfigMap is not there; `overlays` are the ConfigMaps that nodes name instead, None where
    missing. `master` is why the reconciler would not act beside the incumbent.
    """

    version: Look[tuple[int, int]] = NOT_YET
    uid: Look[str] = NOT_YET
    control_plane: Look[tuple[str, ...]] = NOT_YET
    token: Look[bool] = NOT_YET
    daemon_sets: Look[tuple[DaemonSet, ...]] = NOT_YET
    agent_pods: Look[tuple[AgentPod, ...]] = NOT_YET
    eni_config: Look[ConfigText | None] = NOT_YET
    overlays: Look[Mapping[str, str | None]] = NOT_YET
    nodes: Look[tuple[NodeFacts | BadNode, ...]] = NOT_YET
    crds: Look[tuple[Crd, ...]] = NOT_YET
    podnetworkings: Look[tuple[PodNetworking, ...]] = NOT_YET
    mutating: Look[tuple[Hook, ...]] = NOT_YET
    validating: Look[tuple[Hook, ...]] = NOT_YET
    asked_pod: Look[Asked] = NOT_YET
    asked_podnetworking: Look[Asked] = NOT_YET
    master: Look[str | None] = NOT_YET
    incumbent: Look[Incumbent | None] = NOT_YET


# --- the cloud ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Right:
    """Whether one API may be called: `granted`, and the cloud's code that says so."""

    granted: bool
    code: str


@dataclass(slots=True)
class CloudFacts:
    """What the cloud says.

    `vswitches` maps each id that the cluster names to what it is, None where the cloud has none.
    `trunks` are the ENIs that nodes name as their trunk.
    """

    api: Look[str] = NOT_YET
    rights: dict[str, Look[Right]] = field(default_factory=dict)
    instance_types: Look[tuple[InstanceTypeLimits, ...]] = NOT_YET
    trunks: Look[tuple[Eni, ...]] = NOT_YET
    vswitches: Look[Mapping[str, VSwitch | None]] = NOT_YET


# --- Kafka ----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Brokers:
    """The cluster of brokers; `version` is what the client makes of the APIs that they offer."""

    count: int
    version: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Topic:
    """One topic. `replicas` is of the partition with the fewest; `config` as the broker tells it."""

    partitions: int
    replicas: int
    config: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Tail:
    """The newest of one cluster on one partition: seconds ago, None where the window held none."""

    partition: int
    cluster: str
    heartbeat_age_s: float | None
    event_age_s: float | None


@dataclass(slots=True)
class KafkaFacts:
    """What the brokers say. `tails` are read from the end of each entity's topic."""

    brokers: Look[Brokers] = NOT_YET
    topics: Look[Mapping[str, Topic]] = NOT_YET
    tails: Look[Mapping[str, tuple[Tail, ...]]] = NOT_YET


# --- PostgreSQL -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Server:
    """The database server and what it promises of a commit."""

    version: int
    settings: Mapping[str, str]
    in_recovery: bool


@dataclass(frozen=True, slots=True)
class Login:
    """Who we are to the database, and which of our roles that may use."""

    name: str
    superuser: bool
    owner: bool
    roles: frozenset[str]
    missing_roles: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Standby:
    """What waits for a commit: the setting, and the standbys that are in step (None: hidden)."""

    names: str
    in_step: int | None


@dataclass(slots=True)
class DatabaseFacts:
    """What PostgreSQL says. `schema` and `clock` are the start-up guard's words, None: all right."""

    server: Look[Server] = NOT_YET
    schema: Look[str | None] = NOT_YET
    clock: Look[str | None] = NOT_YET
    login: Look[Login] = NOT_YET
    standby: Look[Standby] = NOT_YET
    cluster_uid: Look[str | None] = NOT_YET


# --- clocks ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Reading:
    """How far a clock is ahead of ours, in seconds, give or take `within_s`."""

    ahead_s: float
    within_s: float


@dataclass(slots=True)
class ClockFacts:
    """Clocks as read over the network."""

    database: Look[Reading] = NOT_YET
    kubernetes: Look[Reading] = NOT_YET
    cloud: Look[Reading] = NOT_YET


# --- all of it ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Meant:
    """What the settings say that should be so."""

    cluster_id: str
    region_id: str
    vpc_id: str
    local_stack: bool
    synchronous_standby: bool
    topic_prefix: str
    message_bytes_max: int
    webhook_name: str
    cluster_kind: str = ""


@dataclass(frozen=True, slots=True)
class Facts:
    """Everything that was looked at."""

    meant: Meant
    cluster: ClusterFacts = field(default_factory=ClusterFacts)
    cloud: CloudFacts = field(default_factory=CloudFacts)
    kafka: KafkaFacts = field(default_factory=KafkaFacts)
    database: DatabaseFacts = field(default_factory=DatabaseFacts)
    clocks: ClockFacts = field(default_factory=ClockFacts)


def blind(part: Any, cause: Unseen, only: str = "") -> None:
    """Give this one cause to every fact of a part (or to `only` that one) that was not seen."""
    for each in fields(part):
        if only in ("", each.name) and getattr(part, each.name) is NOT_YET:
            setattr(part, each.name, cause)
