"""What the oracle speaks of: the Pod as the API server has it, and small truths about objects."""

from dataclasses import dataclass
from typing import Any

from ledger.rules import entries as e
from ledger.rules.allocation import Allocation
from ledger.rules.pod_decisions import SeenPod
from ledger.rules.pods import PodFacts


@dataclass
class Pod:
    """The Pod as the API server has it."""

    uid: str
    node: str
    networks: str
    terminal: bool = False
    deleting: bool = False

    def seen(self) -> SeenPod:
        facts = PodFacts(
            namespace="shop",
            name="web-0",
            uid=self.uid,
            node_name=self.node,
            phase="Failed" if self.terminal else "Running",
            deleting=self.deleting,
            annotations={
                "k8s.aliyun.com/pod-eni": "true",
                "k8s.aliyun.com/pod-networks": self.networks,
            },
        )
        return SeenPod("c1", "shop", "web-0", self.uid, facts)


def renamed(before: dict[str, Any], after: dict[str, Any]) -> bool:
    key = "k8s.aliyun.com/pod-uid"
    return bool(before["metadata"]["annotations"][key] != after["metadata"]["annotations"][key])


def refused(a: Allocation, code: str) -> e.CallRefused:
    assert a.intent is not None
    return e.CallRefused(intent=a.intent.id, code=code, message="no", request_id="r")
