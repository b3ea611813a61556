"""Every setting of every process, validated once, from the environment or a YAML file.

Precedence: environment `ENI_LEDGER_*` (nested names joined by two underscores, as in
`ENI_LEDGER_POSTGRES__DSN`) over the YAML file named by `ENI_LEDGER_CONFIG` over the incumbent's own
files (`incumbent_files.py`) over the defaults.
A wrong value is refused at start with its path and what is allowed; nothing is read later.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    JsonValue,
    SecretStr,
    ValidationError,
    field_validator,
)
from pydantic_settings import (
    BaseSettings,
    InitSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from consumers.runtime.incumbent_files import incumbent_settings
from consumers.runtime.refusals import environment_problems, told
from consumers.runtime.yaml_files import UnusableFile, read_map

CONFIG_FILE_VARIABLE = "ENI_LEDGER_CONFIG"

Port = Annotated[int, Field(ge=0, le=65535)]
Seconds = Annotated[float, Field(gt=0)]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class PostgresSettings(_Section):
    """The ledger's database."""

    dsn: SecretStr = Field(
        default=SecretStr("postgresql:///eni_ledger"),
        description="libpq connection string or URL of the ledger; TLS and SCRAM as libpq has them",
    )
    pool_size: int = Field(default=8, ge=1, le=100, description="connections per process")
    statement_timeout_s: Seconds = Field(default=30.0, description="bound on one statement")
    synchronous_standby: bool = Field(
        default=False,
        description="true only where a standby takes over with every commit: then another timeline "
        "alone is no sign of a restore, and nothing has to be accepted after a failover",
    )

    @field_validator("dsn")
    @classmethod
    def _is_a_connection_string(cls, dsn: SecretStr) -> SecretStr:
        from psycopg import Error  # not at the top: the command line starts without it
        from psycopg.conninfo import conninfo_to_dict

        try:
            conninfo_to_dict(dsn.get_secret_value())
        except Error:  # its message repeats the string, password and all
            raise ValueError(
                "no connection string of libpq: write it like postgresql://user@host:5432/database, "
                "with special characters of a password percent-encoded"
            ) from None
        return dsn


class KafkaSettings(_Section):
    """The event log."""

    bootstrap_servers: str = Field(
        default="127.0.0.1:9092",
        pattern=r"^[^\s,/]+:[0-9]{1,5}(,[^\s,/]+:[0-9]{1,5})*$",
        description="host:port[,host:port…]",
    )
    security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = "PLAINTEXT"
    sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] | None = None
    sasl_username: str | None = None
    sasl_password: SecretStr | None = None
    ssl_cafile: Path | None = None
    ssl_certfile: Path | None = None
    ssl_keyfile: Path | None = None
    topic_prefix: str = Field(default="eni-ledger", pattern=r"^[a-zA-Z0-9._-]{1,80}$")
    group_id: str = Field(
        default="eni-ledger-intake",
        description="decides who reads which partition; offsets live in PostgreSQL",
    )
    session_timeout_ms: int = Field(default=6000, ge=1000)
    message_bytes_max: int = Field(
        default=1_048_576,
        ge=1024,
        description="a larger message is not parsed: it becomes a dead letter",
    )
    fetch_bytes_max: int = Field(default=16_777_216, ge=1_048_576)


class KubeSettings(_Section):
    """How the Kubernetes API is reached; in a cluster nothing needs to be set."""

    kubeconfig: Path | None = Field(
        default=None, description="path; absent: in-cluster, then KUBECONFIG"
    )
    context: str | None = None
    service_account: Path = Field(
        default=Path("/var/run/secrets/kubernetes.io/serviceaccount"),
        description="directory of token, ca.crt and namespace, in a cluster; the token is read anew "
        "when it is refused",
    )
    page_size: int = Field(default=500, ge=1, le=5000, description="objects per list page")
    request_timeout_s: Seconds = 10.0


class RateLimit(_Section):
    """A token bucket shared by all replicas through PostgreSQL."""

    per_minute: float = Field(gt=0)
    burst: int = Field(ge=1)


# The incumbent's defaults per minute (reference §8.1) are the best public proxy for the quotas.
# Its burst is a whole minute's quota; ours is a few seconds' worth, because node agents share the
# same quota (P9).
DEFAULT_RATE_LIMITS: dict[str, RateLimit] = {
    "AttachNetworkInterface": RateLimit(per_minute=500, burst=20),
    "CreateNetworkInterface": RateLimit(per_minute=500, burst=20),
    "DeleteNetworkInterface": RateLimit(per_minute=500, burst=20),
    "DescribeNetworkInterfaces": RateLimit(per_minute=800, burst=30),
    "DetachNetworkInterface": RateLimit(per_minute=400, burst=16),
    "DescribeInstanceTypes": RateLimit(per_minute=400, burst=10),
    "DescribeVSwitches": RateLimit(per_minute=300, burst=10),
    "ModifyNetworkInterfaceAttribute": RateLimit(per_minute=300, burst=10),
}


