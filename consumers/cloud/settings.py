"""What the cloud adapter must be told, and how that is made of the runtime settings."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from consumers.runtime import settings as runtime

NETWORKS = ("vpc", "public")
PROTOCOLS = ("https", "http")


@dataclass(frozen=True, slots=True)
class DefaultChain:
    """The SDK's own chain: environment, OIDC (RRSA), profile, ECS RAM role, URI."""


@dataclass(frozen=True, slots=True)
class StaticKey:
    """An access key pair, optionally with an STS token. Secrets are kept out of repr()."""

    access_key_id: str
    access_key_secret: str = field(repr=False)
    security_token: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class TokenFile:
    """ACK's encrypted token file, mounted from the Secret addon.network.token."""

    path: Path = Path("/var/addon/token-config")


CredentialsSource = DefaultChain | StaticKey | TokenFile


@dataclass(frozen=True, slots=True)
class CloudSettings:
    """How the adapter reaches the cloud.

    Attributes:
        region_id: e.g. "cn-hangzhou".
        ecs_endpoint, vpc_endpoint: host or host:port, without a scheme; None derives it from the
            region and `network`.
        network: "vpc" for endpoints inside the region's VPC network, as the incumbent does
            (reference §8); "public" for the internet.
        protocol: "http" only makes sense against a simulator.
        connect_timeout_s, read_timeout_s: of one attempt, in seconds.
        connections: HTTP connections kept for reuse; as many as threads that call.
    """

    region_id: str
    credentials: CredentialsSource = field(default_factory=DefaultChain)
    ecs_endpoint: str | None = None
    vpc_endpoint: str | None = None
    network: Literal["vpc", "public"] = "vpc"
    protocol: Literal["https", "http"] = "https"
    connect_timeout_s: float = 5.0
    read_timeout_s: float = 10.0
    connections: int = 32

    def __post_init__(self) -> None:
        if not self.region_id:
            raise ValueError("cloud settings: region_id is empty; set it, e.g. cn-hangzhou")
        if self.network not in NETWORKS:
            raise ValueError(f"cloud settings: network {self.network!r} is not one of {NETWORKS}")
        if self.protocol not in PROTOCOLS:
            raise ValueError(
                f"cloud settings: protocol {self.protocol!r} is not one of {PROTOCOLS}"
            )
        for name in ("connect_timeout_s", "read_timeout_s"):
            if getattr(self, name) <= 0:
                raise ValueError(f"cloud settings: {name} must be above 0 seconds")
        for name in ("ecs_endpoint", "vpc_endpoint"):
            if "://" in (getattr(self, name) or ""):
                raise ValueError(
                    f"cloud settings: {name} is {getattr(self, name)!r}; give host or host:port, "
                    "and the scheme in protocol"
                )

    def endpoint(self, product: Literal["ecs", "vpc"]) -> str | None:
        """The product's endpoint, or None to let the SDK choose the public one."""
        chosen = self.ecs_endpoint if product == "ecs" else self.vpc_endpoint
        if chosen is None and self.network == "vpc":
            return f"{product}-vpc.{self.region_id}.aliyuncs.com"
        return chosen


def cloud_settings(configured: runtime.CloudSettings) -> CloudSettings:
    """The adapter's settings from ours. Raises ValueError for what can't be used."""
    source: CredentialsSource = DefaultChain()
    if configured.credential_path is not None:
        source = TokenFile(configured.credential_path)
    elif configured.access_key_id and configured.access_key_secret:
        secret = configured.access_key_secret.get_secret_value()
        source = StaticKey(configured.access_key_id, secret)
    return CloudSettings(
        region_id=configured.region_id,
        ecs_endpoint=configured.ecs_endpoint,
        vpc_endpoint=configured.vpc_endpoint,
        protocol=configured.protocol,
        connect_timeout_s=configured.connect_timeout_s,
        read_timeout_s=configured.read_timeout_s,
        credentials=source,
    )
