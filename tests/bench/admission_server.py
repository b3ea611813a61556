"""The webhook as it is served, beside an empty handler on the same server: a process of its own.

Prints one line of JSON, `{"port": …, "authorities": "<PEM>"}`, when it listens; ends with its stdin.
"""

import asyncio
import json
import ssl
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from consumers.admission.answers import Answers
from consumers.admission.app import application
from consumers.admission.certificates import Bundle, new_bundle
from consumers.runtime.logging import configure_logging
from consumers.runtime.policy import pod_policy
from consumers.runtime.serving import serving
from consumers.runtime.settings import LogSettings, PolicySettings, WebhookSettings
from tests.unit.admission.fakes import FakeMemory
from tests.unit.rules.admission_cases import ENI_CONFIG, ready_podnetworking

#: A cluster with some policies; the last one in order is what the benchmark's Pod gets.
PODNETWORKINGS = 20


async def empty(request: Request) -> Response:
    """What any webhook has to do at least: take the body, answer 200."""
    await request.body()
    return Response(b"{}", media_type="application/json")


def memory() -> FakeMemory:
    others = [
        ready_podnetworking(
            f"other-{number:02}",
            selector={
                "podSelector": {"matchLabels": {"app": f"app-{number}", "tier": "web"}},
                "namespaceSelector": {"matchLabels": {"team": f"team-{number}"}},
            },
        )
        for number in range(PODNETWORKINGS - 1)
    ]
    return FakeMemory(
        [*others, ready_podnetworking()], {"example": {"team": "none"}}, eni_config=ENI_CONFIG
    )


def tls(bundle: Bundle) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with tempfile.TemporaryDirectory() as folder:
        certificate, key = Path(folder, "tls.crt"), Path(folder, "tls.key")
        certificate.write_bytes(bundle.certificate)
        key.write_bytes(bundle.key)
        context.load_cert_chain(certificate, key)
    return context


async def main() -> None:
    configure_logging(LogSettings(), process="webhook")
    bundle = new_bundle(["127.0.0.1"], datetime.now(UTC))
    app = application(Answers(memory(), pod_policy(PolicySettings(), WebhookSettings())))
    app.router.routes.append(Route("/empty", empty, methods=["POST"]))
    async with serving(
        app, "127.0.0.1", 0, what="bench", setting="nothing", tls=tls(bundle)
    ) as port:
        told = {"port": port, "authorities": bundle.authorities.decode()}
        sys.stdout.write(json.dumps(told) + "\n")
        sys.stdout.flush()
        await asyncio.to_thread(sys.stdin.read)


if __name__ == "__main__":
    asyncio.run(main())
