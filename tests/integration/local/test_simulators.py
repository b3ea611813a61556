"""The simulators' fixtures are what they say: reachable, and stopped afterwards."""

import urllib.request

from deploy.local.kubernetes.launch import Launched


def test_the_cloud_simulator_answers(cloud_simulator: str) -> None:
    with urllib.request.urlopen(f"http://{cloud_simulator}/_sim/enis", timeout=5) as answer:
        assert answer.status == 200


def test_the_kubernetes_simulator_has_a_kubeconfig(kube_simulator: Launched) -> None:
    assert kube_simulator.kubeconfig.is_file()
    assert kube_simulator.address.startswith("https://127.0.0.1:")
