"""Reads request bodies in Kubernetes' protobuf form, as `kubectl create ns` and its likes send them.

Only the kinds that kubectl's generators, `auth` and `drain` send. A field not listed is refused (415) rather
than lost. Wire format: Protocol Buffers encoding; envelope and field numbers: k8s.io/api `generated.proto`.
"""

import base64
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from deploy.local.kubernetes.errors import ApiError, Json, bad_request
from deploy.local.kubernetes.sources import timestamp

MEDIA_TYPE = "application/vnd.kubernetes.protobuf"
_MAGIC = b"k8s\x00"

Field = tuple[str, str]
"""(JSON name, type). Types: text, bytes, int, bool, time, int-or-text, or the name of a message; `*` before
it = repeated, `%` before it = a map from text."""

_OBJECT: dict[int, Field] = {1: ("metadata", "ObjectMeta")}
_MESSAGES: Mapping[str, Mapping[int, Field]] = {
    "ObjectMeta": {
        1: ("name", "text"), 2: ("generateName", "text"), 3: ("namespace", "text"),
        4: ("selfLink", "text"), 5: ("uid", "text"), 6: ("resourceVersion", "text"),
        7: ("generation", "int"), 8: ("creationTimestamp", "time"), 9: ("deletionTimestamp", "time"),
        10: ("deletionGracePeriodSeconds", "int"), 11: ("labels", "%text"),
        12: ("annotations", "%text"), 14: ("finalizers", "*text"),
    },
    "Namespace": {**_OBJECT, 2: ("spec", "NamespaceSpec"), 3: ("status", "NamespaceStatus")},
    "NamespaceSpec": {1: ("finalizers", "*text")},
    "NamespaceStatus": {1: ("phase", "text")},
    "ConfigMap": {**_OBJECT, 2: ("data", "%text"), 3: ("binaryData", "%bytes"), 4: ("immutable", "bool")},
    "Secret": {
        **_OBJECT, 2: ("data", "%bytes"), 3: ("type", "text"), 4: ("stringData", "%text"),
        5: ("immutable", "bool"),
    },
    "ServiceAccount": {**_OBJECT, 4: ("automountServiceAccountToken", "bool")},
    "Service": {**_OBJECT, 2: ("spec", "ServiceSpec"), 3: ("status", "ServiceStatus")},
    "ServiceSpec": {
        1: ("ports", "*ServicePort"), 2: ("selector", "%text"), 3: ("clusterIP", "text"),
        4: ("type", "text"), 5: ("externalIPs", "*text"), 7: ("sessionAffinity", "text"),
        8: ("loadBalancerIP", "text"), 10: ("externalName", "text"),
        11: ("externalTrafficPolicy", "text"), 12: ("healthCheckNodePort", "int"),
        13: ("publishNotReadyAddresses", "bool"), 18: ("clusterIPs", "*text"),
    },
    "ServicePort": {
        1: ("name", "text"), 2: ("protocol", "text"), 3: ("port", "int"),
        4: ("targetPort", "int-or-text"), 5: ("nodePort", "int"), 6: ("appProtocol", "text"),
    },
    "ServiceStatus": {1: ("loadBalancer", "Empty")},
    "Deployment": {**_OBJECT, 2: ("spec", "DeploymentSpec"), 3: ("status", "Ignored")},
    "DeploymentSpec": {
        1: ("replicas", "int"), 2: ("selector", "LabelSelector"), 3: ("template", "PodTemplateSpec"),
        4: ("strategy", "DeploymentStrategy"), 5: ("minReadySeconds", "int"),
        6: ("revisionHistoryLimit", "int"), 7: ("paused", "bool"),
        9: ("progressDeadlineSeconds", "int"),
    },
    "DeploymentStrategy": {1: ("type", "text")},
    "LabelSelector": {1: ("matchLabels", "%text")},
    "PodTemplateSpec": {**_OBJECT, 2: ("spec", "PodSpec")},
    "Pod": {**_OBJECT, 2: ("spec", "PodSpec"), 3: ("status", "Ignored")},
    "PodSpec": {
        2: ("containers", "*Container"), 3: ("restartPolicy", "text"),
        4: ("terminationGracePeriodSeconds", "int"), 5: ("activeDeadlineSeconds", "int"),
        6: ("dnsPolicy", "text"), 7: ("nodeSelector", "%text"), 8: ("serviceAccountName", "text"),
        9: ("serviceAccount", "text"), 10: ("nodeName", "text"), 11: ("hostNetwork", "bool"),
        12: ("hostPID", "bool"), 13: ("hostIPC", "bool"), 14: ("securityContext", "Empty"),
        16: ("hostname", "text"), 17: ("subdomain", "text"), 19: ("schedulerName", "text"),
        24: ("priorityClassName", "text"), 29: ("runtimeClassName", "text"),
    },
    "Container": {
        1: ("name", "text"), 2: ("image", "text"), 3: ("command", "*text"), 4: ("args", "*text"),
        5: ("workingDir", "text"), 6: ("ports", "*ContainerPort"), 7: ("env", "*EnvVar"),
        8: ("resources", "ResourceRequirements"), 13: ("terminationMessagePath", "text"),
        14: ("imagePullPolicy", "text"), 16: ("stdin", "bool"), 17: ("stdinOnce", "bool"),
        18: ("tty", "bool"), 20: ("terminationMessagePolicy", "text"),
    },
    "ContainerPort": {
        1: ("name", "text"), 2: ("hostPort", "int"), 3: ("containerPort", "int"),
        4: ("protocol", "text"), 5: ("hostIP", "text"),
    },
    "EnvVar": {1: ("name", "text"), 2: ("value", "text")},
    "ResourceRequirements": {1: ("limits", "%Quantity"), 2: ("requests", "%Quantity")},
    "Role": {**_OBJECT, 2: ("rules", "*PolicyRule")},
    "ClusterRole": {**_OBJECT, 2: ("rules", "*PolicyRule")},
    "PolicyRule": {
        1: ("verbs", "*text"), 2: ("apiGroups", "*text"), 3: ("resources", "*text"),
        4: ("resourceNames", "*text"), 5: ("nonResourceURLs", "*text"),
    },
    "RoleBinding": {**_OBJECT, 2: ("subjects", "*Subject"), 3: ("roleRef", "RoleRef")},
    "ClusterRoleBinding": {**_OBJECT, 2: ("subjects", "*Subject"), 3: ("roleRef", "RoleRef")},
    "Subject": {1: ("kind", "text"), 2: ("apiGroup", "text"), 3: ("name", "text"), 4: ("namespace", "text")},
    "RoleRef": {1: ("apiGroup", "text"), 2: ("kind", "text"), 3: ("name", "text")},
    "Scale": {**_OBJECT, 2: ("spec", "ScaleSpec"), 3: ("status", "Ignored")},
    "ScaleSpec": {1: ("replicas", "int")},
    "Eviction": {**_OBJECT, 2: ("deleteOptions", "DeleteOptions")},
    "DeleteOptions": {
        1: ("gracePeriodSeconds", "int"), 2: ("preconditions", "Preconditions"),
        3: ("orphanDependents", "bool"), 4: ("propagationPolicy", "text"), 5: ("dryRun", "*text"),
    },
    "Preconditions": {1: ("uid", "text"), 2: ("resourceVersion", "text")},
    "SelfSubjectReview": {**_OBJECT, 2: ("status", "Ignored")},
    "SelfSubjectAccessReview": {**_OBJECT, 2: ("spec", "AccessSpec"), 3: ("status", "Ignored")},
    "AccessSpec": {
        1: ("resourceAttributes", "ResourceAttributes"),
        2: ("nonResourceAttributes", "NonResourceAttributes"),
    },
    "ResourceAttributes": {
        1: ("namespace", "text"), 2: ("verb", "text"), 3: ("group", "text"), 4: ("version", "text"),
        5: ("resource", "text"), 6: ("subresource", "text"), 7: ("name", "text"),
    },
    "NonResourceAttributes": {1: ("path", "text"), 2: ("verb", "text")},
    "Empty": {},
}  # fmt: skip
_KEPT_WHEN_ZERO = frozenset({"replicas", "gracePeriodSeconds"})


