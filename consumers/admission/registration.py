"""The webhook configurations: what they say, and keeping them trusting our certificate.

In a cluster the Helm chart installs them and we fill in the caBundle, where it is empty or an older
one of ours (as the incumbent does, reference §9). The local stack has no chart: there, and wherever
`webhook.register_url` is set, the process registers itself under that URL.
"""

import base64
import binascii
from typing import Any

import structlog

from consumers.admission.apiserver import MUTATING, VALIDATING, ApiServer
from consumers.admission.certificates import made_by_us
from consumers.kube.names import GROUP, INCUMBENT, NAMESPACE_LABEL_POD_ENI, VERSION
from consumers.kube.port import KubeObject
from consumers.kube.resources import Resource
from consumers.runtime.settings import WebhookSettings

_log = structlog.get_logger(__name__)

PATHS = {MUTATING.plural: "/mutating", VALIDATING.plural: "/validate"}
TIMEOUT_S = 10


class RegistrationError(Exception):
    """The webhooks can't be registered: names the object, the cause and the next step."""


def mutating_configuration(settings: WebhookSettings, ca_bundle: bytes) -> KubeObject:
    """Pods and PodNetworkings at CREATE (reference §2)."""
    webhook = {
        "name": f"mutating.{settings.name}.io",
        "rules": [
            _rule("", "v1", "pods", "Namespaced", "CREATE"),
            _rule(GROUP, VERSION, "podnetworkings", "Cluster", "CREATE"),
        ],
        "namespaceSelector": _namespaces(settings),
        "failurePolicy": settings.failure_policy,
        # Admission recognises its own output: asked again after another webhook changed the Pod's
        # labels, it can still match it.
        "reinvocationPolicy": "IfNeeded",
        **_common(settings, MUTATING, ca_bundle),
    }
    return _configuration("MutatingWebhookConfiguration", settings, webhook)


def validating_configuration(settings: WebhookSettings, ca_bundle: bytes) -> KubeObject:
    """PodNetworkings at CREATE and UPDATE; one that nobody checked is never taken."""
    webhook = {
        "name": f"validate.{settings.name}.io",
        "rules": [_rule(GROUP, VERSION, "podnetworkings", "Cluster", "CREATE", "UPDATE")],
        "failurePolicy": "Fail",
        **_common(settings, VALIDATING, ca_bundle),
    }
    return _configuration("ValidatingWebhookConfiguration", settings, webhook)


async def register(api: ApiServer, settings: WebhookSettings, ca_bundle: bytes) -> None:
    """Create our configurations, or make them what they should be. No write when they are that.

    Raises RegistrationError beside an incumbent that would deny our output, and KubeError.
    """
    await _refuse_beside_incumbent(api, settings)
    for resource, wanted in (
        (MUTATING, mutating_configuration(settings, ca_bundle)),
        (VALIDATING, validating_configuration(settings, ca_bundle)),
    ):
        found = await api.get(resource, settings.name)
        if found is None:
            await api.create(resource, wanted)
        elif not _contains(found.get("webhooks"), wanted["webhooks"]):
            await api.replace(resource, {**found, "webhooks": wanted["webhooks"]})
        else:
            continue
        _log.info("registered", resource=resource.plural, name=settings.name)


async def trust(api: ApiServer, settings: WebhookSettings, ca_bundle: bytes) -> None:
    """Put `ca_bundle` into the installed configurations, where there is none or an older one of
    ours.

    Raises RegistrationError when a configuration is missing, and KubeError.
    """
    for resource in (MUTATING, VALIDATING):
        found = await api.get(resource, settings.name)
        if found is None:
            raise RegistrationError(
                f"{resource.rbac} {settings.name} does not exist: install the Helm chart, or set "
                f"webhook.register_url to let this process register itself"
            )
        webhooks = [_trusting(each, ca_bundle) for each in found.get("webhooks") or []]
        if webhooks != found.get("webhooks"):
            await api.replace(resource, {**found, "webhooks": webhooks})
            _log.info("caBundle written", resource=resource.plural, name=settings.name)


