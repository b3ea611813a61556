"""Tells users, by Kubernetes events with the incumbent's reasons, what became of their Pod's network."""

from consumers.kube.names import API_VERSION, KIND_PODENI
from consumers.kube.port import EventNote, ObjectRef
from consumers.reconciler.tools import Tools
from ledger.rules.allocation import Allocation

#: API -> (action, reason on success, reason on failure); reference §6.11.
_WORDS = {
    "CreateNetworkInterface": ("CreateENI", "CreateENISucceed", "CreateENIFailed"),
    "AttachNetworkInterface": ("AttachENI", "AttachENISucceed", "AttachENIFailed"),
    "DetachNetworkInterface": ("DetachENI", "DetachENISucceed", "DetachENIFailed"),
    "DeleteNetworkInterface": ("DeleteENI", "DeleteENISucceed", "DeleteENIFailed"),
    "ModifyNetworkInterfaceAttribute": ("ModifyENI", "ModifyENISucceed", "ModifyENIFailed"),
    "UpdatePodENI": ("UpdatePodENI", "UpdatePodENISucceed", "UpdatePodENIFailed"),
    "PodAdmit": ("CreatePod", "PodAdmitted", "MissedByAdmission"),
    "PodNetworkingChosen": ("CreatePod", "PodNetworkingChosen", "SeveralPodNetworkingsMatch"),
    "PodCreate": ("CreatePod", "PodCreateSucceed", "PodCreateFailed"),
}


def tell_pod(tools: Tools, a: Allocation, about: str, note: str, *, failed: bool) -> None:
    """One event on the Pod, related to its PodENI. Best effort: the ledger is the record."""
    pod = ObjectRef("v1", "Pod", a.pod, a.namespace, a.pod_uid)
    podeni = ObjectRef(API_VERSION, KIND_PODENI, a.pod, a.namespace, a.podeni_uid or "")
    _publish(tools, pod, podeni, about, note, failed=failed)


def tell_pod_named(tools: Tools, namespace: str, pod: str, uid: str, note: str) -> None:
    """A failure of a Pod for which nothing could be allocated at all."""
    _publish(
        tools, ObjectRef("v1", "Pod", pod, namespace, uid), None, "PodCreate", note, failed=True
    )


def tell_missed(tools: Tools, namespace: str, pod: str, uid: str, note: str) -> None:
    """A Pod that admission missed; the incumbent has no such event."""
    _publish(
        tools, ObjectRef("v1", "Pod", pod, namespace, uid), None, "PodAdmit", note, failed=True
    )


def _publish(
    tools: Tools,
    regarding: ObjectRef,
    related: ObjectRef | None,
    about: str,
    note: str,
    *,
    failed: bool,
) -> None:
    action, succeeded, did_not = _WORDS[about]
    tools.kube.publish_event(
        EventNote(
            regarding=regarding,
            related=related,
            reason=did_not if failed else succeeded,
            action=action,
            note=note,
            room="reconciler",
            type="Warning" if failed else "Normal",
        )
    )
