"""The chart's values.schema.json, generated: `settings` from our own Settings, the rest from here.

`python -m deploy.helm.values_schema > deploy/helm/eni-ledger/values.schema.json` writes it anew; a
test compares. Helm refuses a value that does not fit, with its path and what is allowed.
"""

import json
import sys
from collections.abc import Mapping
from typing import Any, Final

from consumers.runtime.settings import Settings

Schema = dict[str, Any]

#: What the chart itself writes into the settings, from other values or from where a process runs.
OURS: Final[Mapping[str, frozenset[str]]] = {
    "": frozenset({"local_stack", "http", "webhook"}),
    "kafka": frozenset({"sasl_username", "ssl_cafile", "ssl_certfile", "ssl_keyfile"}),
    "kube": frozenset({"kubeconfig", "context", "service_account"}),
    "cloud": frozenset({"access_key_id", "credential_path"}),
    "console": frozenset({"host", "port", "authentication"}),
}

PORT: Final[Schema] = {"type": "integer", "minimum": 1024, "maximum": 65535}
NAME: Final[Schema] = {"type": "string", "pattern": "^[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?$"}
OPTIONAL_NAME: Final[Schema] = {
    "type": "string",
    "pattern": "^([a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?)?$",
}
KEY: Final[Schema] = {"type": "string", "pattern": "^[A-Za-z0-9._-]+$"}
TEXT: Final[Schema] = {"type": "string"}
SWITCH: Final[Schema] = {"type": "boolean"}
LABELS: Final[Schema] = {"type": "object", "additionalProperties": {"type": "string"}}
#: Kubernetes' own shapes: the API server checks what is in them.
OBJECT: Final[Schema] = {"type": "object"}
OBJECTS: Final[Schema] = {"type": "array", "items": {"type": "object"}}
QUANTITY: Final[Schema] = {
    "type": ["string", "integer", "number"],
    "minimum": 0,
    "pattern": "^[0-9]+([.][0-9]+)?(m|k|Ki|M|Mi|G|Gi)?$",
}
DURATION: Final[Schema] = {"type": "string", "pattern": "^[0-9]+(ms|s|m|h)$"}


def document() -> Schema:
    """The whole schema."""
    parts: Schema = {
        "nameOverride": OPTIONAL_NAME,
        "global": OBJECT,  # Helm's own, handed down to every chart
        "image": _image(),
        "settings": settings_schema(),
        "postgres": _postgres(),
        "kafka": _kafka(),
        "credentials": _credentials(),
        "incumbent": _object(configMap=_named_key(), secret=_named_key()),
        "placement": _placement(),
        "securityContext": _object(
            runAsUser={"type": "integer", "minimum": 1},
            runAsGroup={"type": "integer", "minimum": 1},
        ),
        "migrations": _object(
            enabled=SWITCH,
            activeDeadlineSeconds=_count(),
            backoffLimit=_count(0),
            resources=_resources(),
        ),
        "metrics": _metrics(),
        "networkPolicy": _object(enabled=SWITCH, consoleFrom=OBJECTS, metricsFrom=OBJECTS),
        "podDisruptionBudgets": _object(enabled=SWITCH),
        "rbac": _object(create=SWITCH),
        "operators": _object(takeover=_object(subjects=OBJECTS), doctor=_object(subjects=OBJECTS)),
        **{name: _process() for name in ("watcher", "intake", "reconciler")},
        "webhook": _webhook(),
        "console": _console(),
    }
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Values of the chart eni-ledger",
        **_object(**parts),
        "required": ["settings"],
    }


def settings_schema() -> Schema:
    """`settings`: all that Settings knows, less secrets (by reference only) and what the chart
    writes."""
    whole = Settings.model_json_schema()
    schema: Schema = _plain(whole, whole.get("$defs", {}), "")
    properties = schema["properties"]
    schema["required"] = ["cluster_id", "cloud", "kafka"]
    properties["cluster_id"] |= {"minLength": 1}
    for section, needed in (("cloud", "region_id"), ("kafka", "bootstrap_servers")):
        properties[section]["required"] = [needed]
        properties[section]["properties"][needed] |= {"minLength": 1}
    return schema


def _plain(schema: Schema, definitions: Schema, path: str) -> Schema:
    """Without references, titles, defaults, nulls (Helm's word for: not set), secrets and OURS."""
    if "$ref" in schema:
        return _plain(definitions[schema["$ref"].rpartition("/")[2]], definitions, path)
    choices = [each for each in schema.get("anyOf", ()) if each.get("type") != "null"]
    if len(choices) == 1:
        alone = {key: value for key, value in schema.items() if key != "anyOf"}
        return _plain({**choices[0], **alone}, definitions, path)
    if names := schema.get("propertyNames", {}).get("enum"):
        # Helm's validator tells a wrong path for propertyNames.
        return _object(
            **dict.fromkeys(names, _plain(schema["additionalProperties"], definitions, path))
        )
    kept: Schema = {}
    for key, value in schema.items():
        if key in ("title", "default", "$defs", "description"):
            continue
        if key == "properties":
            kept[key] = {
                name: _plain(each, definitions, f"{path}.{name}".lstrip("."))
                for name, each in value.items()
                if name not in OURS.get(path, ()) and not _secret(each, definitions)
            }
        elif isinstance(value, dict):
            kept[key] = _plain(value, definitions, path)
        else:
            kept[key] = value
    return kept


