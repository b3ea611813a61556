"""Starts the simulated API server as a process: `python -m deploy.local.kubernetes --help`."""

import argparse
import logging
import socket
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from types import FrameType

import uvicorn
import yaml

from deploy.local.kubernetes import certificates
from deploy.local.kubernetes.core import Core, Options, finish
from deploy.local.kubernetes.errors import ApiError, Json
from deploy.local.kubernetes.journal import Journal
from deploy.local.kubernetes.requests import APPLY_PATCH, Request
from deploy.local.kubernetes.server import Shell, application
from deploy.local.kubernetes.sources import Sources
from deploy.local.kubernetes.webhook_client import WebhookClient

log = logging.getLogger("deploy.local.kubernetes")
_EXAMPLE = """example:
  python -m deploy.local.kubernetes --port 6443 --kubeconfig-out kubeconfig --state-dir state \\
      --crds deploy/crds --service kube-system/eni-ledger-webhook=127.0.0.1:9443
"""


def _service(text: str) -> tuple[str, str]:
    name, separator, address = text.partition("=")
    if not separator or name.count("/") != 1 or ":" not in address:
        raise argparse.ArgumentTypeError(f"{text!r} is not NAMESPACE/NAME=HOST:PORT")
    return name, address


def _token(text: str) -> tuple[str, str]:
    user, separator, token = text.partition("=")
    if not separator or not token:
        raise argparse.ArgumentTypeError(f"{text!r} is not USER=TOKEN")
    return token, user


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m deploy.local.kubernetes",
        description="A simulated Kubernetes API server for local stacks and tests.",
        epilog=_EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--host", default="127.0.0.1", help="address to listen on (default %(default)s)")
    add("--port", type=int, default=0, help="port to listen on; 0 (default) takes a free one")
    add("--kubeconfig-out", type=Path, required=True, help="where to write the admin's kubeconfig")
    add("--state-dir", type=Path, help="keeps certificates, token and objects over a restart")
    add(
        "--crds",
        type=Path,
        action="append",
        default=[],
        help="directory or file of CRDs to install",
    )
    add("--service", type=_service, action="append", default=[], metavar="NAMESPACE/NAME=HOST:PORT",
        help="where a Service named by a webhook configuration listens")  # fmt: skip
    add("--token", type=_token, action="append", default=[], metavar="USER=TOKEN",
        help="a further bearer token")  # fmt: skip
    add("--http", action="store_true", help="plain HTTP instead of HTTPS")
    add(
        "--history", type=int, default=20_000, help="changes kept for watches (default %(default)s)"
    )
    add(
        "--bookmark-seconds", type=float, default=10.0, help="bookmark period (default %(default)s)"
    )
    add(
        "--no-watch-list", action="store_true", help="refuse sendInitialEvents, as older servers do"
    )
    return parser.parse_args(arguments)


def install_crds(core: Core, paths: Sequence[Path]) -> None:
    """Applies CRDs from files and directories; existing ones of the same name are left alone."""
    found = core.type("apiextensions.k8s.io", "v1", "customresourcedefinitions")
    files = [f for p in paths for f in (sorted(p.glob("*.y*ml")) if p.is_dir() else [p])]
    for file in files:
        documents: list[Json] = [d for d in yaml.safe_load_all(file.read_text()) if d]
        for crd in documents:
            name = crd["metadata"]["name"]
            if core.store.get(found.store, "", name) is not None:
                continue
            options = {"fieldManager": "local-stack"}
            finish(core.execute(Request("patch", found, "", name, "", options, crd, APPLY_PATCH)))


def build(
    arguments: argparse.Namespace, state: Path
) -> tuple[Core, certificates.Identity, Journal]:
    """The core with its earlier state, its identity, and the journal to write on."""
    identity = certificates.prepare(state)
    journal = Journal(state / "objects.jsonl")
    tokens = {identity.token: "admin", **dict(arguments.token)}
    options = Options(arguments.history, not arguments.no_watch_list, tokens)
    core = Core(Sources.real(), options, journal.read())
    core.store.listen(journal.append)
    core.create_default_namespaces()
    install_crds(core, arguments.crds)
    return core, identity, journal


class _Server(uvicorn.Server):
    """Ends open watches at SIGTERM, which would otherwise hold the shutdown up."""

    shell: Shell

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        self.shell.streams.close()
        super().handle_exit(sig, frame)


def _listen(host: str, port: int) -> socket.socket:
    # With the protocol named, asyncio turns Nagle's algorithm off: 2 ms a call instead of 40.
    listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((host, port))
    except OSError as error:
        listening.close()
        raise SystemExit(
            f"the simulated Kubernetes API server can't listen on {host}:{port}: {error.strerror}. "
            "Choose another --port, or 0 for a free one."
        ) from error
    return listening


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs until SIGTERM or SIGINT."""
    options = _parse(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    listening = _listen(options.host, options.port)
    with tempfile.TemporaryDirectory(prefix="eni-ledger-kubernetes-") as temporary:
        state = options.state_dir or Path(temporary)
        try:
            core, identity, journal = build(options, state)
        except (ValueError, OSError, yaml.YAMLError, ApiError) as error:
            raise SystemExit(f"the simulated Kubernetes API server can't start: {error}") from error
        webhooks = WebhookClient(dict(options.service))
        app, shell = application(core, webhooks, options.bookmark_seconds)
        config = uvicorn.Config(
            app,
            log_level="warning",
            access_log=False,
            timeout_graceful_shutdown=2,
            lifespan="on",
            ssl_keyfile=None if options.http else str(identity.key),
            ssl_certfile=None if options.http else str(identity.certificate),
        )
        server = _Server(config)
        server.shell = shell
        scheme, port = ("http" if options.http else "https"), listening.getsockname()[1]
        address = f"{scheme}://{options.host}:{port}"
        content = certificates.kubeconfig(identity, address, not options.http)
        certificates.write_kubeconfig(options.kubeconfig_out, content)
        log.info("simulated Kubernetes API at %s, kubeconfig %s", address, options.kubeconfig_out)
        try:
            server.run(sockets=[listening])
        finally:
            journal.close()
            listening.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
