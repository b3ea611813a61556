"""What the compatibility tests share: one admission, asked as the API server would ask."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pytest

from ledger.rules.admission_decision import Decision
from ledger.rules.admission_pods import ClusterView, PodPolicy, admit_pod
from ledger.rules.eni_config import EniConfig, EniConfigError
from ledger.rules.objects import KubeObject
from ledger.rules.podnetworkings import PodNetworking
from tests.unit.rules.admission_cases import ENI_CONFIG, apply_patch


@dataclass(frozen=True)
class Outcome:
    """The decision and the Pod as the API server would store it."""

    decision: Decision
    pod: dict[str, Any]

    @property
    def annotations(self) -> dict[str, str]:
        found: dict[str, str] = self.pod["metadata"].get("annotations") or {}
        return found

    @property
    def networks(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = json.loads(self.annotations["k8s.aliyun.com/pod-networks"])[
            "podNetworks"
        ]
        return found

    @property
    def resources(self) -> list[dict[str, Any]]:
        return [each.get("resources") or {} for each in self.pod["spec"]["containers"]]

    @property
    def zone_terms(self) -> list[list[list[str]]]:
        """For each node selector term, the zones of each of its zone expressions."""
        affinity = (self.pod["spec"].get("affinity") or {}).get("nodeAffinity") or {}
        required = affinity.get("requiredDuringSchedulingIgnoredDuringExecution") or {}
        return [
            [
                expression["values"]
                for expression in term.get("matchExpressions") or []
                if expression["key"] == "topology.kubernetes.io/zone"
            ]
            for term in required.get("nodeSelectorTerms") or []
        ]


class Admission:
    """`admit(pod, …)` with everything the cluster knows as keywords."""

    def __call__(
        self,
        pod: dict[str, Any],
        podnetworkings: Sequence[PodNetworking] = (),
        namespace_labels: Mapping[str, str] | None = None,
        podeni: KubeObject | None = None,
        eni_config: EniConfig | EniConfigError | None = ENI_CONFIG,
        policy: PodPolicy | None = None,
    ) -> Outcome:
        view = ClusterView(podnetworkings, namespace_labels or {}, podeni, eni_config)
        decision = admit_pod(pod, "example", view, policy or PodPolicy())
        return Outcome(decision, apply_patch(pod, decision.patch))


@pytest.fixture
def admit() -> Admission:
    return Admission()
