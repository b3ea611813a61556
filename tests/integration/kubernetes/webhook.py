"""A small HTTPS admission webhook whose decision a test can change."""

import base64
import json
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from deploy.local.kubernetes.certificates import issue

Json = dict[str, Any]


@dataclass
class WebhookServer:
    """`decide` gets the AdmissionReview's request and returns its response (without uid)."""

    address: str
    ca_bundle: str
    decide: Callable[[Json], Json] = lambda _request: {"allowed": True}
    requests: list[Json] = field(default_factory=list)


def patch(*operations: Json) -> Json:
    """An allowing response with a JSON patch."""
    encoded = base64.b64encode(json.dumps(operations).encode()).decode()
    return {"allowed": True, "patchType": "JSONPatch", "patch": encoded}


@contextmanager
def webhook_server(directory: Path) -> Iterator[WebhookServer]:
    """Serves as the Service `kube-system/hook` until the block ends."""
    ca, certificate, key = issue(("hook.kube-system.svc",))
    (directory / "crt").write_bytes(certificate)
    (directory / "key").write_bytes(key)
    served = WebhookServer("", base64.b64encode(ca).decode())

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            review = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            request = review["request"]
            served.requests.append(request)
            response = {"uid": request["uid"], **served.decide(request)}
            body = json.dumps({"apiVersion": review["apiVersion"], "kind": "AdmissionReview",
                               "response": response}).encode()  # fmt: skip
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            """Nothing: pytest shows the requests where a test fails."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(directory / "crt", directory / "key")
    server.socket = context.wrap_socket(server.socket, server_side=True)
    server.daemon_threads = True
    served.address = f"127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield served
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