async def _refuse_beside_incumbent(api: ApiServer, settings: WebhookSettings) -> None:
    """The API server asks webhooks in the order of their configurations' names. The incumbent denies
    what we annotated; we recognise what it annotated. So both work only when it is asked first."""
    if settings.name > INCUMBENT:
        return
    incumbent = await api.get(MUTATING, INCUMBENT)
    rules = [
        rule for hook in (incumbent or {}).get("webhooks") or [] for rule in hook.get("rules") or []
    ]
    if any("pods" in (rule.get("resources") or []) for rule in rules):
        raise RegistrationError(
            f"{MUTATING.rbac} {INCUMBENT} is installed and would be asked after {settings.name}, "
            f"and deny the Pods that were annotated by it: remove it, or set webhook.name to one "
            f"that sorts after {INCUMBENT}"
        )


def _common(settings: WebhookSettings, resource: Resource, ca_bundle: bytes) -> dict[str, Any]:
    path = PATHS[resource.plural]
    client: dict[str, Any] = {"caBundle": base64.b64encode(ca_bundle).decode("ascii")}
    if settings.register_url is not None:
        client["url"] = settings.register_url.rstrip("/") + path
    else:
        client["service"] = {
            "name": settings.service_name,
            "namespace": settings.service_namespace,
            "path": path,
            "port": 443,
        }
    return {
        "admissionReviewVersions": ["v1", "v1beta1"],
        "sideEffects": "None",
        "timeoutSeconds": TIMEOUT_S,
        "matchPolicy": "Equivalent",
        "clientConfig": client,
    }


def _namespaces(settings: WebhookSettings) -> dict[str, Any]:
    expressions = [{"key": NAMESPACE_LABEL_POD_ENI, "operator": "NotIn", "values": ["false"]}]
    if settings.excluded_namespaces:
        # kube-system, ours, Kafka's and PostgreSQL's must start while we are down.
        expressions.append(
            {
                "key": "kubernetes.io/metadata.name",
                "operator": "NotIn",
                "values": sorted(settings.excluded_namespaces),
            }
        )
    return {"matchExpressions": expressions}


def _rule(group: str, version: str, plural: str, scope: str, *operations: str) -> dict[str, Any]:
    return {
        "apiGroups": [group],
        "apiVersions": [version],
        "resources": [plural],
        "operations": list(operations),
        "scope": scope,
    }


def _configuration(kind: str, settings: WebhookSettings, webhook: dict[str, Any]) -> KubeObject:
    return {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": kind,
        "metadata": {"name": settings.name, "labels": {"app.kubernetes.io/name": "eni-ledger"}},
        "webhooks": [webhook],
    }


def _trusting(webhook: dict[str, Any], ca_bundle: bytes) -> dict[str, Any]:
    client = webhook.get("clientConfig") or {}
    try:
        # Charts often install a line feed where there is nothing to say yet.
        present = base64.b64decode(client.get("caBundle") or "", validate=True).strip()
    except (binascii.Error, TypeError):
        return webhook  # somebody's own, and broken: theirs to correct
    if present == ca_bundle.strip() or (present and not made_by_us(present)):
        return webhook
    trusted = {**client, "caBundle": base64.b64encode(ca_bundle).decode("ascii")}
    return {**webhook, "clientConfig": trusted}


def _contains(found: Any, wanted: Any) -> bool:
    """Whether `found` says all that `wanted` says; the API server adds its defaults."""
    if isinstance(wanted, dict):
        return isinstance(found, dict) and all(
            key in found and _contains(found[key], value) for key, value in wanted.items()
        )
    if isinstance(wanted, list):
        return (
            isinstance(found, list)
            and len(found) == len(wanted)
            and all(map(_contains, found, wanted))
        )
    return bool(found == wanted)
