"""Explains one Pod by looking at the live cluster: what the command line and the console both ask."""

from typing import Final

import httpx2

from consumers.kube.names import ENI_CONFIG, SYSTEM_NAMESPACE
from consumers.kube.port import KubeObject, NotFound
from consumers.kube.reads import get_object, list_objects
from consumers.kube.resources import (
    ENI_CONFIG_MAP,
    NAMESPACES,
    PODENIS,
    PODNETWORKINGS,
    PODS,
    Resource,
)
from consumers.runtime.errors import OperatorError
from ledger.rules.admission_explanation import Explanation, explain_pod
from ledger.rules.admission_pods import ClusterView, PodPolicy
from ledger.rules.eni_config import EniConfig, EniConfigError
from ledger.rules.objects import text_map_at
from ledger.rules.podnetworkings import PodNetworking

NOT_INSTALLED: Final = "are not installed in this cluster: apply deploy/crds first"


class NothingToExplain(OperatorError):  # noqa: N818 - names what was found
    """There is no such Pod, or no such namespace: names it, and what to do."""


def explain_live_pod(
    client: httpx2.Client,
    namespace: str,
    name: str,
    policy: PodPolicy,
    manifest: KubeObject | None = None,
) -> Explanation:
    """Why a Pod has, or with `manifest` will have, the network it has.

    Raises NothingToExplain, OperatorError where the CRDs are missing, KubeError, and ObjectError
    for a Pod that can't be read.
    """
    obj = manifest or get_object(client, PODS, name, namespace)
    if obj is None:
        raise NothingToExplain(
            f"Pod {namespace}/{name} does not exist: check the name, or explain its manifest: "
            f"eni-ledger explain pod {namespace}/{name} --file pod.yaml"
        )
    found = get_object(client, NAMESPACES, namespace)
    if found is None and manifest is None:
        raise NothingToExplain(f"namespace {namespace} does not exist")
    view = ClusterView(
        podnetworkings=[PodNetworking.from_object(each) for each in _list(client, PODNETWORKINGS)],
        namespace_labels=text_map_at(found or {}, "metadata", "labels"),
        podeni=get_object(client, PODENIS, name, namespace),
        eni_config=_eni_config(client),
    )
    return explain_pod(obj, namespace, view, policy)


def _eni_config(client: httpx2.Client) -> EniConfig | EniConfigError | None:
    found = get_object(client, ENI_CONFIG_MAP, ENI_CONFIG, SYSTEM_NAMESPACE)
    if found is None:
        return None
    try:
        return EniConfig.from_object(found)
    except EniConfigError as wrong:
        return wrong


def _list(client: httpx2.Client, resource: Resource) -> list[KubeObject]:
    try:
        return list(list_objects(client, resource))
    except NotFound as missing:
        raise OperatorError(f"{resource.rbac} {NOT_INSTALLED}") from missing
