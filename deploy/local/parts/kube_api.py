"""What tests use of a running Kubernetes API, whichever part it is: simulated, genuine, or a cluster's."""

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol


class KubeApi(Protocol):
    """A running API server with our CRDs."""

    @property
    def kubeconfig(self) -> Path:
        """Of somebody who may do everything."""
        ...


@dataclass(frozen=True, slots=True)
class ExternalKube:
    """The API of a cluster that somebody else runs: only its kubeconfig is known."""

    kubeconfig: Path
