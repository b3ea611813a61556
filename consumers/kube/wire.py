"""The HTTP of the Kubernetes API: authenticated clients, and answers turned into objects or
KubeErrors.

lightkube reads the configuration and authenticates (kubeconfig, in-cluster token rotation, exec
plugins); requests are our own, because its client can't send delete preconditions and its typed
objects drop the fields they do not know.
"""

import asyncio
from typing import Any, Final

import httpx2
import msgspec
from lightkube.config.client_adapter import AsyncClient, Client, ConnectionParams
from lightkube.config.kubeconfig import KubeConfig, SingleConfig
from lightkube.core.exceptions import ConfigError

from consumers.kube.port import (
    AlreadyExists,
    Conflict,
    Denied,
    KubeError,
    KubeObject,
    NotFound,
    Throttled,
    Unreachable,
)
from consumers.runtime.errors import OperatorError
from consumers.runtime.settings import KubeSettings

RETRY_AFTER_MAX_S: Final = 60.0
#: How long who is cancelled waits for a request that is on its way out: many times a TLS handshake.
SENDING_S: Final = 2.0


class StatusDetails(msgspec.Struct):
    """Which object an error is about; without a name it is about the resource or the path."""

    name: str | None = None


class Status(msgspec.Struct):
    """What an error body says (Kubernetes API, meta/v1 Status)."""

    message: str | None = None
    reason: str | None = None
    code: int | None = None
    details: StatusDetails | None = None


class KubeConfigError(OperatorError):
    """The cluster can't be addressed: the text names the file, the cause and the next step."""


def load_config(settings: KubeSettings) -> SingleConfig:
    """The connection to use: the settings' kubeconfig, else in-cluster, else KUBECONFIG, else
    ~/.kube/config.

    Raises KubeConfigError.
    """
    where = settings.kubeconfig or "in-cluster, $KUBECONFIG and ~/.kube/config"
    try:
        if settings.kubeconfig is not None:
            loaded = KubeConfig.from_file(settings.kubeconfig)
        else:
            loaded = KubeConfig.from_env(service_account=settings.service_account)
        config = loaded.get(settings.context)
    except (ConfigError, KeyError, OSError, msgspec.ValidationError) as refused:
        raise KubeConfigError(
            f"no Kubernetes connection from {where}: {refused}: "
            "set ENI_LEDGER_KUBE__KUBECONFIG to a kubeconfig, or run in the cluster"
        ) from refused
    if config is None:
        raise KubeConfigError(f"no current context in {where}: set ENI_LEDGER_KUBE__CONTEXT")
    return config


def connect(settings: KubeSettings) -> httpx2.Client:
    """An authenticated client for threads. Raises KubeConfigError."""
    return Client(load_config(settings), _parameters(settings))


def connect_async(settings: KubeSettings) -> httpx2.AsyncClient:
    """An authenticated client for one event loop. Raises KubeConfigError."""
    return AsyncClient(load_config(settings), _parameters(settings))


async def send(
    client: httpx2.AsyncClient,
    request: httpx2.Request,
    *,
    stream: bool = False,
    sending_s: float = SENDING_S,
) -> httpx2.Response:
    """client.send(), which a cancellation lets come to its answer, for `sending_s` seconds at most.

    httpcore2 2.16 closes the connection of a TLS handshake that fails, and leaves it open when the
    handshake is cancelled.
    """
    sending = asyncio.create_task(client.send(request, stream=stream))
    try:
        return await asyncio.shield(sending)
    except asyncio.CancelledError:
        try:
            await asyncio.wait((sending,), timeout=sending_s)
        finally:
            sending.cancel()
            [outcome] = await asyncio.gather(sending, return_exceptions=True)
            if isinstance(outcome, httpx2.Response):
                await outcome.aclose()
        raise


def _parameters(settings: KubeSettings) -> ConnectionParams:
    return ConnectionParams(timeout=httpx2.Timeout(settings.request_timeout_s))


def unreachable(verb: str, target: str, cause: Exception) -> KubeError:
    """The error for an exception of the HTTP client: nothing came back, or nothing usable."""
    if isinstance(cause, ConfigError):
        return Denied(verb, target, code=401, reason="Unauthorized", message=str(cause))
    said = str(cause) or type(cause).__name__
    return Unreachable(verb, target, message=f"the API server gave no answer: {said}")


def refused_response(verb: str, target: str, response: httpx2.Response) -> KubeError:
    """The error for an answer that is not a success; its body is a Status, or anything."""
    body = response.content
    try:
        status = msgspec.json.decode(body, type=Status)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        status = Status(message=body[:200].decode(errors="replace").strip() or None)
    retry_after = response.headers.get("retry-after")
    return from_status(verb, target, status, response.status_code, retry_after)


def from_status(
    verb: str, target: str, status: Status, code: int, retry_after: str | None = None
) -> KubeError:
    """The error a Status stands for (also one inside a watch), with the next step."""
    reason, said = status.reason or "", status.message or "no message"
    resource = target.split(" ", 1)[0]
    if code in (401, 403):
        step = (
            f"grant verb {verb} on {resource} to this identity: deploy/rbac has it for each process"
            if code == 403
            else "the credentials are not accepted: check the kubeconfig or the service account"
        )
        return Denied(verb, target, code=code, reason=reason, message=f"{said}: {step}")
    if code == 404:
        missing = NotFound(verb, target, code=code, reason=reason, message=said)
        missing.resource_missing = status.details is None or not status.details.name
        return missing
    if code == 409:
        kind = AlreadyExists if reason == "AlreadyExists" else Conflict
        return kind(verb, target, code=code, reason=reason, message=said)
    if code == 429:
        return Throttled(
            verb, target, code=code, reason=reason, message=said, retry_after=_seconds(retry_after)
        )
    if code >= 500:
        return Unreachable(verb, target, code=code, reason=reason, message=said)
    return KubeError(verb, target, code=code, reason=reason, message=said)


def _seconds(header: str | None) -> float:
    """Retry-After in seconds; the API server sends whole seconds, a proxy may send a date."""
    try:
        return min(max(float(header or 1.0), 0.0), RETRY_AFTER_MAX_S)
    except ValueError:
        return 1.0


def decode_object(verb: str, target: str, body: bytes) -> dict[str, Any]:
    """The object in a successful answer. Raises Unreachable if it is not one (a proxy's page)."""
    try:
        return msgspec.json.decode(body, type=dict[str, Any])
    except (msgspec.MsgspecError, ValueError, RecursionError) as unreadable:
        raise Unreachable(
            verb, target, message=f"the answer is not a JSON object: {unreadable}"
        ) from unreadable


def exchange(
    client: httpx2.Client,
    verb: str,
    target: str,
    method: str,
    path: str,
    *,
    parameters: dict[str, str] | None = None,
    body: Any = None,
) -> KubeObject:
    """One request. `verb` is RBAC's; raises KubeError for everything but a success."""
    try:
        # httpx2's own `json=` is the encoder; a GET has no body and must not claim one.
        extra = {} if body is None else {"json": body}
        response = client.request(method, path, params=parameters, **extra)
    except (httpx2.HTTPError, ConfigError) as failure:
        raise unreachable(verb, target, failure) from failure
    if not response.is_success:
        raise refused_response(verb, target, response)
    return decode_object(verb, target, response.content)
