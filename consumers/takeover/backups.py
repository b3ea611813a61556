"""The files that a hand-over keeps, named as the product document names them, so that kubectl takes them.

What they are copies of is removed next: a file counts as kept once it would outlast a power cut.
"""

import os
from dataclasses import dataclass
from pathlib import Path

import yaml

from consumers.kube.names import INCUMBENT
from consumers.kube.port import KubeObject
from consumers.kube.resources import (
    CONFIG_MAPS,
    DEPLOYMENTS,
    MUTATING_WEBHOOKS,
    VALIDATING_WEBHOOKS,
    Resource,
)
from consumers.runtime.errors import OperatorError
from consumers.takeover.controlplane import portable

KINDS = {
    MUTATING_WEBHOOKS: ("admissionregistration.k8s.io/v1", "MutatingWebhookConfiguration"),
    VALIDATING_WEBHOOKS: ("admissionregistration.k8s.io/v1", "ValidatingWebhookConfiguration"),
    DEPLOYMENTS: ("apps/v1", "Deployment"),
    CONFIG_MAPS: ("v1", "ConfigMap"),
}


class BackupDiffers(OperatorError):  # noqa: N818 - names what was found
    """A file of an earlier backup says otherwise: it is never overwritten."""


@dataclass(frozen=True, slots=True)
class Backups:
    """A directory of them."""

    directory: Path

    def path(self, resource: Resource) -> Path:
        """`terway-controlplane.mutatingwebhookconfigurations.yaml`, as the document has it."""
        return self.directory / f"{INCUMBENT}.{resource.plural}.yaml"

    def read(self, resource: Resource) -> KubeObject | None:
        """What was kept, by us or by `kubectl get -oyaml`, without what a server added; None: nothing."""
        path = self.path(resource)
        if not path.is_file():
            return None
        found = yaml.safe_load(path.read_text(encoding="utf-8"))
        if not isinstance(found, dict) or "metadata" not in found:
            raise OperatorError(f"{path} holds no Kubernetes object: bring the backup back")
        return portable(found, *KINDS[resource])

    def has(self, resource: Resource, obj: KubeObject) -> bool:
        """Whether this very object is kept already. Raises BackupDiffers where another one is."""
        kept = self.read(resource)
        if kept is None:
            return False
        if kept != portable(obj, *KINDS[resource]):
            raise BackupDiffers(
                f"{self.path(resource)} exists and is not what the cluster has now: move it away, or "
                "give another --backup-dir"
            )
        return True

    def keep(self, resource: Resource, obj: KubeObject) -> None:
        """Write it, whole or not at all; on the disk when this returns."""
        missing = [each for each in (self.directory, *self.directory.parents) if not each.exists()]
        self.directory.mkdir(parents=True, exist_ok=True)
        path = self.path(resource)
        draft = path.with_suffix(".draft")
        with draft.open("w", encoding="utf-8") as file:
            yaml.safe_dump(portable(obj, *KINDS[resource]), file, sort_keys=False)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
        for each in dict.fromkeys(
            (self.directory, self.directory.parent, *(m.parent for m in missing))
        ):
            _sync(each)

    def settle(self, resource: Resource) -> None:
        """Bring a file that is there to the disk: whoever wrote it may have been cut off before."""
        _sync(self.path(resource))
        _sync(self.directory)
        _sync(self.directory.parent)


def _sync(path: Path) -> None:
    """A directory's names, or a file's content, outlast a power cut from here on."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
