"""Which commands, with which environment, make up the local stack. No process is started here."""

import json
import os
import shlex
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from deploy.local.cloud.world import World
from deploy.local.parts.ports import LOOPBACK
from deploy.local.stack.options import CRDS, StackFiles, StackOptions

DATABASE = "eni_ledger"
WEBHOOK_SERVICE = "kube-system/eni-ledger-webhook"

#: The product's processes, in the order they are started.
CONSUMERS = ("webhook", "watcher", "intake", "reconciler", "console")

#: How long a part may take to be ready, in seconds. The first start imports everything from a
#: cold disk.
READY_DEADLINE_S = 90.0

#: What of the caller's environment parts see: never ENI_LEDGER_*, which belongs to another setup.
_FOREIGN_PREFIXES = ("ENI_LEDGER_", "PG", "KUBECONFIG")


@dataclass(frozen=True, slots=True)
class Endpoints:
    """Where everything is."""

    postgres_dsn: str
    kafka: str
    cloud_port: int
    kubeconfig: Path
    webhook_port: int
    console_port: int
    console_token: str
    cluster_id: str

    @property
    def ecs(self) -> str:
        """host:port of the simulated ECS and VPC API."""
        return f"{LOOPBACK}:{self.cloud_port}"


def cloud_command(options: StackOptions, port: int) -> Sequence[str]:
    """The cloud simulator."""
    return _module("deploy.local.cloud", "--world", str(options.world), "--port", str(port))


def kubernetes_command(files: StackFiles, port: int, webhook_port: int) -> Sequence[str]:
    """The simulated Kubernetes API; calls to our webhook's Service go to the local process."""
    return _module(
        "deploy.local.kubernetes",
        "--port", str(port),
        "--kubeconfig-out", str(files.kubeconfig),
        "--state-dir", str(files.kubernetes),
        "--crds", str(CRDS),
        "--service", f"{WEBHOOK_SERVICE}={LOOPBACK}:{webhook_port}",
    )  # fmt: skip


def actors_command(options: StackOptions, kubeconfig: Path, http_port: int) -> Sequence[str]:
    """The simulated scheduler, controllers, kubelets and node agents."""
    return _module(
        "deploy.local.actors",
        "--kubeconfig", str(kubeconfig),
        "--world", str(options.world),
        "--http-port", str(http_port),
    )  # fmt: skip


def eni_ledger_command(*words: str) -> Sequence[str]:
    """`eni-ledger WORDS…` of the interpreter that runs now."""
    return _module("consumers.cli.main", *words)


def settings_environment(endpoints: Endpoints, world: World) -> Mapping[str, str]:
    """The ENI_LEDGER_* variables that every process of the stack shares."""
    key = world.access_keys[0]
    ipv6 = any(vswitch.ipv6_cidr for vswitch in world.vswitches)
    settings = {
        "CLUSTER_ID": endpoints.cluster_id,
        "LOCAL_STACK": "true",
        "POSTGRES__DSN": endpoints.postgres_dsn,
        "KAFKA__BOOTSTRAP_SERVERS": endpoints.kafka,
        "KUBE__KUBECONFIG": str(endpoints.kubeconfig),
        "CLOUD__REGION_ID": world.region,
        "CLOUD__VPC_ID": world.vpc.id,
        "CLOUD__ECS_ENDPOINT": endpoints.ecs,
        "CLOUD__VPC_ENDPOINT": endpoints.ecs,
        "CLOUD__PROTOCOL": "http",
        "CLOUD__ACCESS_KEY_ID": key.id,
        "CLOUD__ACCESS_KEY_SECRET": key.secret,
        "POLICY__IP_STACK": "dual" if ipv6 else "ipv4",
        "WEBHOOK__PORT": str(endpoints.webhook_port),
        # By URL: on loopback no network routes a Service, and no Helm chart registers it.
        "WEBHOOK__REGISTER_URL": f"https://{LOOPBACK}:{endpoints.webhook_port}",
        "CONSOLE__PORT": str(endpoints.console_port),
        "CONSOLE__TOKENS": json.dumps({"local": endpoints.console_token}),
    }
    return {f"ENI_LEDGER_{name}": value for name, value in settings.items()}


def part_environment(settings: Mapping[str, str], http_port: int = 0) -> dict[str, str]:
    """The whole environment of a part: the caller's, less other setups, plus `settings`."""
    kept = {
        name: value for name, value in os.environ.items() if not name.startswith(_FOREIGN_PREFIXES)
    }
    around = [kept.get("no_proxy") or kept.get("NO_PROXY") or "", LOOPBACK, "localhost"]
    no_proxy = ",".join(filter(None, around))
    return {
        **kept,
        "no_proxy": no_proxy,
        "NO_PROXY": no_proxy,
        **settings,
        "ENI_LEDGER_HTTP__PORT": str(http_port),
    }


def environment_script(settings: Mapping[str, str], kubeconfig: Path) -> str:
    """What a shell sources to use the CLI, psql and kubectl against this stack."""
    lines = ["# Source it: . environment.sh — then eni-ledger and kubectl reach the local stack."]
    exported = {**settings, "KUBECONFIG": str(kubeconfig)}
    lines += [f"export {name}={shlex.quote(value)}" for name, value in exported.items()]
    return "\n".join(lines) + "\n"


def read_environment(script: Path) -> dict[str, str]:
    """The variables that a file of `environment_script` exports."""
    found: dict[str, str] = {}
    for words in (shlex.split(line, comments=True) for line in script.read_text().splitlines()):
        if words[:1] == ["export"]:
            name, _, value = words[1].partition("=")
            found[name] = value
    return found


def _module(name: str, *words: str) -> Sequence[str]:
    return [sys.executable, "-m", name, *words]