def decode(content: bytes) -> Json:
    """A whole body as a JSON object; 400 when it is damaged, 415 for a kind not listed here."""
    if not content.startswith(_MAGIC):
        raise bad_request("the body is not in Kubernetes' protobuf form: it lacks its magic number")
    try:
        envelope = dict(_fields(content[len(_MAGIC) :]))
        names = dict(_fields(_as_bytes(envelope.get(1, b""))))
        raw = _as_bytes(envelope.get(2, b""))
        version, kind = (_as_bytes(names.get(n, b"")).decode() for n in (1, 2))
        if kind not in _MESSAGES:
            raise _unlisted(f"kind {kind!r}")
        return {"apiVersion": version, "kind": kind, **_message(raw, kind)}
    except (IndexError, UnicodeDecodeError) as error:
        raise bad_request(f"the protobuf body is damaged: {error}") from error


def _unlisted(what: str) -> ApiError:
    text = (
        f"the simulated API server does not read {what} from protobuf: send JSON or YAML, for example "
        "with kubectl apply -f or kubectl create -f"
    )
    return ApiError(415, "UnsupportedMediaType", text)


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if not byte & 0x80:
            return value, at
        shift += 7


def _fields(data: bytes) -> Iterator[tuple[int, int | bytes]]:
    """(field number, varint or bytes) of one message."""
    at = 0
    while at < len(data):
        tag, at = _varint(data, at)
        number, wire = tag >> 3, tag & 7
        if wire == 0:
            value, at = _varint(data, at)
            yield number, value
        elif wire == 2:
            length, at = _varint(data, at)
            if at + length > len(data):
                raise IndexError("a field is longer than the body")
            yield number, data[at : at + length]
            at += length
        elif wire in (1, 5):
            width = 8 if wire == 1 else 4
            yield number, data[at : at + width]
            at += width
        else:
            raise IndexError(f"unknown wire type {wire}")


