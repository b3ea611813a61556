"""The webhook process: remember the cluster, serve admission over TLS, keep the API server's trust.

It needs neither Kafka nor PostgreSQL, and goes on from memory when the API server is away.
"""

import asyncio
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from functools import partial
from typing import Protocol
from urllib.parse import urlsplit

import httpx2
import structlog

from consumers.admission.answers import Answers
from consumers.admission.apiserver import ApiServer
from consumers.admission.app import application
from consumers.admission.certificates import CertificateError
from consumers.admission.keeper import CertificateKeeper
from consumers.admission.memory import WatchedMemory
from consumers.admission.registration import RegistrationError, register, trust
from consumers.kube import wire
from consumers.kube.port import KubeError
from consumers.kube.reflector import Reflector, Sink
from consumers.kube.resources import (
    ENI_CONFIG_MAP,
    NAMESPACES,
    PODENIS,
    PODNETWORKINGS,
    Resource,
)
from consumers.runtime import metrics
from consumers.runtime.errors import OperatorError
from consumers.runtime.policy import pod_policy
from consumers.runtime.serving import serving
from consumers.runtime.settings import KubeSettings, Settings, WebhookSettings

_log = structlog.get_logger(__name__)

FOLLOWING = metrics.gauge(
    "admission_following", "1 while changes of this resource arrive", ("resource",)
)

#: How often the Secret and the webhook configurations are looked at: reads only, when all is well.
UPKEEP_S = 60.0
#: And how soon again after that failed.
UPKEEP_RETRY_S = 5.0


class Health(Protocol):
    """What /readyz is told."""

    def ready(self, name: str, ok: bool, reason: str = "") -> None: ...


async def run(settings: Settings, stop: asyncio.Event, health: Health) -> None:
    """Run until `stop` is set. Raises wire.KubeConfigError, ListenError and, in a shadow, OperatorError
    at start."""
    if settings.shadow:
        raise OperatorError(
            "a shadow registers no webhooks: unset ENI_LEDGER_SHADOW for this process"
        )
    memory = WatchedMemory()
    health.ready("memory", False, "nothing was read from the API server yet")
    health.ready("certificate", False, "not looked at yet")
    async with wire.connect_async(settings.kube) as client:
        keeper = CertificateKeeper(
            ApiServer(client),
            secret=f"{settings.webhook.name}-webhook-cert",
            namespace=settings.webhook.service_namespace,
            names=server_names(settings.webhook),
            now=lambda: datetime.now(UTC),
        )
        answers = Answers(memory, pod_policy(settings.policy, settings.webhook))
        async with asyncio.TaskGroup() as tasks:
            background = [
                *_follow(tasks, client, settings.kube, memory),
                tasks.create_task(_report_memory(memory, health), name="memory"),
            ]
            loaded = asyncio.Event()
            background.append(
                tasks.create_task(
                    _upkeep(ApiServer(client), keeper, settings.webhook, memory, loaded, health),
                    name="upkeep",
                )
            )
            await _serve(settings.webhook, keeper, answers, loaded, stop)
            for task in background:
                task.cancel()


def server_names(webhook: WebhookSettings) -> tuple[str, ...]:
    """What the certificate must be for: the Service's names, and the host of register_url."""
    service, namespace = webhook.service_name, webhook.service_namespace
    names = [f"{service}.{namespace}.svc", f"{service}.{namespace}", service]
    if webhook.register_url is not None:
        names.append(urlsplit(webhook.register_url).hostname or webhook.host)
    return tuple(names)


async def _serve(
    webhook: WebhookSettings,
    keeper: CertificateKeeper,
    answers: Answers,
    loaded: asyncio.Event,
    stop: asyncio.Event,
) -> None:
    """Listen as soon as there is a certificate to show, until asked to stop."""
    if not await _first(loaded, stop):
        return
    async with serving(
        application(answers),
        webhook.host,
        webhook.port,
        what="the webhook server",
        setting="ENI_LEDGER_WEBHOOK__PORT",
        tls=keeper.context,
    ) as port:
        _log.info("admission is served", host=webhook.host, port=port)
        await stop.wait()


async def _first(wanted: asyncio.Event, stop: asyncio.Event) -> bool:
    """Wait for either; whether it was `wanted` and not the order to stop."""
    waiting = [asyncio.create_task(wanted.wait()), asyncio.create_task(stop.wait())]
    await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
    for task in waiting:
        task.cancel()
    return not stop.is_set()


def _follow(
    tasks: asyncio.TaskGroup,
    client: httpx2.AsyncClient,
    kube: KubeSettings,
    memory: WatchedMemory,
) -> list[asyncio.Task[None]]:
    followed: Sequence[tuple[Resource, Sink]] = (
        (PODNETWORKINGS, memory.take_podnetworkings),
        (NAMESPACES, memory.take_namespaces),
        (PODENIS, memory.take_podenis),
        (ENI_CONFIG_MAP, memory.take_config),
    )
    return [
        tasks.create_task(
            Reflector(
                client, resource, sink, page_size=kube.page_size, report=_reporter(resource)
            ).run(),
            name=f"follow {resource.plural}",
        )
        for resource, sink in followed
    ]


def _reporter(resource: Resource) -> Callable[[bool, str], None]:
    """Not following is a metric and no reason to be taken out of service: memory still answers."""

    def report(ok: bool, _reason: str) -> None:
        FOLLOWING.labels(resource=resource.plural).set(1 if ok else 0)

    return report


async def _report_memory(memory: WatchedMemory, health: Health) -> None:
    """Say what is still missing, until nothing is; after that memory never gets worse."""
    while missing := memory.missing:
        health.ready("memory", False, f"not read yet: {', '.join(missing)}")
        await memory.wait_for(partial(_differs, memory, missing), UPKEEP_S)
    health.ready("memory", True)


def _differs(memory: WatchedMemory, missing: tuple[str, ...]) -> bool:
    return memory.missing != missing


async def _upkeep(
    api: ApiServer,
    keeper: CertificateKeeper,
    webhook: WebhookSettings,
    memory: WatchedMemory,
    loaded: asyncio.Event,
    health: Health,
) -> None:
    """Keep certificate and configurations in order, for ever; a failure is told and tried again.

    Once all was in order, a failure (the API server is away) is no reason to be taken out of
    service: the certificate in use goes on being good for months.
    """
    settled = False
    while True:
        pause = UPKEEP_S
        try:
            bundle = await keeper.refresh()
            loaded.set()
            # Asking for Pods before we can answer would let them pass unseen (failurePolicy).
            while not await memory.wait_for(lambda: not memory.missing, UPKEEP_S):
                continue
            if webhook.register_url is not None:
                await register(api, webhook, bundle.authorities)
            else:
                await trust(api, webhook, bundle.authorities)
            settled = True
            health.ready("certificate", True)
        except (KubeError, CertificateError, RegistrationError) as failure:
            _log.warning("certificate or registration not in order", cause=str(failure))
            health.ready("certificate", settled, str(failure))
            pause = UPKEEP_RETRY_S
        await asyncio.sleep(pause)
