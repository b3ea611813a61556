"""How a process proves who it is to a genuine API: in-cluster files, rotated tokens, certificates."""

import shutil
import time
from pathlib import Path

import pytest
import yaml

from consumers.kube import wire
from consumers.kube.lightkube_adapter import LightkubeAdapter
from consumers.kube.port import Denied
from consumers.runtime.settings import KubeSettings
from deploy.local.kubernetes import certificates
from deploy.local.parts.kube_apiserver.server import GenuineKube
from deploy.local.parts.ports import LOOPBACK

pytestmark = pytest.mark.genuine("kube")

#: The API server remembers for 10 s that a token was good.
FORGOTTEN_WITHIN_S = 30.0


def token(server: GenuineKube, name: str) -> str:
    """Of service account `default/name`, as kubelet projects it: bound to an object, good while it lives."""
    server.kubectl("create", "secret", "generic", f"{name}-pod")
    bound = ("--bound-object-kind", "Secret", "--bound-object-name", f"{name}-pod")
    return server.kubectl("create", "token", "in-cluster", *bound).strip()


def test_in_a_cluster_the_projected_token_is_read_anew_when_it_was_rotated(
    genuine_server: GenuineKube, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = genuine_server
    server.kubectl("create", "serviceaccount", "in-cluster")
    account = "--serviceaccount=default:in-cluster"
    server.kubectl("create", "clusterrole", "in-cluster", "--verb=list", "--resource=pods")
    server.kubectl(
        "create", "clusterrolebinding", "in-cluster", "--clusterrole=in-cluster", account
    )
    mounted = tmp_path / "serviceaccount"
    mounted.mkdir()
    shutil.copy(server.ca, mounted / "ca.crt")
    (mounted / "namespace").write_text("default")
    (mounted / "token").write_text(token(server, "first"))
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", LOOPBACK)
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", server.address.rpartition(":")[2])
    settings = KubeSettings(service_account=mounted)

    with wire.connect(settings) as client, wire.connect(settings) as stale:
        kube = LightkubeAdapter(client)
        assert kube.look_at_pod("default", "none").pod is None
        with pytest.raises(Denied, match="system:serviceaccount:default:in-cluster") as denied:
            kube.get_podeni("default", "none")
        assert "grant verb get on podenis.network.alibabacloud.com" in str(denied.value)

        server.kubectl("delete", "secret", "first-pod")  # its Pod is gone, so is the token
        until = time.monotonic() + FORGOTTEN_WITHIN_S
        while stale.get("/api/v1/pods").status_code != 401:
            assert time.monotonic() < until, "the first token is still good"
            time.sleep(0.2)
        with pytest.raises(Denied, match="credentials are not accepted"):
            LightkubeAdapter(stale).look_at_pod("default", "none")
        (mounted / "token").write_text(token(server, "second"))
        assert kube.look_at_pod("default", "none").pod is None
        assert LightkubeAdapter(stale).look_at_pod("default", "none").pod is None


def test_a_kubeconfig_with_a_client_certificate(
    genuine_server: GenuineKube, tmp_path: Path
) -> None:
    content = certificates.kubeconfig(genuine_server.identity, genuine_server.address, secure=True)
    certificate, key = genuine_server.client_certificate
    content["users"][0]["user"] = {"client-certificate": str(certificate), "client-key": str(key)}
    path = tmp_path / "kubeconfig"
    path.write_text(yaml.safe_dump(content))
    with wire.connect(KubeSettings(kubeconfig=path)) as client:
        assert LightkubeAdapter(client).cluster_uid()
        review = {"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}
        told = client.post("/apis/authentication.k8s.io/v1/selfsubjectreviews", json=review).json()
    assert told["status"]["userInfo"]["username"] == "certified-admin"


def test_a_token_that_nobody_gave_is_refused_with_the_next_step(
    genuine_server: GenuineKube, tmp_path: Path
) -> None:
    content = yaml.safe_load(genuine_server.kubeconfig.read_text())
    content["users"][0]["user"] = {"token": "nobodys"}
    path = tmp_path / "kubeconfig"
    path.write_text(yaml.safe_dump(content))
    with (
        wire.connect(KubeSettings(kubeconfig=path)) as client,
        pytest.raises(Denied, match="check the kubeconfig or the service account"),
    ):
        LightkubeAdapter(client).cluster_uid()