def _as_bytes(value: int | bytes) -> bytes:
    if isinstance(value, int):
        raise IndexError("a number where bytes belong")
    return value


def _message(data: bytes, name: str) -> Json:
    known = _MESSAGES[name]
    result: Json = {}
    for number, raw in _fields(data):
        if number not in known:
            raise _unlisted(f"field {number} of {name}")
        field, kind = known[number]
        if kind == "Ignored":
            continue
        if kind.startswith("*"):
            result.setdefault(field, []).append(_value(raw, kind[1:]))
        elif kind.startswith("%"):
            entry = dict(_fields(_as_bytes(raw)))
            key = _as_bytes(entry.get(1, b"")).decode()
            result.setdefault(field, {})[key] = _value(entry.get(2, b""), kind[1:])
        else:
            value = _value(raw, kind)
            if value or field in _KEPT_WHEN_ZERO:
                result[field] = value
    return result


def _value(raw: int | bytes, kind: str) -> Any:
    if kind == "int":
        number = raw if isinstance(raw, int) else 0
        return number - (1 << 64) if number >= 1 << 63 else number
    if kind == "bool":
        return bool(raw)
    data = _as_bytes(raw)
    match kind:
        case "text":
            return data.decode()
        case "bytes":
            return base64.b64encode(data).decode()
        case "Quantity":
            return _as_bytes(dict(_fields(data)).get(1, b"")).decode()
        case "time":
            seconds = dict(_fields(data)).get(1)
            return (
                timestamp(datetime.fromtimestamp(seconds, UTC))
                if isinstance(seconds, int)
                else None
            )
        case "int-or-text":
            parts = dict(_fields(data))
            return (
                _value(parts.get(3, b""), "text")
                if parts.get(1)
                else _value(parts.get(2, 0), "int")
            )
    return _message(data, kind)