_LIMITED_APIS: list[JsonValue] = [*sorted(DEFAULT_RATE_LIMITS)]


class CloudSettings(_Section):
    """Alibaba Cloud: where, as whom, how fast."""

    region_id: str = Field(
        default="", pattern=r"^[a-z0-9-]*$", description="for example cn-hangzhou"
    )
    vpc_id: str = Field(
        default="",
        pattern=r"^[A-Za-z0-9_-]*$",
        description="the cluster's VPC, for example vpc-bp…",
    )
    ecs_endpoint: str | None = Field(
        default=None, description="host[:port]; absent: the region's own"
    )
    vpc_endpoint: str | None = None
    protocol: Literal["https", "http"] = "https"
    access_key_id: str | None = None
    access_key_secret: SecretStr | None = None
    credential_path: Path | None = Field(
        default=None, description="ACK's encrypted token file, usually /var/addon/token-config"
    )
    connect_timeout_s: Seconds = 5.0
    read_timeout_s: Seconds = 10.0
    rate_limits: dict[str, RateLimit] = Field(
        default_factory=dict,
        description="per API; others keep their default",
        json_schema_extra={"propertyNames": {"enum": _LIMITED_APIS}},
    )
    budget_share: float = Field(
        default=0.8,
        gt=0,
        le=1,
        description="share of each rate that is ours; the rest is the node agents'",
    )

    def rate_limit(self, api: str) -> RateLimit:
        """The bucket of `api`: configured, or the default (500 a minute for one nobody named)."""
        limit = self.rate_limits.get(api) or DEFAULT_RATE_LIMITS.get(api)
        return limit or RateLimit(per_minute=500, burst=20)

    @field_validator("rate_limits")
    @classmethod
    def _of_apis_that_are_called(cls, limits: dict[str, RateLimit]) -> dict[str, RateLimit]:
        if unknown := sorted(set(limits) - set(DEFAULT_RATE_LIMITS)):
            raise ValueError(
                f"no such API: {', '.join(unknown)}; there are: {', '.join(sorted(DEFAULT_RATE_LIMITS))}"
            )
        return limits


class PolicySettings(_Section):
    """What the incumbent's ctrl-config.yaml says about Pods (reference §9)."""

    enable_trunk: bool = True
    enable_webhook_inject_resource: bool = True
    custom_stateful_workload_kinds: tuple[str, ...] = ()
    ip_stack: Literal["ipv4", "ipv6", "dual"] = "ipv4"
    ipam_type: Literal["", "crd"] = ""
    resource_group_id: str = ""
    carry_default_route: bool = Field(
        default=False,
        description="write defaultRoute of a multi-network Pod into its PodENI. The incumbent drops "
        "it, and its node agent gives eth0 the default route: turning this on changes the routes of "
        "Pods that asked for another one and never got it, when they are next bound",
    )


class WatcherSettings(_Section):
    heartbeat_interval_s: Seconds = Field(default=1.0, le=1.0)


class IntakeSettings(_Section):
    batch_max: int = Field(default=500, ge=1, le=5000, description="messages per transaction")
    gap_restarts_ttl: bool = Field(
        default=True,
        description="P2: where Pods were not observed for a while, TTLs held across it count anew",
    )


class BreakerSettings(_Section):
    """P11: above this many destructive decisions in the interval, the others wait for a person.

    Each was confirmed by a live look, so this guards against what a look can't see. The defaults let
    a hundred Pods be replaced at once without a question, and stop the loss of half a large fleet.
    """

    interval_s: Seconds = 300.0
    absolute: int = Field(default=500, ge=1, description="Pods found gone or released")
    share: float = Field(default=0.5, gt=0, le=1, description="of the live allocations")
    share_floor: int = Field(
        default=100, ge=1, description="the share is not looked at below this many"
    )


class ReconcilerSettings(_Section):
    workers: int = Field(default=8, ge=1, le=64)
    claim_s: Seconds = Field(
        default=5.0, description="how soon the idle work of a lost reconciler moves to another"
    )
    look_interval_s: Seconds = Field(
        default=1.0, description="between looks at an attach or detach in progress"
    )
    podnetworking_resync_s: Seconds = Field(
        default=300.0, description="a vSwitch deleted later shows within this time"
    )
    breaker: BreakerSettings = BreakerSettings()


