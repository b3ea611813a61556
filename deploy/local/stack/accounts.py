"""On a genuine API each process runs as its own service account, with the rights of deploy/rbac.

So that a right that is missing there is found here, and not in somebody's cluster.
"""

from collections.abc import Mapping
from pathlib import Path

from deploy.local.kubernetes import certificates
from deploy.local.parts.kube_apiserver.server import GenuineKube
from deploy.local.stack.options import RBAC

NAMESPACE = "eni-ledger"
#: For a webhook that registers itself, as on the local stack.
REGISTERING = "webhook-registering.yaml"
#: By process: the manifests that give it what it may do.
MANIFESTS: Mapping[str, tuple[str, ...]] = {
    "watcher": ("watcher.yaml",),
    "intake": ("intake.yaml",),
    "reconciler": ("reconciler.yaml",),
    "webhook": ("webhook.yaml", REGISTERING),
    "console": ("console.yaml",),
}
TOKEN_LIFE = "24h"  # noqa: S105 - a duration; longer than any local stack


def account(process: str) -> str:
    """The name of a process's service account."""
    return f"eni-ledger-{process}"


def grant(server: GenuineKube, process: str, *, registering: bool = True) -> None:
    """Apply the manifests of `process`, into a namespace that is made where it is absent."""
    if NAMESPACE not in server.kubectl("get", "namespaces", "-o", "name"):
        server.kubectl("create", "namespace", NAMESPACE)
    for name in MANIFESTS[process]:
        if registering or name != REGISTERING:
            server.kubectl("apply", "-f", str(RBAC / name))


def kubeconfig_of(server: GenuineKube, process: str, directory: Path) -> Path:
    """A kubeconfig with a token of the process's service account, written into `directory`."""
    token = server.kubectl(
        "create", "token", account(process), "-n", NAMESPACE, "--duration", TOKEN_LIFE
    ).strip()
    content = certificates.kubeconfig(server.identity, server.address, secure=True)
    content["users"] = [{"name": account(process), "user": {"token": token}}]
    content["contexts"][0]["context"]["user"] = account(process)
    path = directory / f"{account(process)}.kubeconfig"
    certificates.write_kubeconfig(path, content)
    return path


def of_processes(server: GenuineKube) -> Mapping[str, Mapping[str, str]]:
    """By process: the settings that let it act as itself."""
    found = {}
    for process in MANIFESTS:
        grant(server, process)
        path = kubeconfig_of(server, process, server.directory)
        found[process] = {"ENI_LEDGER_KUBE__KUBECONFIG": str(path)}
    return found