def _secret(schema: Schema, definitions: Schema) -> bool:
    """Whether a setting holds a secret: SecretStr, or a collection of them."""
    if "$ref" in schema:
        return False  # a section: its fields are looked at one by one
    inner = [*schema.get("anyOf", ()), schema.get("additionalProperties"), schema.get("items")]
    return schema.get("writeOnly") is True or any(
        _secret(each, definitions) for each in inner if isinstance(each, dict)
    )


# --- the chart's own values -----------------------------------------------------------------------


def _object(**properties: Schema) -> Schema:
    return {"type": "object", "additionalProperties": False, "properties": properties}


def _count(least: int = 1) -> Schema:
    return {"type": "integer", "minimum": least}


def _one_of(*allowed: str) -> Schema:
    return {"type": "string", "enum": list(allowed)}


def _image() -> Schema:
    return _object(
        registry=TEXT,
        repository={"type": "string", "minLength": 1},
        tag=TEXT,
        digest={"type": "string", "pattern": "^(sha256:[0-9a-f]{64})?$"},
        pullPolicy=_one_of("IfNotPresent", "Always", "Never"),
        pullSecrets={"type": "array", "items": NAME},
    )


def _postgres() -> Schema:
    keys = _object(owner=KEY, intake=KEY, reconciler=KEY, console=KEY)
    return _object(secret=NAME, keys=keys, ca=_object(secret=OPTIONAL_NAME, key=KEY))


def _kafka() -> Schema:
    user = _object(
        name=NAME,
        password=_object(secret=OPTIONAL_NAME, key=KEY),
        certificate=_object(secret=OPTIONAL_NAME, certificateKey=KEY, privateKeyKey=KEY),
    )
    return _object(
        ca=_object(secret=OPTIONAL_NAME, key=KEY),
        users=_object(watcher=user, intake=user),
        strimzi=_object(
            enabled=SWITCH,
            cluster=OPTIONAL_NAME,
            namespace=OPTIONAL_NAME,
            replicas=_count(),
            minInSyncReplicas=_count(),
            partitions=_count(),
            retention=_object(entities=_count(12), deadLetters=_count(1), entries=_count(1)),
            users=_object(enabled=SWITCH, authentication=_one_of("scram-sha-512", "tls")),
        ),
    )


def _credentials() -> Schema:
    arn = {"type": "string", "pattern": "^(acs:ram::[0-9]+:[a-z-]+/.+)?$"}
    return _object(
        type=_one_of("rrsa", "tokenFile", "accessKey", "instanceRole", "incumbent"),
        rrsa=_object(roleArn=arn, oidcProviderArn=arn, vpcEndpoint=SWITCH),
        tokenFile=_object(secret=NAME, key=KEY),
        accessKey=_object(secret=OPTIONAL_NAME, idKey=KEY, secretKey=KEY),
    )


def _named_key() -> Schema:
    return _object(name=OPTIONAL_NAME, key=KEY)


def _placement() -> Schema:
    return _object(
        priorityClassName=TEXT,
        dnsPolicy=_one_of("ClusterFirstWithHostNet", "Default"),
        nodeSelector=LABELS,
        tolerations=OBJECTS,
        zoneKey=KEY | {"pattern": "^[A-Za-z0-9./_-]+$"},
        podLabels=LABELS,
        podAnnotations=LABELS,
    )


def _resources() -> Schema:
    amounts = _object(cpu=QUANTITY, memory=QUANTITY, **{"ephemeral-storage": QUANTITY})
    return _object(requests=amounts, limits=amounts)


def _metrics() -> Schema:
    return _object(
        enabled=SWITCH,
        serviceMonitor=_object(enabled=SWITCH, interval=DURATION, labels=LABELS),
        prometheusRule=_object(enabled=SWITCH, labels=LABELS),
        dashboard=_object(enabled=SWITCH, labels=LABELS),
    )


def _process(**more: Schema) -> Schema:
    return _object(
        enabled=SWITCH,
        replicas=_count(0),
        hostNetwork=SWITCH,
        httpPort=PORT,
        terminationGracePeriodSeconds=_count(),
        resources=_resources(),
        serviceAccountAnnotations=LABELS,
        **more,
    )


def _webhook() -> Schema:
    return _process(
        port=PORT,
        name=NAME,
        failurePolicy=_one_of("Ignore", "Fail"),
        excludedNamespaces={"type": "array", "items": NAME},
        certManager=_object(enabled=SWITCH, issuerRef=OBJECT),
    )


def _console() -> Schema:
    return _process(
        port=PORT,
        authentication=_one_of("kubernetes", "tokens"),
        tokens=_object(secret=OPTIONAL_NAME, key=KEY),
        readers=OBJECTS,
        service=_object(type=_one_of("ClusterIP", "NodePort", "LoadBalancer"), port=_port()),
    )


def _port() -> Schema:
    return PORT | {"minimum": 1}


if __name__ == "__main__":
    sys.stdout.write(json.dumps(document(), indent=2) + "\n")