class WebhookSettings(_Section):
    host: str = "127.0.0.1"
    port: Port = 4443
    name: str = Field(
        default="eni-ledger", description="of the webhook configurations and the certificate Secret"
    )
    service_name: str = "eni-ledger-webhook"
    service_namespace: str = "kube-system"
    register_url: str | None = Field(
        default=None,
        pattern=r"^https://[^/\s]+",
        description="register clientConfig.url instead of the Service (local stack)",
    )
    failure_policy: Literal["Ignore", "Fail"] = "Ignore"
    excluded_namespaces: tuple[str, ...] = ("kube-system",)


class ConsoleSettings(_Section):
    """The audit API and the web console. There is no way to run it without authentication."""

    host: str = "127.0.0.1"
    port: Port = 8790
    authentication: Literal["tokens", "kubernetes"] | None = Field(
        default=None,
        description="absent: tokens where any are set, else kubernetes in a cluster, else tokens",
    )
    tokens: dict[str, Annotated[SecretStr, Field(min_length=16)]] = Field(
        default_factory=dict, description="name -> static bearer token of at least 16 characters"
    )
    audiences: tuple[str, ...] = Field(
        default=(), description="of the Kubernetes tokens to accept; absent: the API server's own"
    )
    identity_cache_s: float = Field(
        default=30.0, ge=0, le=300, description="how long a Kubernetes admission is remembered"
    )


class HttpSettings(_Section):
    """/healthz, /readyz and /metrics of a process."""

    host: str = "127.0.0.1"
    port: Port = Field(default=0, description="0: any free port, named in the log")


class LogSettings(_Section):
    level: Literal["debug", "info", "warning", "error"] = "info"
    format: Literal["json", "console"] = "json"


class Settings(BaseSettings):
    """Everything. Sections are frozen; a change needs a restart."""

    model_config = SettingsConfigDict(
        env_prefix="ENI_LEDGER_", env_nested_delimiter="__", extra="forbid", frozen=True
    )

    cluster_id: str = Field(
        default="",
        pattern=r"^[A-Za-z0-9._-]{0,128}$",
        description="the ACK cluster id; in every key and in the tags of every ENI",
    )
    local_stack: bool = Field(
        default=False, description="only the embedded stack sets this: its clock may be replaced"
    )
    shadow: bool = Field(
        default=False,
        description="record and report only: nothing is written to Kubernetes or the cloud, and no "
        "webhook is registered; going live is `eni-ledger adopt`",
    )
    postgres: PostgresSettings = PostgresSettings()
    kafka: KafkaSettings = KafkaSettings()
    kube: KubeSettings = KubeSettings()
    cloud: CloudSettings = CloudSettings()
    policy: PolicySettings = PolicySettings()
    watcher: WatcherSettings = WatcherSettings()
    intake: IntakeSettings = IntakeSettings()
    reconciler: ReconcilerSettings = ReconcilerSettings()
    webhook: WebhookSettings = WebhookSettings()
    console: ConsoleSettings = ConsoleSettings()
    http: HttpSettings = HttpSettings()
    log: LogSettings = LogSettings()

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        sources: list[PydanticBaseSettingsSource] = [
            init_settings,
            env_settings,
            file_secret_settings,
        ]
        file = os.environ.get(CONFIG_FILE_VARIABLE)
        if file:
            read = read_map(CONFIG_FILE_VARIABLE, Path(file))
            sources.append(InitSettingsSource(settings_cls, read))
        bursts = {api: limit.burst for api, limit in DEFAULT_RATE_LIMITS.items()}
        sources.append(InitSettingsSource(settings_cls, incumbent_settings(bursts)))
        return tuple(sources)


class SettingsError(Exception):
    """The settings can't be used: each line names one path, its cause and what is allowed."""


def load_settings(overrides: Mapping[str, Any] | None = None) -> Settings:
    """Read and validate the settings.

    `overrides` (top-level section -> value) win over all sources. Raises SettingsError naming
    every wrong path.
    """
    file = os.environ.get(CONFIG_FILE_VARIABLE)
    if file and not Path(file).is_file():
        raise SettingsError(
            f"{CONFIG_FILE_VARIABLE} names {file}, which is not a file: "
            "correct the path or unset it"
        )
    problems = [*environment_problems(Settings, os.environ)]
    if file:
        try:
            read_map(CONFIG_FILE_VARIABLE, Path(file))
        except UnusableFile as unusable:
            problems.append(str(unusable))  # told together with what the environment has
    if problems:
        raise SettingsError("\n".join(problems))
    try:
        return Settings(**(overrides or {}))
    except UnusableFile as unusable:
        raise SettingsError(str(unusable)) from unusable
    except ValidationError as refused:
        lines = [told(error, Settings, os.environ) for error in refused.errors(include_url=False)]
        raise SettingsError("\n".join(lines)) from None
